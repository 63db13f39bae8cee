//! `proxy_protocol`, on both ends of a bridge: who says in front of everything else for whom it speaks.

use ipnet::IpNet;

use super::ConfigError;
use super::reader::Reader;
use super::source::Node;
use super::units::NETWORKS_RULE;
use crate::link::ListenUrl;
use crate::link::proxy_protocol::Version;

pub(super) const KEY: &str = "proxy_protocol";

/// The proxies that must introduce the clients they bring.
pub(super) fn read_listen(reader: &mut Reader<'_>, url: Option<&ListenUrl>) -> Vec<IpNet> {
    if let Some(ListenUrl::Unix(_)) = url
        && let Some(node) = reader.take(KEY)
    {
        reader.wrong(KEY, &node, "left out: who comes by a Unix socket has no address to be known by");
        return Vec::new();
    }
    let rule = format!("{NETWORKS_RULE}, of which there is at least one");
    let read = reader.parsed(KEY, &rule, |value| Reader::network_list(value).filter(|list| !list.is_empty()));
    read.unwrap_or_default()
}

/// How a backend is told who the client is.
pub(super) fn read_backend(reader: &mut Reader<'_>, is_echo: bool) -> Option<Version> {
    if is_echo && let Some(node) = reader.take(KEY) {
        reader.wrong(KEY, &node, "left out: echo: is told nothing");
        return None;
    }
    reader.word(KEY, &VERSIONS)
}

/// `[access]`: the proxies that are believed when they say in an HTTP header whom they speak for.
pub(super) fn read_trusted(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Vec<IpNet> {
    let Some(node) = node else {
        return Vec::new();
    };
    let mut reader = Reader::new("access", node, errors);
    let trusted = reader.networks("trusted_proxies").unwrap_or_default();
    reader.finish();
    trusted
}

/// The keys of a listening end, as they are written.
pub(super) fn write_listen(proxies: &[IpNet]) -> String {
    match proxies.is_empty() {
        true => String::new(),
        false => format!(", {KEY} = {}", write_networks(proxies)),
    }
}

/// Those of a backend.
pub(super) fn write_backend(version: Option<Version>) -> String {
    let word = VERSIONS.iter().find(|(_, known)| Some(*known) == version);
    word.map_or_else(String::new, |(word, _)| format!(", {KEY} = \"{word}\""))
}

/// A list of networks as TOML.
pub(super) fn write_networks(networks: &[IpNet]) -> String {
    let all: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
    format!("[{}]", all.join(", "))
}

const VERSIONS: [(&str, Version); 2] = [("v1", Version::V1), ("v2", Version::V2)];
