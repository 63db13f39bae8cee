//! The lists: bridges, sessions, networks and deaths; filtered, sorted, and cut to what was asked for.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use super::Counted;
use super::answer::written;
use super::query::Query;
use super::rows::{Beats, Crossed, Ends, Seconds, name};
use crate::close::Party;
use crate::heartbeat::Learned;
use crate::metrics::SideCount;
use crate::sessions::{Bridge, Death, Record};

/// A column to sort by: what it is called, and which of two rows comes first.
type Column<T> = (&'static str, fn(&T, &T) -> Ordering);

/// Part of a list.
#[derive(Serialize)]
struct List<'a, T> {
    total: usize,
    offset: usize,
    items: &'a [T],
}

/// Makes the part of a list that a query asks for, sorted by the first column where it does not say. The rows are values of one moment, for what changes while it is
/// sorted has no order.
fn list<T: Serialize>(
    query: &str,
    columns: &[Column<T>],
    is_newest_first: bool,
    rows: impl FnOnce() -> Vec<T>,
    texts: fn(&T) -> Vec<String>,
) -> Result<Vec<u8>, String> {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let Query { offset, limit, filter, sort, is_descending } = Query::parse(query, &names)?;
    let compare = columns[sort].1;
    let mut rows = rows();
    if !filter.is_empty() {
        rows.retain(|row| texts(row).iter().any(|text| text.to_lowercase().contains(&filter)));
    }
    match is_descending.unwrap_or(is_newest_first) {
        true => rows.sort_by(|a, b| compare(b, a)),
        false => rows.sort_by(compare),
    }
    let items = &rows[offset.min(rows.len())..offset.saturating_add(limit).min(rows.len())];
    Ok(written(&List { total: rows.len(), offset, items }))
}

fn text(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}

/// A row of `/api/bridges`.
#[derive(Serialize)]
struct BridgeRow {
    #[serde(serialize_with = "name", rename = "name")]
    bridge: Arc<Bridge>,
    listen: String,
    backend: String,
    active: u64,
    opened: u64,
    closed: u64,
    uplink: Crossed,
    downlink: Crossed,
    beats: Ends<Beats>,
    deaths: Ends<u64>,
}

const BRIDGES: [Column<BridgeRow>; 3] = [
    ("name", |a, b| a.bridge.name.cmp(&b.bridge.name)),
    ("active", |a, b| a.active.cmp(&b.active)),
    ("opened", |a, b| a.opened.cmp(&b.opened)),
];

/// The answer of `/api/bridges`.
pub(super) fn bridges(counted: &Counted, query: &str) -> Result<Vec<u8>, String> {
    let rows = || {
        let row = |bridge: &Arc<Bridge>| {
            let count = counted.metrics.bridge(&bridge.name).count();
            let [client, backend] = counted.sides(bridge);
            let beats = |side: &SideCount| {
                let mut beats = Beats::default();
                beats.add(side);
                beats
            };
            let crossed = |direction: usize| Crossed {
                messages: count.messages[direction],
                bytes: count.bytes[direction],
            };
            BridgeRow {
                bridge: bridge.clone(),
                listen: bridge.listen.clone(),
                backend: bridge.backend.clone(),
                active: count.active,
                opened: count.opened,
                closed: count.closed,
                uplink: crossed(0),
                downlink: crossed(1),
                beats: Ends { client: beats(&client), backend: beats(&backend) },
                deaths: Ends { client: client.deaths, backend: backend.deaths },
            }
        };
        counted.sessions.bridges().iter().map(row).collect()
    };
    let texts = |row: &BridgeRow| vec![row.bridge.name.to_string(), row.listen.clone(), row.backend.clone()];
    list(query, &BRIDGES, false, rows, texts)
}

/// A row of `/api/sessions`.
#[derive(Serialize)]
struct SessionRow {
    id: u64,
    #[serde(serialize_with = "name")]
    bridge: Arc<Bridge>,
    client: Option<SocketAddr>,
    opened: Seconds,
    last_message: Option<Seconds>,
    uplink: Crossed,
    downlink: Crossed,
    interval_s: Ends<Option<Seconds>>,
}

impl SessionRow {
    fn new(record: &Record) -> SessionRow {
        let crossed = |from| {
            let crossed = record.crossed(from);
            Crossed { messages: crossed.messages(), bytes: crossed.bytes() }
        };
        let interval = |side| record.interval(side).map(Seconds);
        SessionRow {
            id: record.number(),
            bridge: record.bridge().clone(),
            client: record.client(),
            opened: Seconds(record.opened()),
            last_message: record.last_message().map(Seconds),
            uplink: crossed(Party::Client),
            downlink: crossed(Party::Backend),
            interval_s: Ends { client: interval(Party::Client), backend: interval(Party::Backend) },
        }
    }
}

