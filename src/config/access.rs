//! `access` of a bridge: who may come in.

use std::fmt;

use super::ConfigError;
use super::bearer::Bearer;
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
    /// Tokens that let in, if one is asked for; of no meaning where clients are no WebSockets.
    pub bearer: Option<Bearer>,
}

const ORIGINS_RULE: &str = "a list of origins as browsers write them, such as [\"https://app.example\", \
                            \"http://127.0.0.1:8080\"] or [\"null\"], or [\"*\"] for every page there is";
const NO_WEBSOCKET: &str = "left out: only the clients of a ws listener send it";
const NO_ADDRESSES: &str = "left out: clients of a Unix socket have no addresses";
const KEYS: [&str; 7] = ["origins", "token_file", "jwt", "cookie", "query_token", "allow", "deny"];
const WIDE_OPEN: &str =
    "access.origins = [\"*\"] lets every page that a browser opens speak with the backend";

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
        let set = KEYS.map(|key| (key, node.get(key).cloned()));
        let asks_token = node.get("token_file").is_some() || node.get("jwt").is_some();
        let mut reader = Reader::new(path, node, errors);
        let origins = reader.parsed("origins", ORIGINS_RULE, origins).unwrap_or_default();
        let bearer = Bearer::read(path, &mut reader, asks_token);
        let allow = reader.networks("allow").unwrap_or_default();
        let deny = reader.networks("deny").unwrap_or_default();
        let (for_websocket, for_networks) = match listen {
            Some(ListenUrl::Ws { .. }) | None => (None, None),
            Some(ListenUrl::Tcp { .. }) => (Some(NO_WEBSOCKET), None),
            Some(ListenUrl::Unix(_)) => (Some(NO_WEBSOCKET), Some(NO_ADDRESSES)),
        };
        for (key, node) in set {
            let rule = if ["allow", "deny"].contains(&key) { for_networks } else { for_websocket };
            if let (Some(node), Some(rule)) = (node, rule) {
                reader.wrong(key, &node, rule);
            }
        }
        reader.finish();
        Access { origins, addresses: Addresses { allow, deny }, bearer }
    }

    /// What whoever runs this should know, in words that name the key.
    pub(super) fn warnings(&self) -> Vec<String> {
        let has_cookie = self.bearer.as_ref().is_some_and(|bearer| bearer.places.cookie.is_some());
        let as_whom = if has_cookie { ", as whoever looks at the page (access.cookie)" } else { "" };
        let wide_open = (self.origins == Origins::Any).then(|| format!("{WIDE_OPEN}{as_whom}"));
        let tokens = self.bearer.as_ref().map(Bearer::warnings).unwrap_or_default();
        wide_open.into_iter().chain(tokens).collect()
    }
}

fn origins(value: &Value) -> Option<Origins> {
    let nodes = value.as_array()?;
    let texts: Vec<_> = nodes.iter().map(|node| node.value.as_str()).collect::<Option<_>>()?;
    if texts == ["*"] {
        return Some(Origins::Any);
    }
    let listed = texts.iter().map(|text| is_origin(text).then(|| (*text).to_owned()));
    listed.collect::<Option<_>>().map(Origins::Listed)
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
        entries.extend(self.bearer.iter().map(ToString::to_string));
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
