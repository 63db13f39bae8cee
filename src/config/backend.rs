//! `backend`: whom a bridge dials.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::heartbeat::{self, Carrier, Heartbeat};
use super::reader::Reader;
use super::source::{Node, Origin};
use super::units::{NETWORKS_RULE, duration};
use super::whom::{BALANCES, HealthCheck, Pool, Speech, Whom, speech};
use super::write::quoted;
use super::{ConfigError, Secret, framing, preface, tls};
use crate::heartbeat::Settings;
use crate::link::proxy_protocol::Version;
use crate::link::tls::ClientTls;
use crate::link::{BackendUrl, Reach};
use crate::session::RecordKind;
use crate::targets::{Balance, Pattern, Template};
use crate::wire::Framing;

/// The end that is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Whom.
    pub whom: Whom,
    /// How it is met with TLS, where it is.
    pub tls: Option<ClientTls>,
    /// How a byte stream is cut into messages; of no meaning on a WebSocket.
    pub framing: Framing,
    /// How it is kept alive.
    pub heartbeat: Heartbeat,
    /// The PROXY header by which it is told who the client is, if it is to be.
    pub proxy_protocol: Option<Version>,
    /// What it is sent to be let in, where it asks for a token.
    pub token: Option<Secret>,
}

/// What a client can say about the backend that it wants.
pub(super) enum Asked {
    /// That is not known: the listening end is wrong.
    Unknown,
    /// Nothing: it is a byte stream.
    Nothing,
    /// A path with these parameters, and a query.
    Path(Vec<String>),
}

impl Asked {
    fn knows(&self, name: &str) -> bool {
        match self {
            Asked::Unknown => true,
            Asked::Nothing => false,
            Asked::Path(parameters) => parameters.iter().any(|known| known == name),
        }
    }
}

const DEFAULT_HEALTH_CHECK: HealthCheck =
    HealthCheck { every: Duration::from_secs(5), timeout: Duration::from_secs(2) };
/// What is checked more often than this is loaded rather than checked.
const SHORTEST_CHECK: Duration = Duration::from_millis(100);

const CHECK_RULE: &str = "a duration of at least \"100ms\"";
const END_RULE: &str = "a URL, or a table with url, urls or targets";
const URLS_RULE: &str =
    "a list of different URLs of backends, all of them byte streams or all of them WebSockets";
const ALLOW_RULE: &str = "a list of the hosts and ports that clients may name, such as [\"*.internal:5900\"]";

/// Reads the end that is dialled. `asked` is what a client can say to the listening end.
pub(super) fn read(
    path: &str,
    node: Node,
    base: &Settings,
    message: RecordKind,
    asked: &Asked,
    errors: &mut Vec<ConfigError>,
) -> Option<Backend> {
    let token_file = node.get("token_file").cloned();
    let mut reader = Reader::end(path, node, END_RULE, errors)?;
    let whom = read_whom(&mut reader, asked);
    let framing = reader.take("framing");
    let heartbeat = reader.take("heartbeat");
    let tls = reader.take("tls");
    let is = |speech| whom.as_ref().is_some_and(|whom| whom.speech() == speech);
    let is_stream = is(Speech::Bytes);
    if let (Some(_), Some(framing), false) = (&whom, &framing, is_stream) {
        reader.wrong("framing", framing, "left out: WebSockets and echo: have messages of their own");
    }
    let proxy_protocol = preface::read_backend(&mut reader, is(Speech::Echo));
    let token = Secret::read("token_file", &mut reader);
    if let (Some(_), Some(node), false) = (&whom, &token_file, is(Speech::WebSocket)) {
        reader.wrong("token_file", node, "left out: only a WebSocket has a place for a token");
    }
    reader.finish();
    let framing = match framing {
        Some(node) => framing::read(&format!("{path}.framing"), node, errors)?,
        None => Framing::RAW,
    };
    let whom = whom?;
    let carrier = if is_stream { Carrier::Framed(&framing) } else { Carrier::WebSocket(message) };
    let heartbeat = heartbeat::read_end(&format!("{path}.heartbeat"), heartbeat, base, carrier, errors);
    let tls = tls::read_backend(path, tls, whom.tls_host().as_deref(), errors);
    Some(Backend { whom, tls, framing, heartbeat, proxy_protocol, token })
}