const SESSIONS: [Column<SessionRow>; 7] = [
    ("id", |a, b| a.id.cmp(&b.id)),
    ("bridge", |a, b| a.bridge.name.cmp(&b.bridge.name)),
    ("client", |a, b| a.client.cmp(&b.client)),
    ("opened", |a, b| a.opened.cmp(&b.opened)),
    ("last_message", |a, b| a.last_message.cmp(&b.last_message)),
    ("messages", |a, b| {
        (a.uplink.messages + a.downlink.messages).cmp(&(b.uplink.messages + b.downlink.messages))
    }),
    ("bytes", |a, b| (a.uplink.bytes + a.downlink.bytes).cmp(&(b.uplink.bytes + b.downlink.bytes))),
];

/// The answer of `/api/sessions`.
pub(super) fn sessions(counted: &Counted, query: &str) -> Result<Vec<u8>, String> {
    let rows = || {
        let mut rows: Vec<_> = counted.sessions.all().iter().map(|record| SessionRow::new(record)).collect();
        rows.sort_by_key(|row| row.id);
        rows
    };
    let texts = |row: &SessionRow| vec![row.id.to_string(), row.bridge.name.to_string(), text(row.client)];
    list(query, &SESSIONS, false, rows, texts)
}

/// The answer of `/api/sessions/{id}`.
pub(super) fn session(record: &Record) -> Vec<u8> {
    written(&SessionRow::new(record))
}

/// A row of `/api/networks`.
#[derive(Serialize)]
struct NetworkRow {
    side: &'static str,
    name: String,
    connections: usize,
    policy: &'static str,
    proven_s: Option<Seconds>,
    broken_s: Option<Seconds>,
    in_use_s: Option<Seconds>,
    is_settled: bool,
    is_in_doubt: bool,
}

const NETWORKS: [Column<NetworkRow>; 4] = [
    ("name", |a, b| a.name.cmp(&b.name)),
    ("connections", |a, b| a.connections.cmp(&b.connections)),
    ("proven", |a, b| a.proven_s.cmp(&b.proven_s)),
    ("in_use", |a, b| a.in_use_s.cmp(&b.in_use_s)),
];

/// The answer of `/api/networks`.
pub(super) fn networks(counted: &Counted, query: &str) -> Result<Vec<u8>, String> {
    let rows = || {
        let mut rows = Vec::new();
        for (side, networks) in counted.sessions.networks() {
            let policy = networks.policy();
            networks.look(|known| {
                let bracket = match known.learned {
                    Learned::Smart(bracket) => Some(bracket),
                    Learned::Wechat(_) | Learned::Nothing => None,
                };
                let proven = bracket.map(|bracket| bracket.proven()).filter(|proven| !proven.is_zero());
                rows.push(NetworkRow {
                    side: side.label(),
                    name: known.key.to_string(),
                    connections: known.connections,
                    policy,
                    proven_s: proven.map(Seconds),
                    broken_s: bracket.and_then(|bracket| bracket.refuted()).map(Seconds),
                    in_use_s: known.interval.map(Seconds),
                    is_settled: known.is_settled,
                    is_in_doubt: bracket.is_some_and(|bracket| bracket.is_in_doubt()),
                });
            });
        }
        rows
    };
    list(query, &NETWORKS, false, rows, |row| vec![row.name.clone()])
}

/// A row of `/api/deaths`.
#[derive(Serialize)]
struct DeathRow {
    at: Seconds,
    session: u64,
    #[serde(serialize_with = "name")]
    bridge: Arc<Bridge>,
    side: &'static str,
    client: Option<SocketAddr>,
    network: Option<String>,
    cause: &'static str,
    silence_s: Seconds,
    last_message: Option<Seconds>,
    returned: Option<Seconds>,
}

impl DeathRow {
    fn new(death: Death) -> DeathRow {
        DeathRow {
            at: Seconds(death.at),
            session: death.session,
            bridge: death.bridge,
            side: death.side.label(),
            client: death.client,
            network: death.network,
            cause: death.cause.label(),
            silence_s: Seconds(death.silence),
            last_message: death.last_message.map(Seconds),
            returned: death.returned.map(Seconds),
        }
    }
}

const DEATHS: [Column<DeathRow>; 1] = [("at", |a, b| a.at.cmp(&b.at))];

/// The answer of `/api/deaths`.
pub(super) fn deaths(counted: &Counted, query: &str) -> Result<Vec<u8>, String> {
    let rows = || counted.sessions.deaths().into_iter().map(DeathRow::new).collect();
    let texts = |row: &DeathRow| {
        let network = row.network.clone().unwrap_or_default();
        vec![row.bridge.name.to_string(), text(row.client), network, row.cause.to_owned()]
    };
    list(query, &DEATHS, true, rows, texts)
}
