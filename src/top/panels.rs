//! What the answers come to, as lines and tables; where they stand on a screen is decided elsewhere.

use super::answers::{Bridge, Death, List, Network, Session, Snapshot, Traffic};
use super::model::Rates;
use super::table::Column;
use crate::operator::figures::{bytes, clean, count, duration, rate, short};

/// A table with what is said above it.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    name: &'static str,
    /// How many there are, shown or not.
    total: u64,
    /// Where in the list the rows begin, if it can be scrolled.
    offset: Option<u64>,
    /// What else is said of the whole list, the most important first.
    remarks: Vec<String>,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<String>>,
}

// An IPv4 address with its port takes 21 columns, the /48 of an IPv6 address up to 19.

const BRIDGES: [Column; 8] = [
    Column::text("name", 0, 16),
    Column::figure("active", 1, 6),
    Column::figure("opened", 2, 6),
    Column::figure("deaths", 3, 6),
    Column::figure("up", 4, 8),
    Column::figure("down", 5, 8),
    Column::text("listen", 6, 24),
    Column::text("backend", 7, 24),
];

const NETWORKS: [Column; 8] = [
    Column::text("network", 0, 19),
    Column::figure("proven", 2, 6),
    Column::figure("in use", 1, 6),
    Column::figure("breaks", 3, 6),
    Column::text("state", 4, 8),
    Column::figure("connections", 5, 11),
    Column::text("policy", 6, 6),
    Column::text("side", 7, 7),
];

const DEATHS: [Column; 9] = [
    Column::figure("ago", 2, 6),
    Column::text("cause", 0, 7),
    Column::figure("silence", 1, 7),
    Column::text("bridge", 3, 8),
    Column::text("client", 4, 21),
    Column::text("side", 6, 7),
    Column::figure("session", 5, 7),
    Column::text("network", 8, 19),
    Column::figure("back after", 7, 10),
];

const SESSIONS: [Column; 13] = [
    Column::figure("id", 0, 5),
    Column::text("bridge", 3, 8),
    Column::text("client", 1, 21),
    Column::figure("opened", 2, 6),
    Column::figure("idle", 4, 6),
    Column::figure("messages", 6, 8),
    Column::figure("bytes", 5, 8),
    Column::figure("beat", 7, 6),
    Column::figure("up", 8, 6),
    Column::figure("up bytes", 10, 8),
    Column::figure("down", 9, 6),
    Column::figure("down bytes", 11, 10),
    Column::figure("backend beat", 12, 12),
];

/// What is written where nothing is known.
const UNKNOWN: &str = "-";

impl Panel {
    /// The parts of what is said above the table when the first `shown` rows are.
    pub(super) fn title(&self, shown: usize) -> Vec<String> {
        let (name, total) = (self.name, count(self.total));
        let shown = shown.min(self.rows.len()) as u64;
        let first = match self.offset {
            _ if shown == 0 || shown == self.total => format!("{name}: {total}"),
            None => format!("{name}: {} of {total}", count(shown)),
            Some(offset) => {
                format!("{name}: {} to {} of {total}", count(offset + 1), count(offset + shown))
            }
        };
        std::iter::once(first).chain(self.remarks.iter().cloned()).collect()
    }
}

/// The lines above everything, as parts of which the first must be seen.
pub(super) fn header(snapshot: &Snapshot, rates: Option<&Rates>, url: &str) -> [Vec<String>; 3] {
    let status = &snapshot.status;
    let sessions = status.sessions;
    let mut first = vec![
        format!("natpulse {}", clean(&status.version)),
        format!("alive {} of {}", count(sessions.active), count(sessions.limit)),
        format!("up {}", duration(status.now - status.started)),
        format!("opened {}", count(sessions.opened)),
        format!("closed {}", count(sessions.closed)),
        clean(url),
    ];
    if status.is_draining {
        first.insert(1, "DRAINING".to_owned());
    }
    let beats = status.beats;
    let beat = |word: &str, number: u64, per_second: Option<f64>| {
        let rate = per_second.map(|per_second| format!(" ({}/s)", rate(per_second))).unwrap_or_default();
        format!("{word} {}{rate}", count(number))
    };
    let second = vec![
        beat("beats sent", beats.sent, rates.map(|rates| rates.sent)),
        beat("answered", beats.answered, rates.map(|rates| rates.answered)),
        beat("missed", beats.missed, rates.map(|rates| rates.missed)),
    ];
    let total = |word: &str, traffic: Traffic| {
        format!("{word} {} messages, {}", count(traffic.messages), bytes(traffic.bytes))
    };
    let mut third = vec![total("uplink", status.uplink), total("downlink", status.downlink)];
    if let Some(rates) = rates {
        let flow = |word: &str, messages: f64, per_second: f64| {
            format!("{word} {} messages/s, {}/s", rate(messages), bytes(per_second as u64))
        };
        third.insert(0, flow("uplink", rates.up_messages, rates.up_bytes));
        third.insert(1, flow("downlink", rates.down_messages, rates.down_bytes));
    }
    [first, second, third]
}