fn read_whom(reader: &mut Reader<'_>, asked: &Asked) -> Option<Whom> {
    let (url, urls, targets) = (reader.take("url"), reader.take("urls"), reader.take("targets"));
    let balance = reader.take("balance");
    let health_check = read_health_check(reader);
    let allow = reader.take("allow");
    let allow_addresses = reader.take("allow_addresses").map(|node| (read_networks(reader, &node), node));
    let mut superfluous = |key: &str, node: Option<&Node>, rule: &str| {
        if let Some(node) = node {
            reader.wrong(key, node, rule);
        }
    };
    let template = url.as_ref().and_then(|node| node.value.as_str()).filter(|text| Template::is_one(text));
    let is_fixed = targets.is_none() && template.is_none();
    if urls.is_none() {
        superfluous("balance", balance.as_ref(), "left out: there are no urls to choose from");
    }
    if template.is_none() {
        superfluous("allow", allow.as_ref(), "left out: the URL has no parameters");
    }
    if is_fixed {
        let node = allow_addresses.as_ref().map(|(_, node)| node);
        superfluous("allow_addresses", node, "left out: who is dialled is written here");
    } else {
        let node = health_check.as_ref().map(|(_, node)| node);
        superfluous("health_check", node, "left out: who is dialled is not known before a client asks");
    }
    let others = [urls.as_ref().map(|node| ("urls", node)), targets.as_ref().map(|node| ("targets", node))];
    for (key, node) in others.into_iter().flatten().skip(usize::from(url.is_none())) {
        superfluous(key, Some(node), "left out: one of url, urls and targets says who is dialled");
    }
    let networks = allow_addresses.map(|(networks, _)| networks);
    match (url, urls, targets) {
        (Some(node), ..) if Template::is_one(node.value.as_str().unwrap_or_default()) => {
            read_named(reader, &node, allow, networks, asked)
        }
        (Some(node), ..) => {
            let parsed = node.value.as_str().map_or_else(|| Err("a URL".into()), BackendUrl::parse);
            let url = parsed.map_err(|rule| reader.wrong("url", &node, &rule)).ok()?;
            let health_check = health_check.map(|(check, _)| check);
            Some(Whom::Any(Pool { urls: vec![url], balance: Balance::RoundRobin, health_check }))
        }
        (None, Some(node), _) => {
            let urls = read_urls(reader, &node)?;
            let balance = balance.map_or(Some(Balance::RoundRobin), |node| {
                let word = node.value.as_str();
                let found = BALANCES.iter().find(|(known, _)| Some(*known) == word).map(|(_, it)| *it);
                if found.is_none() {
                    reader.wrong("balance", &node, "one of \"round_robin\", \"least_sessions\"");
                }
                found
            })?;
            Some(Whom::Any(Pool { urls, balance, health_check: health_check.map(|(check, _)| check) }))
        }
        (None, None, Some(node)) => read_tokens(reader, &node, networks, asked),
        (None, None, None) => {
            reader.missing("url", "a URL");
            None
        }
    }
}

fn read_health_check(reader: &mut Reader<'_>) -> Option<(HealthCheck, Node)> {
    let node = reader.take("health_check")?;
    let path = reader.full("health_check");
    let mut inner = Reader::new(&path, node.clone(), reader.errors);
    let mut duration = |key, default| {
        let found = inner.parsed(key, CHECK_RULE, |value| {
            let found = duration(value.as_str()?)?;
            (found >= SHORTEST_CHECK).then_some(found)
        });
        found.unwrap_or(default)
    };
    let check = HealthCheck {
        every: duration("every", DEFAULT_HEALTH_CHECK.every),
        timeout: duration("timeout", DEFAULT_HEALTH_CHECK.timeout),
    };
    inner.finish();
    Some((check, node))
}

fn read_networks(reader: &mut Reader<'_>, node: &Node) -> Vec<IpNet> {
    let networks = Reader::network_list(&node.value);
    if networks.is_none() {
        reader.wrong("allow_addresses", node, NETWORKS_RULE);
    }
    networks.unwrap_or_default()
}

