//! `access` of a bridge: who may come in.

use std::fmt;

use super::ConfigError;
use super::reader::Reader;
use super::source::{Node, Value};
use super::write::quoted;
use crate::gate::{Addresses, Origins, is_origin};
use crate::link::ListenUrl;

/// What a client must be to come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Pages that may; of no meaning where clients are no WebSockets.
    pub origins: Origins,
    /// Networks that may.
    pub addresses: Addresses,
}

const ORIGINS_RULE: &str = "a list of origins as browsers write them, such as [\"https://app.example\", \
                            \"http://127.0.0.1:8080\"] or [\"null\"], or [\"*\"] for every page there is";
const NO_WEBSOCKET: &str = "left out: only the clients of a ws listener send it";
const NO_ADDRESSES: &str = "left out: clients of a Unix socket have no addresses";

impl Access {
    /// Reads the table of a bridge that listens there.
    pub(super) fn read(
        path: &str,
        node: Option<Node>,
        listen: Option<&ListenUrl>,
        errors: &mut Vec<ConfigError>,
    ) -> Access {
        let Some(node) = node else {
            return Access::default();
        };
        let is_set = ["origins", "allow", "deny"].map(|key| node.get(key).cloned());
        let mut reader = Reader::new(path, node, errors);
        let origins = reader.parsed("origins", ORIGINS_RULE, origins).unwrap_or_default();
        let allow = reader.networks("allow").unwrap_or_default();
        let deny = reader.networks("deny").unwrap_or_default();
        let (for_websocket, for_networks) = match listen {
            Some(ListenUrl::Ws { .. }) | None => (None, None),
            Some(ListenUrl::Tcp(_)) => (Some(NO_WEBSOCKET), None),
            Some(ListenUrl::Unix(_)) => (Some(NO_WEBSOCKET), Some(NO_ADDRESSES)),
        };
        let [has_origins, has_allow, has_deny] = &is_set;
        for (key, node, rule) in [
            ("origins", has_origins, for_websocket),
            ("allow", has_allow, for_networks),
            ("deny", has_deny, for_networks),
        ] {
            if let (Some(node), Some(rule)) = (node, rule) {
                reader.wrong(key, node, rule);
            }
        }
        reader.finish();
        Access { origins, addresses: Addresses { allow, deny } }
    }

    /// What whoever runs this should know, in words that name the key.
    pub(super) fn warnings(&self) -> Vec<String> {
        match self.origins {
            Origins::Any => vec![
                "access.origins = [\"*\"] lets every page that a browser opens speak with the backend"
                    .to_owned(),
            ],
            Origins::Same | Origins::Listed(_) => Vec::new(),
        }
    }
}

fn origins(value: &Value) -> Option<Origins> {
    let nodes = value.as_array()?;
    let texts: Vec<_> = nodes.iter().map(|node| node.value.as_str()).collect::<Option<_>>()?;
    match texts[..] {
        ["*"] => Some(Origins::Any),
        _ => texts
            .iter()
            .map(|text| is_origin(text).then(|| (*text).to_owned()))
            .collect::<Option<_>>()
            .map(Origins::Listed),
    }
}

/// As it reads back: nothing where everything is the default.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        let mut entries = Vec::new();
        match &self.origins {
            Origins::Same => {}
            Origins::Any => entries.push("origins = [\"*\"]".to_owned()),
            Origins::Listed(listed) => {
                entries.push(format!("origins = {}", list(listed.iter().map(quoted).collect())));
            }
        }
        for (key, networks) in [("allow", &self.addresses.allow), ("deny", &self.addresses.deny)] {
            if !networks.is_empty() {
                entries.push(format!("{key} = {}", list(networks.iter().map(quoted).collect())));
            }
        }
        match entries.is_empty() {
            true => Ok(()),
            false => writeln!(f, "access = {{ {} }}", entries.join(", ")),
        }
    }
}
