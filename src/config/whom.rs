//! Whom a bridge dials, as the config says it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::units::write_duration;
use super::write::quoted;
use crate::link::{BackendUrl, Reach};
use crate::targets::{Balance, Pattern, Template};

/// Whom a bridge dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One of these, which are all spoken to in the same way.
    Any(Pool),
    /// Who is named by the path that the client asks for.
    Named {
        /// The URL, with parameters.
        template: Template,
        /// The hosts and ports that may come of it.
        allow: Vec<Pattern>,
        /// The addresses that those may have.
        reach: Reach,
    },
    /// Whom the client's token stands for.
    Tokens {
        /// A file of tokens, or a directory of such files.
        source: PathBuf,
        /// The addresses that targets may have.
        reach: Reach,
    },
}

/// Backends of which any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// At least one.
    pub urls: Vec<BackendUrl>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// How they are checked on, if they are.
    pub health_check: Option<HealthCheck>,
}

/// How backends are checked on: they are dialled, and hung up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// From one check to the next.
    pub every: Duration,
    /// How long one may take.
    pub timeout: Duration,
}

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// As a WebSocket.
    WebSocket,
    /// As a byte stream.
    Bytes,
    /// As the echo service.
    Echo,
}

pub(super) const BALANCES: [(&str, Balance); 2] =
    [("round_robin", Balance::RoundRobin), ("least_sessions", Balance::LeastSessions)];

impl Whom {
    /// How everyone whom it may become is spoken to.
    pub fn speech(&self) -> Speech {
        match self {
            Whom::Any(pool) => speech(&pool.urls[0]),
            Whom::Named { template, .. } => speech(&template.example()),
            Whom::Tokens { .. } => Speech::Bytes,
        }
    }

    /// A host that is met with TLS, if any is: one of several, or one that nobody has where a client names it.
    pub fn tls_host(&self) -> Option<String> {
        match self {
            Whom::Any(pool) => Some(pool.urls.iter().find_map(BackendUrl::tls_authority)?.host.clone()),
            Whom::Named { template, .. } => {
                template.example().tls_authority().map(|_| "backend.invalid".to_owned())
            }
            Whom::Tokens { .. } => None,
        }
    }

    /// Whether anyone of them is a WebSocket without TLS that is not on this machine.
    pub(super) fn is_far_without_tls(&self) -> bool {
        let is_far = |url: &BackendUrl| match url {
            BackendUrl::Ws { authority, is_tls: false, .. } => {
                let address = authority.host.parse::<IpAddr>();
                authority.host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            }
            BackendUrl::Ws { .. } | BackendUrl::Tcp { .. } | BackendUrl::Unix(_) | BackendUrl::Echo => false,
        };
        match self {
            Whom::Any(pool) => pool.urls.iter().any(is_far),
            Whom::Named { template, .. } => is_far(&template.example()),
            Whom::Tokens { .. } => false,
        }
    }

    /// What says so in the config, as TOML.
    pub(super) fn keys(&self) -> Vec<String> {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let strings = |items: Vec<String>| list(items.iter().map(quoted).collect());
        let mut keys = Vec::new();
        let write_reach = |reach: &Reach| match reach {
            Reach::Anywhere | Reach::Elsewhere => None,
            Reach::Within(networks) => Some(format!(
                "allow_addresses = {}",
                strings(networks.iter().map(IpNet::to_string).collect())
            )),
        };
        match self {
            Whom::Any(Pool { urls, balance, health_check }) => {
                match &urls[..] {
                    [url] if *balance == Balance::RoundRobin => keys.push(format!("url = {}", quoted(url))),
                    urls => {
                        let word =
                            BALANCES.iter().find(|(_, known)| known == balance).map_or("", |(word, _)| word);
                        keys.push(format!(
                            "urls = {}",
                            strings(urls.iter().map(BackendUrl::to_string).collect())
                        ));
                        keys.push(format!("balance = \"{word}\""));
                    }
                }
                if let Some(HealthCheck { every, timeout }) = health_check {
                    let (every, timeout) = (write_duration(*every), write_duration(*timeout));
                    keys.push(format!("health_check = {{ every = \"{every}\", timeout = \"{timeout}\" }}"));
                }
            }
            Whom::Named { template, allow, reach } => {
                keys.push(format!("url = {}", quoted(template)));
                keys.push(format!("allow = {}", strings(allow.iter().map(Pattern::to_string).collect())));
                keys.extend(write_reach(reach));
            }
            Whom::Tokens { source, reach } => {
                keys.push(format!("targets = {}", quoted(&source.display())));
                keys.extend(write_reach(reach));
            }
        }
        keys
    }
}

/// What it is called in logs and by the API.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::Any(pool) => {
                let urls: Vec<_> = pool.urls.iter().map(BackendUrl::to_string).collect();
                f.write_str(&urls.join(", "))
            }
            Whom::Named { template, .. } => write!(f, "{template}"),
            Whom::Tokens { source, .. } => write!(f, "targets of {}", source.display()),
        }
    }
}

pub(super) fn speech(url: &BackendUrl) -> Speech {
    match url {
        BackendUrl::Ws { .. } => Speech::WebSocket,
        BackendUrl::Tcp { .. } | BackendUrl::Unix(_) => Speech::Bytes,
        BackendUrl::Echo => Speech::Echo,
    }
}
