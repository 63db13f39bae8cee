//! `[events]`: who is told what happens to sessions.

use super::reader::Reader;
use super::source::Node;
use super::{ConfigError, Secret, tls};
use crate::link::WebhookUrl;
use crate::link::tls::ClientTls;

/// How many events may wait by default, and at most. One takes some 200 bytes.
const QUEUE: usize = 10_000;
const QUEUE_MAX: i64 = 1_000_000;

/// `[events]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Where they are posted to.
    pub webhook: WebhookUrl,
    /// How the receiver is met with TLS, where it is.
    pub tls: Option<ClientTls>,
    /// What they are signed with, if they are.
    pub secret: Option<Secret>,
    /// How many may wait.
    pub queue: usize,
}

impl Events {
    /// `None` where there is no webhook, or something is wrong with it.
    pub(super) fn read(node: Node, errors: &mut Vec<ConfigError>) -> Option<Events> {
        let mut reader = Reader::new("events", node, errors);
        let node = reader.take("webhook");
        let tls = reader.take("tls");
        let secret = Secret::read("secret_file", &mut reader);
        let queue = reader.integer("queue", 1..=QUEUE_MAX);
        let webhook = match node {
            Some(node) => match WebhookUrl::parse(node.value.as_str().unwrap_or_default()) {
                Ok(webhook) => Some(webhook),
                Err(rule) => {
                    reader.wrong("webhook", &node, &rule);
                    None
                }
            },
            None => {
                if secret.is_some() || queue.is_some() || tls.is_some() {
                    reader.missing(
                        "webhook",
                        "http://HOST:PORT/path or https://HOST:PORT/path, or the rest is of no use",
                    );
                }
                None
            }
        };
        reader.finish();
        let webhook = webhook?;
        let host = webhook.is_tls.then_some(webhook.authority.host.as_str());
        let tls = tls::read_backend("events", tls, host, errors);
        Some(Events { webhook, tls, secret, queue: queue.map_or(QUEUE, |events| events as usize) })
    }
}
