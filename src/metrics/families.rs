//! Every metric there is: its name, what it means, its labels and its buckets.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::sizes::SizesVec;

/// Metrics by name.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) active: IntGaugeVec,
    pub(super) opened: IntCounterVec,
    pub(super) closed: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) messages: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    pub(super) sizes: SizesVec,
    pub(super) handshakes: IntCounterVec,
    pub(super) handshake_duration: HistogramVec,
    pub(super) dials: IntCounterVec,
    pub(super) dial_duration: HistogramVec,
    pub(super) backends: IntGaugeVec,
    pub(super) backend_checks: IntCounterVec,
    pub(super) beats_sent: IntCounterVec,
    pub(super) beats_answered: IntCounterVec,
    pub(super) beats_missed: IntCounterVec,
    pub(super) round_trip: HistogramVec,
    pub(super) interval: HistogramVec,
    pub(super) death_silence: HistogramVec,
    pub(super) death_verdict: HistogramVec,
    pub(super) deaths: IntCounterVec,
    pub(super) explained: IntCounterVec,
    pub(super) networks: IntGaugeVec,
    pub(super) network_interval: GaugeVec,
    pub(super) probes_open: IntGauge,
    pub(super) probes: IntCounterVec,
    pub(super) reconnects: IntCounterVec,
    pub(super) buffered: IntGaugeVec,
    pub(super) pauses: IntCounterVec,
    pub(super) accept_errors: IntCounterVec,
    pub(super) permits_used: IntGauge,
    pub(super) permits_limit: IntGauge,
    pub(super) events: IntCounterVec,
    pub(super) events_queued: IntGauge,
    pub(super) webhook_requests: IntCounterVec,
    pub(super) reload_succeeded: IntGauge,
    pub(super) reloaded_at: Gauge,
    pub(super) runtime_tasks: IntGauge,
    pub(super) runtime_lag: Histogram,
}

/// From a handshake on one machine to what a person would have given up on.
const OPENING: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];
/// From loopback to the worst round trips of cellular links.
const ROUND_TRIP: [f64; 7] = [0.005, 0.02, 0.1, 0.25, 1.0, 3.0, 10.0];
/// From the shortest interval that is configured by default to beyond the longest.
const SILENCE: [f64; 8] = [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 600.0, 1800.0];
/// From an answer to a reset to the longest interval.
const VERDICT: [f64; 8] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// A second, a minute, an hour, a day, and what lies between them.
const DURATION: [f64; 7] = [1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0];
/// From a timer's own grain to what everyone notices.
const LAG: [f64; 6] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0];

/// Makes metrics that are known to a registry.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn known<C: prometheus::core::Collector + Clone + 'static>(&self, made: C) -> prometheus::Result<C> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.known(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.known(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.known(IntGauge::new(name, help)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.known(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}

