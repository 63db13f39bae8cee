//! The effective configuration, written as TOML that reads back as the same.

use std::fmt;

use super::tls::{write_client, write_listen};
use super::units::{write_duration, write_size};
use super::{Bridge, Config, Events, FORMATS, LEVELS, Networks, backend, heartbeat, preface};
use crate::link::ListenUrl;
use crate::session::RecordKind;
use crate::wire::Kind;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |level: &tracing::Level| {
            LEVELS.iter().find(|(_, known)| known == level).map_or("", |(word, _)| word)
        };
        let (format, _) =
            FORMATS.iter().find(|(_, known)| *known == self.log.format).expect("every format has a word");
        writeln!(f, "[server]")?;
        writeln!(f, "drain_delay = \"{}\"", write_duration(self.server.drain_delay))?;
        writeln!(f, "drain_window = \"{}\"", write_duration(self.server.drain_window))?;
        if let Some(sessions) = self.server.max_sessions {
            writeln!(f, "max_sessions = {sessions}")?;
        }
        writeln!(f, "handshake_timeout = \"{}\"", write_duration(self.server.handshake_timeout))?;
        writeln!(f, "\n[log]\nlevel = \"{}\"\nformat = \"{format}\"", word(&self.log.level))?;
        writeln!(f, "\n[admin]\nlisten = \"{}\"", self.admin.listen)?;
        if let Some(token) = &self.admin.token {
            writeln!(f, "token_file = {}", quoted(&token.file.display()))?;
        }
        let Networks { ipv4_prefix, ipv6_prefix, capacity, directory } = &self.networks;
        writeln!(
            f,
            "\n[networks]\nipv4_prefix = {ipv4_prefix}\nipv6_prefix = {ipv6_prefix}\ncapacity = {capacity}"
        )?;
        if let Some(directory) = directory {
            writeln!(f, "directory = {}", quoted(&directory.display()))?;
        }
        if let Some(Events { webhook, tls, secret, queue }) = &self.events {
            writeln!(f, "\n[events]\nwebhook = {}", quoted(webhook))?;
            if let Some(tls) = tls.as_ref().map(write_client).filter(|text| !text.is_empty()) {
                writeln!(f, "tls = {tls}")?;
            }
            if let Some(secret) = secret {
                writeln!(f, "secret_file = {}", quoted(&secret.file.display()))?;
            }
            writeln!(f, "queue = {queue}")?;
        }
        writeln!(f, "\n{}", self.limits.to_string().trim_end())?;
        if !self.trusted_proxies.is_empty() {
            let trusted = preface::write_networks(&self.trusted_proxies);
            writeln!(f, "\n[access]\ntrusted_proxies = {trusted}")?;
        }
        self.bridges.iter().try_for_each(|bridge| write_bridge(f, bridge))
    }
}

fn write_bridge(f: &mut fmt::Formatter<'_>, bridge: &Bridge) -> fmt::Result {
    let message = match bridge.message {
        RecordKind::Fixed(Kind::Binary) => "binary",
        RecordKind::Fixed(Kind::Text) => "text",
        RecordKind::Mirror => "mirror",
    };
    let listen_beat = heartbeat::write(&bridge.listen.heartbeat);
    let listen_tls = bridge.listen.tls.as_ref().map(write_listen).unwrap_or_default();
    let listen_more = listen_tls + &preface::write_listen(&bridge.listen.proxy_protocol);
    writeln!(f, "\n[[bridge]]\nname = \"{}\"", bridge.name)?;
    match &bridge.listen.url {
        ListenUrl::Ws { .. } => {
            let url = quoted(&bridge.listen.url);
            writeln!(f, "listen = {{ url = {url}, heartbeat = {listen_beat}{listen_more} }}")?;
        }
        ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => {
            let (url, framing) = (quoted(&bridge.listen.url), &bridge.listen.framing);
            writeln!(
                f,
                "listen = {{ url = {url}, framing = {framing}, heartbeat = {listen_beat}{listen_more} }}"
            )?;
        }
    }
    writeln!(f, "backend = {}", backend::write(&bridge.backend))?;
    write!(f, "{}", bridge.limits.line())?;
    writeln!(f, "message = \"{message}\"\nmax_message = \"{}\"", write_size(bridge.max_message))?;
    writeln!(f, "subprotocols = {:?}", bridge.subprotocols)?;
    writeln!(f, "dial_timeout = \"{}\"", write_duration(bridge.dial_timeout))?;
    writeln!(f, "linger = \"{}\"\ndemo = {}", write_duration(bridge.linger), bridge.demo)?;
    if let Some(web) = &bridge.web {
        writeln!(f, "web = {}", quoted(&web.display()))?;
    }
    write!(f, "{}", bridge.access)
}

/// A TOML string.
pub(super) fn quoted(url: &impl ToString) -> String {
    toml::Value::String(url.to_string()).to_string()
}