fn read_urls(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<BackendUrl>> {
    let nodes = node.value.as_array().filter(|nodes| !nodes.is_empty());
    let mut urls: Vec<BackendUrl> = Vec::new();
    for (index, item) in nodes.unwrap_or_default().iter().enumerate() {
        let parsed = item.value.as_str().map_or_else(|| Err(URLS_RULE.to_owned()), BackendUrl::parse);
        match parsed {
            Ok(url) if urls.contains(&url) || urls.first().is_some_and(|one| speech(one) != speech(&url)) => {
                reader.wrong(&format!("urls[{index}]"), item, URLS_RULE);
                return None;
            }
            Ok(url) => urls.push(url),
            Err(rule) => {
                reader.wrong(&format!("urls[{index}]"), item, &rule);
                return None;
            }
        }
    }
    if urls.is_empty() {
        reader.wrong("urls", node, URLS_RULE);
        return None;
    }
    Some(urls)
}

fn read_named(
    reader: &mut Reader<'_>,
    node: &Node,
    allow: Option<Node>,
    networks: Option<Vec<IpNet>>,
    asked: &Asked,
) -> Option<Whom> {
    let template = Template::parse(node.value.as_str().unwrap_or_default());
    let template = template.map_err(|rule| reader.wrong("url", node, &rule)).ok();
    let names = template.as_ref().and_then(Template::parameters).unwrap_or_default();
    if names.iter().any(|name| !asked.knows(name)) {
        reader.wrong(
            "url",
            node,
            "a URL whose parameters are in the path of a ws listener too, as /vm/{name}",
        );
    }
    let Some(node) = allow else {
        reader.missing("allow", ALLOW_RULE);
        return None;
    };
    let mut patterns = Vec::new();
    for item in node.value.as_array().unwrap_or_default() {
        let parsed = item.value.as_str().map_or_else(|| Err(ALLOW_RULE.to_owned()), Pattern::parse);
        match parsed {
            Ok(pattern) if pattern.is_any_host() && networks.is_none() => {
                let rule =
                    "used with allow_addresses: else it would let clients reach any host of the internet";
                reader.wrong("allow", &node, rule);
            }
            Ok(pattern) => patterns.push(pattern),
            Err(rule) => reader.wrong("allow", item, &rule),
        }
    }
    if node.value.as_array().is_none_or(<[Node]>::is_empty) {
        reader.wrong("allow", &node, ALLOW_RULE);
    }
    let reach = networks.map_or(Reach::Elsewhere, Reach::Within);
    Some(Whom::Named { template: template?, allow: patterns, reach })
}

fn read_tokens(
    reader: &mut Reader<'_>,
    node: &Node,
    networks: Option<Vec<IpNet>>,
    asked: &Asked,
) -> Option<Whom> {
    let source = node.value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
    let is_there = |path: &Path| match path.is_dir() {
        true => std::fs::read_dir(path).map(drop),
        false => std::fs::File::open(path).map(drop),
    };
    let rule = match (&source, asked) {
        (None, _) => "the path of a file or directory of targets".to_owned(),
        (_, Asked::Nothing) => "used with a ws listener, whose clients can say a token".to_owned(),
        (Some(path), Asked::Path(_) | Asked::Unknown) => match is_there(path) {
            Ok(()) => {
                let reach = networks.map_or(Reach::Anywhere, Reach::Within);
                return Some(Whom::Tokens { source: source?, reach });
            }
            Err(error) => format!("the path of a file or directory of targets that can be read ({error})"),
        },
    };
    reader.wrong("targets", node, &rule);
    None
}

/// A backend as TOML that reads back as the same.
pub(super) fn write(backend: &Backend) -> String {
    let Backend { whom, tls, framing, heartbeat, proxy_protocol, token } = backend;
    let mut keys = whom.keys();
    if whom.speech() == Speech::Bytes {
        keys.push(format!("framing = {framing}"));
    }
    keys.push(format!("heartbeat = {}", heartbeat::write(heartbeat)));
    keys.extend(token.as_ref().map(|token| format!("token_file = {}", quoted(&token.file.display()))));
    let tls = tls.as_ref().map(tls::write_backend).unwrap_or_default();
    format!("{{ {}{tls}{} }}", keys.join(", "), preface::write_backend(*proxy_protocol))
}

/// What whoever runs this should know, in words that name the key.
pub(super) fn warnings(backend: &Backend) -> Vec<String> {
    let token = backend.token.as_ref();
    let is_exposed = token.is_some_and(|token| token.is_exposed);
    let exposed = "everyone on this machine may read backend.token_file";
    let is_open = token.is_some() && backend.whom.is_far_without_tls();
    let open = "backend.token_file is sent without TLS: everyone on the way can read it";
    let told = [(is_exposed, exposed), (is_open, open)];
    told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, words)| words.to_owned()).collect()
}

/// Where the framing of a backend is written, to be blamed.
pub(super) fn framing_origin(node: &Node) -> Origin {
    node.get("framing").unwrap_or(node).origin.clone()
}