impl Families {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Families> {
        const BRIDGE: &[&str] = &["bridge"];
        const DIRECTION: &[&str] = &["bridge", "direction"];
        const SIDE: &[&str] = &["bridge", "side"];
        let make = Maker(registry);
        let info = Opts::new("natpulse_build_info", "Always 1; the version is in the label.");
        make.known(IntGauge::with_opts(info.const_label("version", env!("CARGO_PKG_VERSION")))?)?.set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let lag = "By how much a timer of the runtime fired late, measured once a second.";
        let lag = HistogramOpts::new("natpulse_runtime_lag_seconds", lag).buckets(LAG.to_vec());
        Ok(Families {
            active: make.gauges("natpulse_sessions_active", "Sessions open.", BRIDGE)?,
            opened: make.counter("natpulse_sessions_opened_total", "Sessions opened.", BRIDGE)?,
            closed: make.counter(
                "natpulse_sessions_closed_total",
                "Sessions that ended, by reason.",
                &["bridge", "reason"],
            )?,
            duration: make.histogram(
                "natpulse_session_duration_seconds",
                "How long sessions lasted.",
                BRIDGE,
                &DURATION,
            )?,
            messages: make.counter(
                "natpulse_messages_total",
                "Messages passed on; on a raw end, pieces of its stream.",
                DIRECTION,
            )?,
            bytes: make.counter(
                "natpulse_bytes_total",
                "Payload bytes passed on, framing excluded.",
                DIRECTION,
            )?,
            sizes: make.known(SizesVec::new(
                "natpulse_message_size_bytes",
                "Payload of the messages passed on, framing excluded.",
            )?)?,
            handshakes: make.counter(
                "natpulse_handshakes_total",
                "Attempts of clients to open a session, by result.",
                &["bridge", "result"],
            )?,
            handshake_duration: make.histogram(
                "natpulse_handshake_duration_seconds",
                "From a client's connection to its session, for those that got one.",
                BRIDGE,
                &OPENING,
            )?,
            dials: make.counter(
                "natpulse_backend_dials_total",
                "Attempts to reach a backend, by result.",
                &["bridge", "result"],
            )?,
            dial_duration: make.histogram(
                "natpulse_backend_dial_duration_seconds",
                "How long it took to reach a backend, for the attempts that did.",
                BRIDGE,
                &OPENING,
            )?,
            backends: make.gauges(
                "natpulse_backends",
                "Backends that are checked on: those thought to be well, and the others.",
                &["bridge", "state"],
            )?,
            backend_checks: make.counter(
                "natpulse_backend_checks_total",
                "Health checks of backends, by result.",
                &["bridge", "result"],
            )?,
            beats_sent: make.counter("natpulse_beats_sent_total", "Beats written.", SIDE)?,
            beats_answered: make.counter(
                "natpulse_beats_answered_total",
                "Beats that were answered, the kernel's keepalives among them.",
                SIDE,
            )?,
            beats_missed: make.counter(
                "natpulse_beats_missed_total",
                "Beats that were not answered in time.",
                SIDE,
            )?,
            round_trip: make.histogram(
                "natpulse_beat_round_trip_seconds",
                "From a beat to its answer.",
                SIDE,
                &ROUND_TRIP,
            )?,
            interval: make.histogram(
                "natpulse_beat_interval_seconds",
                "The interval in use, once for every beat.",
                SIDE,
                &SILENCE,
            )?,
            death_silence: make.histogram(
                "natpulse_death_silence_seconds",
                "The silence before the beat that a dead peer did not answer.",
                SIDE,
                &SILENCE,
            )?,
            death_verdict: make.histogram(
                "natpulse_death_verdict_seconds",
                "From a peer's last sign of life to the verdict.",
                SIDE,
                &VERDICT,
            )?,
            deaths: make.counter(
                "natpulse_deaths_total",
                "Peers that a silence has cost, by cause: the NAT beyond what was proven, a reset, or unclear.",
                &["bridge", "side", "cause"],
            )?,
            explained: make.counter(
                "natpulse_deaths_explained_total",
                "Deaths counted as unclear that the NAT turned out to have caused: the client was back at once.",
                &["side"],
            )?,
            networks: make.gauges(
                "natpulse_networks",
                "Networks known: those still learning, and those settled.",
                &["side", "state"],
            )?,
            network_interval: make.known(GaugeVec::new(
                Opts::new(
                    "natpulse_network_interval_seconds",
                    "The interval in use that so many percent of the networks with connections do not exceed.",
                ),
                &["side", "percentile"],
            )?)?,
            probes_open: make.gauge(
                "natpulse_probes_open",
                "Connections of our own that carry nothing and measure a network.",
            )?,
            probes: make.counter(
                "natpulse_probes_total",
                "Silences of such connections that ended, by outcome.",
                &["outcome"],
            )?,
            reconnects: make.counter(
                "natpulse_reconnects_total",
                "Backends dialled anew within a session, by result.",
                &["bridge", "result"],
            )?,
            buffered: make.gauges(
                "natpulse_buffered_bytes",
                "Bytes that a peer has not taken yet, over all sessions.",
                BRIDGE,
            )?,
            pauses: make.counter(
                "natpulse_backpressure_pauses_total",
                "How often a direction had to wait for its receiver.",
                DIRECTION,
            )?,
            accept_errors: make.counter(
                "natpulse_accept_errors_total",
                "Connections that could not be accepted, as when descriptors run out.",
                BRIDGE,
            )?,
            permits_used: make.gauge("natpulse_permits_used", "Places for sessions that are taken.")?,
            permits_limit: make.gauge("natpulse_permits_limit", "Places for sessions there are.")?,
            events: make.counter(
                "natpulse_events_total",
                "Events for the webhook, by outcome: delivered, or dropped because too many waited.",
                &["outcome"],
            )?,
            events_queued: make.gauge("natpulse_events_queued", "Events that wait to be delivered.")?,
            webhook_requests: make.counter(
                "natpulse_webhook_requests_total",
                "Requests to the webhook, by result.",
                &["result"],
            )?,
            reload_succeeded: make.gauge(
                "natpulse_config_last_reload_successful",
                "Whether the config was taken in when it was last read.",
            )?,
            reloaded_at: make.known(Gauge::new(
                "natpulse_config_last_reload_success_timestamp_seconds",
                "When the config in use was read.",
            )?)?,
            runtime_tasks: make
                .gauge("natpulse_runtime_tasks", "Tasks of the tokio runtime that are alive.")?,
            runtime_lag: make.known(Histogram::with_opts(lag)?)?,
        })
    }

    /// Takes out every child of a bridge.
    pub(super) fn forget(&self, bridge: &str) {
        let counters = [
            &self.opened,
            &self.closed,
            &self.messages,
            &self.bytes,
            &self.handshakes,
            &self.dials,
            &self.backend_checks,
            &self.beats_sent,
            &self.beats_answered,
            &self.beats_missed,
            &self.deaths,
            &self.reconnects,
            &self.pauses,
            &self.accept_errors,
        ];
        let histograms = [
            &self.duration,
            &self.handshake_duration,
            &self.dial_duration,
            &self.round_trip,
            &self.interval,
            &self.death_silence,
            &self.death_verdict,
        ];
        counters.into_iter().for_each(|family| forget(family, bridge));
        histograms.into_iter().for_each(|family| forget(family, bridge));
        [&self.active, &self.backends, &self.buffered].into_iter().for_each(|family| forget(family, bridge));
        self.sizes.forget(bridge);
    }
}

fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, bridge: &str) {
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<_, _> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        if labels.get("bridge") == Some(&bridge) {
            // It is there: it was just collected.
            let _ = family.remove(&labels);
        }
    }
}
