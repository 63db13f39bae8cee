//! `[[bridge]]`: two ends and what crosses between them.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use super::access::Access;
use super::heartbeat::{self, Carrier, Heartbeat};
use super::reader::Reader;
use super::source::{Node, Value};
use super::{BridgeLimits, ConfigError, Origin};
use super::{framing, preface, tls};
use crate::heartbeat::Settings;
use crate::link::proxy_protocol::Version;
use crate::link::tls::{ClientTls, ServerTls};
use crate::link::{BackendUrl, ListenUrl};
use crate::session::RecordKind;
use crate::wire::{Framing, Kind};

/// One bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name in logs and metrics.
    pub name: String,
    /// Who comes in.
    pub listen: Listen,
    /// Whom they reach.
    pub backend: Backend,
    /// What a record becomes on a WebSocket.
    pub message: RecordKind,
    /// Longest message, in bytes.
    pub max_message: u64,
    /// Subprotocols that the WebSocket ends may agree on, best first.
    pub subprotocols: Vec<String>,
    /// How long dialling the backend may take, its WebSocket handshake included.
    pub dial_timeout: Duration,
    /// How long a half-closed session may go on without a byte moving.
    pub linger: Duration,
    /// How much of it anyone may take.
    pub limits: BridgeLimits,
    /// Whether a plain GET is answered with the demo page.
    pub demo: bool,
    /// Who may come in.
    pub access: Access,
}

/// The end that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub url: ListenUrl,
    /// How clients are met with TLS, where they are.
    pub tls: Option<ServerTls>,
    /// How a byte stream is cut into messages; of no meaning on a WebSocket.
    pub framing: Framing,
    /// How it is kept alive.
    pub heartbeat: Heartbeat,
    /// The proxies that must say whom they speak for, with a PROXY header, and are the only ones let in; none where no
    /// header is expected.
    pub proxy_protocol: Vec<IpNet>,
}

/// The end that is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Whom.
    pub url: BackendUrl,
    /// How it is met with TLS, where it is.
    pub tls: Option<ClientTls>,
    /// How a byte stream is cut into messages; of no meaning on a WebSocket.
    pub framing: Framing,
    /// How it is kept alive.
    pub heartbeat: Heartbeat,
    /// The PROXY header by which it is told who the client is, if it is to be.
    pub proxy_protocol: Option<Version>,
}

pub(super) const DEFAULT_MAX_MESSAGE: u64 = 16 << 20;
pub(super) const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_LINGER: Duration = Duration::from_secs(30);

pub(super) fn read_all(node: Node, heartbeat: &Settings, errors: &mut Vec<ConfigError>) -> Vec<Bridge> {
    let text = node.to_string();
    let nodes = match node.value {
        Value::Array(nodes) if !nodes.is_empty() => nodes,
        Value::Array(_)
        | Value::Table(_)
        | Value::String(_)
        | Value::Integer(_)
        | Value::Boolean(_)
        | Value::Other(_) => {
            let rule = "at least one [[bridge]] table".into();
            errors.push(ConfigError { origin: node.origin, key: "bridge".into(), value: Some(text), rule });
            return Vec::new();
        }
    };
    let mut bridges: Vec<Bridge> = Vec::new();
    let mut places = Places::default();
    for (index, node) in nodes.into_iter().enumerate() {
        let path = format!("bridge[{index}]");
        places.claim(&path, &node, errors);
        let listen = node.get("listen").map_or(Origin::Nowhere, |listen| listen.origin.clone());
        let Some(bridge) = read(&path, node, heartbeat, errors) else {
            continue;
        };
        errors.extend(preface::disagreement(&bridges, &bridge, &path, listen.clone()));
        errors.extend(tls::disagreement(&bridges, &bridge, &path, listen));
        bridges.push(bridge);
    }
    bridges
}

