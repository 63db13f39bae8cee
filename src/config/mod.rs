//! The configuration: text to [`Config`], or every reason why not.
//!
//! A file, the environment and the command line become one tree of values that know where they were
//! written (`source`); tables are read key by key (`reader`), so that one run reports every error. Secrets are read
//! from the files that are named (`secret`).
//! Past this module nobody sees text, and nobody checks again.

mod access;
mod admin;
mod arguments;
mod backend;
mod bearer;
mod bridge;
mod events;
mod framing;
mod heartbeat;
mod limits;
mod neighbours;
mod preface;
mod reader;
mod secret;
mod source;
mod tls;
mod units;
mod whom;
mod write;

pub use access::Access;
pub use admin::Admin;
pub use arguments::BridgeArguments;
pub use backend::Backend;
pub use bearer::{Bearer, Signed};
pub use bridge::{Bridge, Listen};
pub use events::Events;
pub use heartbeat::{Heartbeat, LegacyBeat};
pub use limits::{BridgeLimits, Limits};
pub use secret::Secret;
pub use source::Origin;
pub use units::duration;
pub use whom::{HealthCheck, Pool, Speech, Whom};

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::heartbeat::Settings;
use reader::Reader;
use source::Node;

/// Everything there is to know before starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The process.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// The admin port.
    pub admin: Admin,
    /// What is remembered about networks.
    pub networks: Networks,
    /// Who is told what happens to sessions, if anyone is.
    pub events: Option<Events>,
    /// How much anyone may take.
    pub limits: Limits,
    /// The proxies that are believed when they say in an HTTP header whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// The bridges, of which there is at least one.
    pub bridges: Vec<Bridge>,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// How long clients are still accepted after natpulse was asked to leave, and has said that it is not ready.
    pub drain_delay: Duration,
    /// How long a drain may take after that; closes are spread over it.
    pub drain_window: Duration,
    /// Sessions open at once, in all; `None` for as many as the descriptor limit allows.
    pub max_sessions: Option<usize>,
    /// How long a client may take to send its upgrade request.
    pub handshake_timeout: Duration,
}

