//! `[limits]`, and `limits` of a bridge: how much anyone may take.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;
use super::source::Node;
use super::units::{write_duration, write_size};

/// `[limits]`: over all bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of one address; `None` for half of all places, and 1,000 at least.
    pub sessions_per_address: Option<usize>,
    /// Sessions of one network; `None` for three quarters of all places, and 1,000 at least.
    pub sessions_per_network: Option<usize>,
    /// Handshakes in progress; `None` for what the descriptor limit allows.
    pub handshakes: Option<usize>,
    /// Handshakes in progress of one address; `None` for half of them.
    pub handshakes_per_address: Option<usize>,
    /// Handshakes that one address may begin in a second, in the long run.
    pub handshake_rate: u32,
    /// Handshakes that it may begin at once after it was quiet.
    pub handshake_burst: u32,
    /// Bytes that peers may leave waiting, over all sessions, before those who leave most are let go.
    pub buffered: u64,
}

/// `limits` of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeLimits {
    /// Sessions, in all.
    pub sessions: Option<usize>,
    /// Sessions of one address.
    pub sessions_per_address: Option<usize>,
    /// How long a session may last.
    pub max_age: Option<Duration>,
    /// How long a session may last without a message.
    pub idle_timeout: Option<Duration>,
}

impl Default for Limits {
    /// A carrier's NAT puts hundreds of subscribers behind one address, and when a network comes back they come back
    /// together: 5,000 of them are all in after 15 s. What an attacker gets out of as many handshakes is a few percent
    /// of a processor. 256 MiB are 512 peers that take nothing at all.
    fn default() -> Self {
        Limits {
            sessions_per_address: None,
            sessions_per_network: None,
            handshakes: None,
            handshakes_per_address: None,
            handshake_rate: 200,
            handshake_burst: 2000,
            buffered: 256 << 20,
        }
    }
}

/// The most that can be asked for: more than any machine has room for.
const MOST: i64 = 1 << 30;

fn count(reader: &mut Reader<'_>, key: &'static str) -> Option<usize> {
    reader.integer(key, 1..=MOST).map(|count| count as usize)
}

impl Limits {
    pub(super) fn read(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Limits {
        let default = Limits::default();
        let Some(node) = node else {
            return default;
        };
        let mut reader = Reader::new("limits", node, errors);
        let rate =
            |reader: &mut Reader<'_>, key| reader.integer(key, 1..=1_000_000).map(|count| count as u32);
        let limits = Limits {
            sessions_per_address: count(&mut reader, "sessions_per_address"),
            sessions_per_network: count(&mut reader, "sessions_per_network"),
            handshakes: count(&mut reader, "handshakes"),
            handshakes_per_address: count(&mut reader, "handshakes_per_address"),
            handshake_rate: rate(&mut reader, "handshake_rate").unwrap_or(default.handshake_rate),
            handshake_burst: rate(&mut reader, "handshake_burst").unwrap_or(default.handshake_burst),
            buffered: reader.size("buffered").unwrap_or(default.buffered),
        };
        reader.finish();
        limits
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[limits]")?;
        for (key, limit) in [
            ("sessions_per_address", self.sessions_per_address),
            ("sessions_per_network", self.sessions_per_network),
            ("handshakes", self.handshakes),
            ("handshakes_per_address", self.handshakes_per_address),
        ] {
            if let Some(limit) = limit {
                writeln!(f, "{key} = {limit}")?;
            }
        }
        writeln!(f, "handshake_rate = {}\nhandshake_burst = {}", self.handshake_rate, self.handshake_burst)?;
        writeln!(f, "buffered = \"{}\"", write_size(self.buffered))
    }
}

impl BridgeLimits {
    pub(super) fn read(path: &str, node: Option<Node>, errors: &mut Vec<ConfigError>) -> BridgeLimits {
        let Some(node) = node else {
            return BridgeLimits::default();
        };
        let mut reader = Reader::new(path, node, errors);
        let limits = BridgeLimits {
            sessions: count(&mut reader, "sessions"),
            sessions_per_address: count(&mut reader, "sessions_per_address"),
            max_age: reader.positive_duration("max_age"),
            idle_timeout: reader.positive_duration("idle_timeout"),
        };
        reader.finish();
        limits
    }

    /// The line of a bridge's table, where anything is limited.
    pub(super) fn line(&self) -> String {
        let mut words = Vec::new();
        for (key, limit) in [("sessions", self.sessions), ("sessions_per_address", self.sessions_per_address)]
        {
            words.extend(limit.map(|limit| format!("{key} = {limit}")));
        }
        for (key, limit) in [("max_age", self.max_age), ("idle_timeout", self.idle_timeout)] {
            words.extend(limit.map(|limit| format!("{key} = \"{}\"", write_duration(limit))));
        }
        let mut line = String::new();
        if !words.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(line, "limits = {{ {} }}", words.join(", "));
        }
        line
    }
}