pub(super) fn bridges(list: &List<Bridge>) -> Panel {
    let row = |bridge: &Bridge| {
        vec![
            clean(&bridge.name),
            count(bridge.active),
            short(bridge.opened),
            short(bridge.deaths.client + bridge.deaths.backend),
            bytes(bridge.uplink.bytes),
            bytes(bridge.downlink.bytes),
            clean(&bridge.listen),
            clean(&bridge.backend),
        ]
    };
    panel("bridges", list, &BRIDGES, row)
}

pub(super) fn networks(snapshot: &Snapshot) -> Panel {
    let row = |network: &Network| {
        let state = match network {
            Network { is_in_doubt: true, .. } => "in doubt",
            Network { is_settled: true, .. } => "settled",
            Network { .. } => "learning",
        };
        vec![
            clean(&network.name),
            length(network.proven_s),
            length(network.in_use_s),
            length(network.broken_s),
            state.to_owned(),
            count(network.connections),
            clean(&network.policy),
            clean(&network.side),
        ]
    };
    let known = snapshot.status.networks;
    let mut panel = panel("networks", &snapshot.networks, &NETWORKS, row);
    panel.remarks =
        vec![format!("{} learning", count(known.learning)), format!("{} settled", count(known.settled))];
    panel
}

pub(super) fn deaths(snapshot: &Snapshot) -> Panel {
    let status = &snapshot.status;
    let row = |death: &Death| {
        vec![
            duration(status.now - death.at),
            clean(&death.cause),
            duration(death.silence_s),
            clean(&death.bridge),
            name(death.client.as_ref()),
            clean(&death.side),
            death.session.to_string(),
            name(death.network.as_ref()),
            length(death.returned.map(|returned| returned - death.at)),
        ]
    };
    let mut panel = panel("last deaths", &snapshot.deaths, &DEATHS, row);
    let deaths = status.deaths;
    panel.remarks =
        vec![format!("{} clients", count(deaths.client)), format!("{} backends", count(deaths.backend))];
    panel
}

pub(super) fn sessions(snapshot: &Snapshot) -> Panel {
    let now = snapshot.status.now;
    let row = |session: &Session| {
        let (up, down) = (session.uplink, session.downlink);
        vec![
            session.id.to_string(),
            clean(&session.bridge),
            name(session.client.as_ref()),
            duration(now - session.opened),
            length(session.last_message.map(|at| now - at)),
            short(up.messages.saturating_add(down.messages)),
            bytes(up.bytes.saturating_add(down.bytes)),
            length(session.interval_s.client),
            short(up.messages),
            bytes(up.bytes),
            short(down.messages),
            bytes(down.bytes),
            length(session.interval_s.backend),
        ]
    };
    let list = &snapshot.sessions;
    // Not what is wanted by now: rows and title must say the same.
    let query = &snapshot.query;
    let mut panel = panel("sessions", list, &SESSIONS, row);
    panel.offset = Some(list.offset);
    if !query.filter.is_empty() {
        panel.remarks.push(format!("with {:?}", query.filter));
    }
    panel.remarks.push(query.sort.order(query.is_descending).to_owned());
    panel
}

fn panel<T>(
    name: &'static str,
    list: &List<T>,
    columns: &'static [Column],
    row: impl Fn(&T) -> Vec<String>,
) -> Panel {
    let rows = list.items.iter().map(row).collect();
    Panel { name, total: list.total, offset: None, remarks: Vec::new(), columns, rows }
}

fn length(seconds: Option<f64>) -> String {
    seconds.map_or(UNKNOWN.to_owned(), duration)
}

fn name(text: Option<&String>) -> String {
    text.map_or(UNKNOWN.to_owned(), |text| clean(text))
}
