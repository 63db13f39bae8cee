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

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::close::Party;
use crate::heartbeat::Outcome;
use families::Families;

/// All metrics of a process, in a registry of their own.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
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
        let metrics = Metrics { registry, families };
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

    /// Says of what the sessions' places are taken: `limit` of them there are.
    pub fn watch_permits(&self, permits: &Arc<Semaphore>, limit: usize) {
        self.families.permits_limit.set(limit as i64);
        // There is one proxy; another would be counted as the first.
        let _ = self.families.permits.set(permits.clone());
    }

    /// How many sessions may be open at once; 0 before [`Metrics::watch_permits`].
    pub fn limit(&self) -> u64 {
        u64::try_from(self.families.permits_limit.get()).unwrap_or_default()
    }

    /// The config in use was read at this time, since the UNIX epoch.
    pub fn config_loaded(&self, now: Duration) {
        self.reloaded(Some(now));
    }

    /// Files that belong to the config were read again, and taken over at this time; `None` where some could not be.
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
        let Families { runtime_tasks: tasks, permits, permits_used, permits_limit, .. } = &*self.families;
        tasks.set(runtime_tasks as i64);
        if let Some(permits) = permits.get() {
            permits_used.set(permits_limit.get() - permits.available_permits() as i64);
        }
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        encoder.encode(&self.registry.gather(), &mut text)?;
        Ok((text, encoder.format_type().to_owned()))
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