/// `[networks]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    /// How many bits of an IPv4 address name a network.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address do.
    pub ipv6_prefix: u8,
    /// How many networks are remembered for each kind of end.
    pub capacity: usize,
    /// The directory in which what was learned is kept across restarts, if it is.
    pub directory: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// One thing that is wrong: where, which key, what it says, and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was written.
    pub origin: Origin,
    /// The key with the path to it, as `bridge[0].listen.url`; empty for syntax errors.
    pub key: String,
    /// What was written, as TOML; `None` where something is missing.
    pub value: Option<String>,
    /// What is allowed.
    pub rule: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&self.key, &self.value) {
            (key, None) if key.is_empty() => f.write_str(&self.rule),
            (key, None) => write!(f, "{key} is missing: it must be {}", self.rule),
            (key, Some(value)) => write!(f, "{key} = {value}: must be {}", self.rule),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads TOML text called `name`, and the environment variables over it.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(
        name: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut root = Node::from_toml(name, text, &mut errors);
        root.overlay(environment, &mut errors);
        Config::from_tree(root, errors)
    }

    /// Makes a config of a command line's one bridge.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_arguments(arguments: &BridgeArguments) -> Result<Config, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut root = arguments.tree();
        root.overlay(std::env::vars(), &mut errors);
        Config::from_tree(root, errors)
    }

    /// What is allowed, and yet should be known to whoever runs it: a line each, which names the bridge and the key.
    pub fn warnings(&self) -> Vec<String> {
        let of = |bridge: &Bridge| {
            let (name, tls) = (bridge.name.clone(), tls::warnings(bridge));
            let warnings = bridge.access.warnings().into_iter().chain(tls);
            let warnings = warnings.chain(backend::warnings(&bridge.backend));
            warnings.map(move |warning| format!("bridge {name}: {warning}"))
        };
        self.bridges.iter().flat_map(of).collect()
    }

    fn from_tree(root: Node, mut errors: Vec<ConfigError>) -> Result<Config, Vec<ConfigError>> {
        let mut reader = Reader::new("", root, &mut errors);
        let server = reader.take("server");
        let log = reader.take("log");
        let admin = reader.take("admin");
        let heartbeat = reader.take("heartbeat");
        let networks = reader.take("networks");
        let events = reader.take("events");
        let limits = reader.take("limits");
        let access = reader.take("access");
        let bridges = reader.required("bridge", "at least one [[bridge]] table");
        reader.finish();
        let heartbeat = heartbeat::read("heartbeat", heartbeat, &Settings::default(), &mut errors);
        let config = Config {
            server: Server::read(server, &mut errors),
            log: Log::read(log, &mut errors),
            admin: Admin::read(admin, &mut errors),
            networks: Networks::read(networks, &mut errors),
            events: events.and_then(|events| Events::read(events, &mut errors)),
            limits: Limits::read(limits, &mut errors),
            trusted_proxies: preface::read_trusted(access, &mut errors),
            bridges: bridges
                .map_or_else(Vec::new, |bridges| bridge::read_all(bridges, &heartbeat, &mut errors)),
        };
        if errors.is_empty() {
            return Ok(config);
        }
        errors.sort_by_key(|error| match &error.origin {
            Origin::File { line, column, .. } => (0, *line, *column),
            Origin::Nowhere | Origin::Argument(_) => (1, 0, 0),
            Origin::Environment(_) => (2, 0, 0),
        });
        Err(errors)
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            drain_delay: Duration::ZERO,
            drain_window: Duration::from_secs(20),
            max_sessions: None,
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

impl Server {
    fn read(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Server {
        let default = Server::default();
        let Some(node) = node else {
            return default;
        };
        let mut reader = Reader::new("server", node, errors);
        let server = Server {
            drain_delay: reader.duration("drain_delay").unwrap_or(default.drain_delay),
            drain_window: reader.duration("drain_window").unwrap_or(default.drain_window),
            max_sessions: reader.integer("max_sessions", 1..=i64::MAX).map(|sessions| sessions as usize),
            handshake_timeout: reader.duration("handshake_timeout").unwrap_or(default.handshake_timeout),
        };
        reader.finish();
        server
    }
}

impl Default for Networks {
    /// A /24 and a /48 are the smallest blocks that are routed on the internet, and so the most that one NAT of an
    /// access network is known to share.
    fn default() -> Self {
        Networks {
            ipv4_prefix: 24,
            ipv6_prefix: 48,
            capacity: crate::heartbeat::Networks::CAPACITY,
            directory: None,
        }
    }
}

impl Networks {
    fn read(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Networks {
        let default = Networks::default();
        let Some(node) = node else {
            return default;
        };
        let mut reader = Reader::new("networks", node, errors);
        let mut prefix =
            |key, most, default| reader.integer(key, 0..=most).map_or(default, |bits| bits as u8);
        let networks = Networks {
            ipv4_prefix: prefix("ipv4_prefix", 32, default.ipv4_prefix),
            ipv6_prefix: prefix("ipv6_prefix", 128, default.ipv6_prefix),
            capacity: reader
                .integer("capacity", 1..=i64::from(u32::MAX))
                .map_or(default.capacity, |capacity| capacity as usize),
            directory: reader.parsed("directory", "a path", |value| {
                value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
            }),
        };
        reader.finish();
        networks
    }
}

impl Log {
    fn read(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Log {
        let default = Log { level: tracing::Level::INFO, format: LogFormat::Auto };
        let Some(node) = node else {
            return default;
        };
        let mut reader = Reader::new("log", node, errors);
        let log = Log {
            level: reader.word("level", &LEVELS).unwrap_or(default.level),
            format: reader.word("format", &FORMATS).unwrap_or(default.format),
        };
        reader.finish();
        log
    }
}

const LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

const FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
