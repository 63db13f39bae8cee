//! `[[bridge]]`: two ends and what crosses between them.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::access::Access;
use super::backend::{self, Asked, Backend};
use super::heartbeat::{self, Carrier, Heartbeat};
use super::neighbours::{Places, disagreements};
use super::reader::Reader;
use super::source::{Node, Value};
use super::whom::Speech;
use super::{BridgeLimits, ConfigError, Origin};
use super::{framing, preface, tls};
use crate::heartbeat::Settings;
use crate::link::ListenUrl;
use crate::link::tls::ServerTls;
use crate::session::RecordKind;
use crate::targets::Path;
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
    /// The directory whose files are served on plain GETs.
    pub web: Option<PathBuf>,
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
        errors.extend(disagreements(&bridges, &bridge, &path, &listen));
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
    let web = reader.take("web");
    let access = reader.take("access");
    let name = name.and_then(|node| {
        let name = node.value.as_str().filter(|name| is_name(name)).map(str::to_owned);
        if name.is_none() {
            reader.wrong("name", &node, NAME_RULE);
        }
        name
    });
    let is_ws = listen.as_ref().is_none_or(is_ws);
    let web = web.and_then(|node| read_web(&mut reader, &node, is_ws));
    reader.finish();
    let listen =
        listen.and_then(|node| read_listen(&format!("{path}.listen"), node, heartbeat, message, errors));
    let framing_origin = backend.as_ref().map(backend::framing_origin).unwrap_or_default();
    let asked = listen.as_ref().map_or(Asked::Unknown, |listen| asked(&listen.url));
    let backend = backend
        .and_then(|node| backend::read(&format!("{path}.backend"), node, heartbeat, message, &asked, errors));
    let listen_url = listen.as_ref().map(|listen| &listen.url);
    let access = Access::read(&format!("{path}.access"), access, listen_url, errors);
    let limits = BridgeLimits::read(&format!("{path}.limits"), limits, errors);
    let (listen, backend) = (listen?, backend?);
    let bridge = Bridge {
        name: name?,
        listen,
        backend,
        message,
        max_message,
        subprotocols,
        dial_timeout,
        linger,
        limits,
        demo,
        web,
        access,
    };
    check_pair(path, &bridge, framing_origin, errors);
    Some(bridge)
}

/// Reads the end that clients connect to: a URL, or a table with one. Only a byte stream has a framing; without a word
/// about it, it is raw.
fn read_listen(
    path: &str,
    node: Node,
    base: &Settings,
    message: RecordKind,
    errors: &mut Vec<ConfigError>,
) -> Option<Listen> {
    let origin = node.origin.clone();
    let mut reader = Reader::end(path, node, END_RULE, errors)?;
    let url = reader.required("url", "a URL");
    let framing = reader.take("framing");
    let heartbeat = reader.take("heartbeat");
    let tls = reader.take("tls");
    let url = url.and_then(|node| {
        let parsed = node.value.as_str().map_or_else(|| Err("a URL".into()), listen_url);
        parsed.map_err(|rule| reader.wrong("url", &node, &rule)).ok()
    });
    let is_stream = |url: &ListenUrl| !matches!(url, ListenUrl::Ws { .. });
    if let (Some(url), Some(framing)) = (&url, &framing)
        && !is_stream(url)
    {
        reader.wrong("framing", framing, "left out: WebSockets and echo: have messages of their own");
    }
    let proxy_protocol = preface::read_listen(&mut reader, url.as_ref());
    reader.finish();
    let framing = match framing {
        Some(node) => framing::read(&format!("{path}.framing"), node, errors)?,
        None => Framing::RAW,
    };
    let url = url?;
    let carrier = if is_stream(&url) { Carrier::Framed(&framing) } else { Carrier::WebSocket(message) };
    let heartbeat = heartbeat::read_end(&format!("{path}.heartbeat"), heartbeat, base, carrier, errors);
    let tls = tls::read_listen(path, tls, (&url, origin), errors);
    Some(Listen { url, tls, framing, heartbeat, proxy_protocol })
}

/// Whether a listening end has a path, as far as that can be seen before it is read.
fn is_ws(listen: &Node) -> bool {
    let url = listen.get("url").unwrap_or(listen).value.as_str();
    url.and_then(|url| ListenUrl::parse(url).ok()).is_none_or(|url| matches!(url, ListenUrl::Ws { .. }))
}

fn read_web(reader: &mut Reader<'_>, node: &Node, is_ws: bool) -> Option<PathBuf> {
    let directory = node.value.as_str().map(PathBuf::from).filter(|path| path.is_dir());
    match (directory, is_ws) {
        (Some(directory), true) => return Some(directory),
        (Some(_), false) => reader.wrong("web", node, "left out: only a ws listener is asked for pages"),
        (None, _) => reader.wrong("web", node, "the path of a directory"),
    }
    None
}

/// What clients of a listening end can say.
fn asked(url: &ListenUrl) -> Asked {
    match url {
        ListenUrl::Ws { path, .. } => {
            let path = Path::parse(path);
            path.map_or(Asked::Unknown, |path| Asked::Path(path.parameters().map(str::to_owned).collect()))
        }
        ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => Asked::Nothing,
    }
}

/// A listening URL whose path makes sense.
fn listen_url(text: &str) -> Result<ListenUrl, String> {
    let url = ListenUrl::parse(text)?;
    if let ListenUrl::Ws { path, .. } = &url {
        Path::parse(path)?;
    }
    Ok(url)
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
pub(super) const NAME_RULE: &str = "a name of 1 to 64 letters, digits, - and _, given to one bridge";

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
    let is_stream =
        !matches!(bridge.listen.url, ListenUrl::Ws { .. }) && bridge.backend.whom.speech() == Speech::Bytes;
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
