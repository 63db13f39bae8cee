//! What one bridge may have only if no other has it, and what several must have in common.

use std::collections::HashMap;

use super::bridge::NAME_RULE;
use super::source::Node;
use super::{Bridge, ConfigError, Listen, Origin, preface};
use crate::link::ListenUrl;
use crate::targets::Path;

/// What only one bridge may have.
#[derive(Default)]
pub(super) struct Places {
    /// By name: the path of the bridge that has it.
    names: HashMap<String, String>,
    /// By address or socket path: who is there, with the path of its URL where it is a WebSocket.
    listeners: HashMap<String, Vec<(String, Option<String>)>>,
}

impl Places {
    /// Reports what this bridge has in common with an earlier one, whatever else may be wrong with either.
    pub(super) fn claim(&mut self, path: &str, bridge: &Node, errors: &mut Vec<ConfigError>) {
        if let Some(node) = bridge.get("name")
            && let Some(name) = node.value.as_str()
            && let Some(other) = self.names.insert(name.to_owned(), path.to_owned())
        {
            let rule = format!("{NAME_RULE}; {other} has this one");
            let (origin, key) = (node.origin.clone(), format!("{path}.name"));
            errors.push(ConfigError { origin, key, value: Some(node.to_string()), rule });
        }
        let node = bridge.get("listen").map(|listen| listen.get("url").unwrap_or(listen));
        let Some((node, url)) =
            node.and_then(|node| Some((node, ListenUrl::parse(node.value.as_str()?).ok()?)))
        else {
            return;
        };
        let (place, ws_path) = match url {
            // Port 0 is a different port each time, except that WebSockets share it.
            ListenUrl::Tcp { address, .. } if address.port() == 0 => return,
            ListenUrl::Ws { address, path, .. } => {
                let shape = Path::parse(&path).map_or(path, |path| path.shape());
                (address.to_string(), Some(shape))
            }
            ListenUrl::Tcp { address, .. } => (address.to_string(), None),
            ListenUrl::Unix(path) => (path.display().to_string(), None),
        };
        let others = self.listeners.entry(place).or_default();
        let clash =
            others.iter().find(|(_, other)| other.is_none() || ws_path.is_none() || *other == ws_path);
        if let Some((other, _)) = clash {
            let rule = format!(
                "an address of its own, or a path of its own where both are ws; {other} is there already"
            );
            let (origin, key) = (node.origin.clone(), format!("{path}.listen"));
            errors.push(ConfigError { origin, key, value: Some(node.to_string()), rule });
        }
        others.push((path.to_owned(), ws_path));
    }
}

/// What is wrong with a bridge that shares its address with one of `others`: what comes before a client says which of them
/// it wants must be the same.
pub(super) fn disagreements(
    others: &[Bridge],
    bridge: &Bridge,
    path: &str,
    origin: &Origin,
) -> Vec<ConfigError> {
    let address = |bridge: &Bridge| match bridge.listen.url {
        ListenUrl::Ws { address, .. } => Some(address),
        ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => None,
    };
    let Some(ours) = address(bridge) else {
        return Vec::new();
    };
    let listen = &bridge.listen;
    let is_same_tls: fn(&Listen, &Listen) -> bool =
        |one, other| one.url.is_tls() == other.url.is_tls() && one.tls == other.tls;
    let is_same_preface: fn(&Listen, &Listen) -> bool =
        |one, other| one.proxy_protocol == other.proxy_protocol;
    let common = [
        (preface::KEY, preface::write_networks(&listen.proxy_protocol), is_same_preface),
        ("tls", listen.tls.as_ref().map_or("none", |_| "{...}").to_owned(), is_same_tls),
    ];
    let disagreement = |(key, value, is_same): (&str, String, fn(&Listen, &Listen) -> bool)| {
        let differs = |other: &&Bridge| address(other) == Some(ours) && !is_same(&other.listen, listen);
        let other = others.iter().find(differs)?;
        let rule = format!("the same as that of bridge {}, which shares the address {ours}", other.name);
        Some(ConfigError {
            origin: origin.clone(),
            key: format!("{path}.listen.{key}"),
            value: Some(value),
            rule,
        })
    };
    common.into_iter().filter_map(disagreement).collect()
}