fn read(path: &str, node: Node, heartbeat: &Settings, errors: &mut Vec<ConfigError>) -> Option<Bridge> {
    let mut reader = Reader::new(path, node, errors);
    let name = reader.required("name", NAME_RULE);
    let listen = reader.required("listen", END_RULE);
    let backend = reader.required("backend", END_RULE);
    let message = reader.word("message", &MESSAGES).unwrap_or(RecordKind::Fixed(Kind::Binary));
    let max_message = reader.size("max_message").unwrap_or(DEFAULT_MAX_MESSAGE);
    let subprotocols = read_subprotocols(&mut reader);
    let dial_timeout = reader.duration("dial_timeout").unwrap_or(DEFAULT_DIAL_TIMEOUT);
    let linger = reader.duration("linger").unwrap_or(DEFAULT_LINGER);
    let limits = reader.take("limits");
    let demo = reader.boolean("demo").unwrap_or(false);
    let access = reader.take("access");
    let name = name.and_then(|node| {
        let name = node.value.as_str().filter(|name| is_name(name)).map(str::to_owned);
        if name.is_none() {
            reader.wrong("name", &node, NAME_RULE);
        }
        name
    });
    reader.finish();
    let listen_origin = listen.as_ref().map_or(Origin::Nowhere, |node| node.origin.clone());
    let mut listen = listen.and_then(|node| {
        let is_stream = |url: &ListenUrl| !matches!(url, ListenUrl::Ws { .. });
        let path = format!("{path}.listen");
        let more = |reader: &mut Reader<'_>, url: Option<&ListenUrl>| {
            (preface::read_listen(reader, url), reader.take("tls"))
        };
        read_end(&path, node, heartbeat, message, ListenUrl::parse, is_stream, more, errors)
    });
    let mut framing_origin = Origin::Nowhere;
    let mut backend = backend.and_then(|node| {
        framing_origin = node.get("framing").unwrap_or(&node).origin.clone();
        let is_stream = |url: &BackendUrl| matches!(url, BackendUrl::Tcp { .. } | BackendUrl::Unix(_));
        let path = format!("{path}.backend");
        let more = |reader: &mut Reader<'_>, url: Option<&BackendUrl>| {
            (preface::read_backend(reader, url), reader.take("tls"))
        };
        read_end(&path, node, heartbeat, message, BackendUrl::parse, is_stream, more, errors)
    });
    let listen_url = listen.as_ref().map(|(url, ..)| url);
    let access = Access::read(&format!("{path}.access"), access, listen_url, errors);
    let listen_tls = listen.as_mut().and_then(|end| {
        let whose = (&end.0, listen_origin);
        tls::read_listen(&format!("{path}.listen"), end.3.1.take(), whose, errors)
    });
    let backend_tls = backend.as_mut().and_then(|end| {
        let host = end.0.tls_authority().map(|authority| authority.host.as_str());
        tls::read_backend(&format!("{path}.backend"), end.3.1.take(), host, errors)
    });
    let limits = BridgeLimits::read(&format!("{path}.limits"), limits, errors);
    let (listen, backend) = (listen?, backend?);
    let bridge = Bridge {
        name: name?,
        listen: Listen {
            url: listen.0,
            tls: listen_tls,
            framing: listen.1,
            heartbeat: listen.2,
            proxy_protocol: listen.3.0,
        },
        backend: Backend {
            url: backend.0,
            tls: backend_tls,
            framing: backend.1,
            heartbeat: backend.2,
            proxy_protocol: backend.3.0,
        },
        message,
        max_message,
        subprotocols,
        dial_timeout,
        linger,
        limits,
        demo,
        access,
    };
    check_pair(path, &bridge, framing_origin, errors);
    Some(bridge)
}

