//! What natpulse counts, for Prometheus. Children are resolved per bridge at start, so that counting is
//! an atomic addition; label values come from closed lists, so that no client can make a series.

mod bridge;
mod events;
mod families;
mod labels;
mod sizes;

pub use bridge::{ActiveSession, BackendMetrics, BridgeCount, BridgeMetrics, SideCount, SideMetrics};
pub use events::EventMetrics;
pub use labels::{Delivery, Dialling, Handshake};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Encoder as _, IntGauge, Registry, TextEncoder};

use crate::close::Party;
use crate::heartbeat::Outcome;
use families::Families;

/// All metrics of a process, in a registry of their own.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    bridges: Arc<Mutex<Bridges>>,
}

/// The bridges that are counted.
#[derive(Debug, Default)]
struct Bridges {
    /// By name: how many are at work under it. One, but for a bridge that was changed while it had sessions.
    names: HashMap<String, usize>,
    /// What was counted of those that are gone.
    gone: Count,
}

/// What was counted of all bridges since the start, those among them that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Sessions, messages and bytes.
    pub bridge: BridgeCount,
    /// Beats and deaths of the clients' side, and of the backends'.
    pub sides: [SideCount; 2],
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Two metrics with one name: a mistake in these files.
    pub fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let families = Arc::new(Families::register(&registry)?);
        for outcome in OUTCOMES {
            families.probes.with_label_values(&[outcome]);
        }
        let metrics = Metrics { registry, families, bridges: Arc::default() };
        // Present from the start, whether there is a webhook or not.
        metrics.events();
        Ok(metrics)
    }

    /// The metrics of events.
    pub fn events(&self) -> EventMetrics {
        EventMetrics::new(&self.families)
    }

    /// The children of one bridge, all of them present from the start.
    pub fn bridge(&self, name: &str) -> BridgeMetrics {
        BridgeMetrics::new(&self.families, name)
    }

    /// The children for the backends of one bridge that are checked on, all of them present from then on.
    pub fn backends(&self, bridge: &str) -> BackendMetrics {
        BackendMetrics::new(&self.families, bridge)
    }

    /// The children of one side of one bridge, all of them present from the start.
    pub fn side(&self, bridge: &str, party: Party) -> SideMetrics {
        SideMetrics::new(&self.families, bridge, party)
    }

    /// Takes note of the networks on one side: how many are still learning and how many have settled, and the interval in
    /// use that so many percent of them do not exceed.
    pub fn networks(
        &self,
        party: Party,
        learning: usize,
        settled: usize,
        mut percentile: impl FnMut(usize) -> Duration,
    ) {
        let side = party.label();
        let Families { networks, network_interval, .. } = &*self.families;
        networks.with_label_values(&[side, "learning"]).set(learning as i64);
        networks.with_label_values(&[side, "settled"]).set(settled as i64);
        for percent in [10, 50, 90] {
            let labels = [side, &percent.to_string()];
            network_interval.with_label_values(&labels).set(percentile(percent).as_secs_f64());
        }
    }

    /// Counts a connection that carries nothing and measures its network, until it is dropped.
    pub fn probe(&self) -> Probe {
        self.families.probes_open.inc();
        Probe(self.families.clone())
    }

    /// The metrics of places for sessions.
    pub fn places(&self) -> PlacesMetrics {
        PlacesMetrics { used: self.families.permits_used.clone(), limit: self.families.permits_limit.clone() }
    }

    /// How many sessions may be open at once.
    pub fn limit(&self) -> u64 {
        u64::try_from(self.families.permits_limit.get()).unwrap_or_default()
    }

    /// The children of a bridge that begins its work, until as many of its name have left as have entered.
    pub fn enter(&self, bridge: &str) -> BridgeMetrics {
        *self.bridges().names.entry(bridge.to_owned()).or_default() += 1;
        self.bridge(bridge)
    }

    /// A bridge of this name is gone, and so is its last session: if it was the last, its children are forgotten.
    pub fn leave(&self, bridge: &str) {
        let mut bridges = self.bridges();
        let Some(count) = bridges.names.get_mut(bridge) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            bridges.names.remove(bridge);
            let last = self.count_of(bridge);
            bridges.gone.add(&last);
            self.families.forget(bridge);
        }
    }

    /// What was counted of all bridges.
    pub fn count(&self) -> Count {
        let bridges = self.bridges();
        let mut all = bridges.gone;
        bridges.names.keys().for_each(|bridge| all.add(&self.count_of(bridge)));
        all
    }

    fn count_of(&self, bridge: &str) -> Count {
        let sides = [Party::Client, Party::Backend].map(|party| self.side(bridge, party).count());
        Count { bridge: self.bridge(bridge).count(), sides }
    }

    /// Nothing in here can be left half done by a panic.
    fn bridges(&self) -> MutexGuard<'_, Bridges> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The config, or a file that belongs to it, was read and taken over at this time, since the UNIX epoch; `None` where
    /// something in it was of no use.
    pub fn reloaded(&self, now: Option<Duration>) {
        self.families.reload_succeeded.set(now.is_some().into());
        if let Some(now) = now {
            self.families.reloaded_at.set(now.as_secs_f64());
        }
    }

    /// A timer of the runtime fired so late.
    pub fn lag(&self, late: Duration) {
        self.families.runtime_lag.observe(late.as_secs_f64());
    }

    /// Everything in Prometheus' text format, and its content type.
    ///
    /// # Errors
    /// A metric family without metrics: a mistake in these files.
    pub fn render(&self, runtime_tasks: usize) -> prometheus::Result<(Vec<u8>, String)> {
        self.families.runtime_tasks.set(runtime_tasks as i64);
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        encoder.encode(&self.registry.gather(), &mut text)?;
        Ok((text, encoder.format_type().to_owned()))
    }
}

impl Count {
    fn add(&mut self, other: &Count) {
        let Count { bridge, sides } = self;
        bridge.active += other.bridge.active;
        bridge.opened += other.bridge.opened;
        bridge.closed += other.bridge.closed;
        for direction in 0..2 {
            bridge.messages[direction] += other.bridge.messages[direction];
            bridge.bytes[direction] += other.bridge.bytes[direction];
        }
        for (side, other) in sides.iter_mut().zip(&other.sides) {
            side.sent += other.sent;
            side.answered += other.answered;
            side.missed += other.missed;
            side.deaths += other.deaths;
        }
    }
}

/// The metrics of places for sessions: how many there are, and how many are taken.
#[derive(Clone, Debug)]
pub struct PlacesMetrics {
    used: IntGauge,
    limit: IntGauge,
}

impl PlacesMetrics {
    /// There are so many.
    pub fn limit(&self, places: usize) {
        self.limit.set(places as i64);
    }

    /// One was taken.
    pub fn taken(&self) {
        self.used.inc();
    }

    /// One was left.
    pub fn left(&self) {
        self.used.dec();
    }
}

/// How a probe's silence can end.
const OUTCOMES: [&str; 3] = ["survived", "lost", "unclear"];

/// A probe connection that is counted as open.
#[derive(Debug)]
pub struct Probe(Arc<Families>);

impl Probe {
    /// Counts how its silence ended.
    pub fn ended(&self, outcome: Outcome) {
        let place = match outcome {
            Outcome::Survived { .. } => 0,
            Outcome::Lost { .. } => 1,
            Outcome::Unclear => 2,
        };
        self.0.probes.with_label_values(&[OUTCOMES[place]]).inc();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probes_open.dec();
    }
}