/// Reads an end: a URL, or a table with one. Only a byte stream has a framing; without a word about it, it is
/// raw. `more` reads the keys that only one of the ends has.
#[expect(
    clippy::too_many_arguments,
    reason = "both ends are read alike, and what differs is said by the caller"
)]
fn read_end<U, M>(
    path: &str,
    node: Node,
    base: &Settings,
    message: RecordKind,
    parse: fn(&str) -> Result<U, String>,
    is_stream: fn(&U) -> bool,
    more: impl FnOnce(&mut Reader<'_>, Option<&U>) -> M,
    errors: &mut Vec<ConfigError>,
) -> Option<(U, Framing, Heartbeat, M)> {
    let node = match &node.value {
        Value::String(_) => Node::table(vec![("url", node)]),
        Value::Table(_) => node,
        Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => {
            let (key, value, rule) = (path.to_owned(), Some(node.to_string()), END_RULE.to_owned());
            errors.push(ConfigError { origin: node.origin, key, value, rule });
            return None;
        }
    };
    let mut reader = Reader::new(path, node, errors);
    let url = reader.required("url", "a URL");
    let framing = reader.take("framing");
    let heartbeat = reader.take("heartbeat");
    let url = url.and_then(|node| {
        let parsed = node.value.as_str().map_or_else(|| Err("a URL".into()), parse);
        parsed.map_err(|rule| reader.wrong("url", &node, &rule)).ok()
    });
    if let (Some(url), Some(framing)) = (&url, &framing)
        && !is_stream(url)
    {
        reader.wrong("framing", framing, "left out: WebSockets and echo: have messages of their own");
    }
    let more = more(&mut reader, url.as_ref());
    reader.finish();
    let framing = match framing {
        Some(node) => framing::read(&format!("{path}.framing"), node, errors)?,
        None => Framing::RAW,
    };
    let url = url?;
    let carrier = if is_stream(&url) { Carrier::Framed(&framing) } else { Carrier::WebSocket(message) };
    let heartbeat = heartbeat::read_end(&format!("{path}.heartbeat"), heartbeat, base, carrier, errors);
    Some((url, framing, heartbeat, more))
}

fn read_subprotocols(reader: &mut Reader<'_>) -> Vec<String> {
    let rule = "a list of distinct subprotocol names, which are made of letters, digits and !#$%&'*+-.^_`|~";
    let read = reader.parsed("subprotocols", rule, |value| {
        let mut names: Vec<String> = Vec::new();
        for node in value.as_array()? {
            let name = node.value.as_str().filter(|name| is_token(name))?;
            if names.iter().any(|known| known == name) {
                return None;
            }
            names.push(name.to_owned());
        }
        Some(names)
    });
    read.unwrap_or_default()
}

/// A token of RFC 9110 section 5.6.2, which subprotocol names are.
pub(super) fn is_token(name: &str) -> bool {
    let is_token_char = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !name.is_empty() && name.bytes().all(is_token_char)
}

const END_RULE: &str = "a URL, or a table with one";
const NAME_RULE: &str = "a name of 1 to 64 letters, digits, - and _, given to one bridge";

fn is_name(name: &str) -> bool {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(is_name_char)
}

const MESSAGES: [(&str, RecordKind); 3] = [
    ("binary", RecordKind::Fixed(Kind::Binary)),
    ("text", RecordKind::Fixed(Kind::Text)),
    ("mirror", RecordKind::Mirror),
];

/// A raw stream has no messages: where it meets records, its pieces must be able to become some.
fn check_pair(path: &str, bridge: &Bridge, origin: Origin, errors: &mut Vec<ConfigError>) {
    let is_stream = !matches!(bridge.listen.url, ListenUrl::Ws { .. })
        && matches!(bridge.backend.url, BackendUrl::Tcp { .. } | BackendUrl::Unix(_));
    let (listen, backend) = (&bridge.listen.framing, &bridge.backend.framing);
    let is_senseless = |one: &Framing, other: &Framing| one.is_raw() && !other.takes_any_bytes();
    if is_stream && (is_senseless(listen, backend) || is_senseless(backend, listen)) {
        errors.push(ConfigError {
            origin,
            key: format!("{path}.backend.framing"),
            value: Some(backend.to_string()),
            rule: format!(
                "able to carry what the listening end's {listen} gives: pieces of a raw stream are no records \
                 with headers or markers of their own"
            ),
        });
    }
}

/// What only one bridge may have.
#[derive(Default)]
struct Places {
    /// By name: the path of the bridge that has it.
    names: HashMap<String, String>,
    /// By address or socket path: who is there, with the path of its URL where it is a WebSocket.
    listeners: HashMap<String, Vec<(String, Option<String>)>>,
}

impl Places {
    /// Reports what this bridge has in common with an earlier one, whatever else may be wrong with either.
    fn claim(&mut self, path: &str, bridge: &Node, errors: &mut Vec<ConfigError>) {
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
            ListenUrl::Ws { address, path, .. } => (address.to_string(), Some(path)),
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
