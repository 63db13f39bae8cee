//! What natpulse counts, for Prometheus. Children are resolved per bridge at start, so that counting is
//! an atomic addition; label values come from closed lists.

use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::close::CloseReason;
use crate::wire::Tally;

/// All metrics of a process, in a registry of their own.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    active: IntGaugeVec,
    opened: IntCounterVec,
    closed: IntCounterVec,
    messages: IntCounterVec,
    bytes: IntCounterVec,
    handshakes: IntCounterVec,
    accept_errors: IntCounterVec,
    runtime_tasks: IntGauge,
}

/// How a client's attempt to open a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The session opened.
    Accepted,
    /// It is a probe of another natpulse, and no session.
    Probe,
    /// The request was no valid upgrade (400, 405, 426, 431), or nothing that is HTTP.
    Rejected,
    /// The request did not come in time (408).
    TimedOut,
    /// The backend could not be dialled (502).
    BackendFailed,
    /// As many sessions as are allowed are open, or natpulse is leaving (503).
    Unavailable,
}

impl Handshake {
    const ALL: [Handshake; 6] = [
        Handshake::Accepted,
        Handshake::Probe,
        Handshake::Rejected,
        Handshake::TimedOut,
        Handshake::BackendFailed,
        Handshake::Unavailable,
    ];

    fn label(self) -> &'static str {
        match self {
            Handshake::Accepted => "accepted",
            Handshake::Probe => "probe",
            Handshake::Rejected => "rejected",
            Handshake::TimedOut => "timed_out",
            Handshake::BackendFailed => "backend_failed",
            Handshake::Unavailable => "unavailable",
        }
    }
}

/// The metrics of one bridge.
#[derive(Debug)]
pub struct BridgeMetrics {
    active: IntGauge,
    opened: IntCounter,
    closed: Vec<IntCounter>,
    /// Messages and bytes, uplink then downlink.
    messages: [IntCounter; 2],
    bytes: [IntCounter; 2],
    handshakes: Vec<IntCounter>,
    accept_errors: IntCounter,
}

/// Counts a session as active until it is dropped or closed, so that the two sides cannot disagree.
#[derive(Debug)]
pub struct ActiveSession<'a>(&'a BridgeMetrics);

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Two metrics with one name: a mistake in this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let opened = counter("natpulse_sessions_opened_total", "Sessions opened.", &["bridge"])?;
        let closed = counter(
            "natpulse_sessions_closed_total",
            "Sessions that ended, by reason.",
            &["bridge", "reason"],
        )?;
        let messages = counter(
            "natpulse_messages_total",
            "Messages passed on; on a raw end, pieces of its stream.",
            &["bridge", "direction"],
        )?;
        let bytes = counter(
            "natpulse_bytes_total",
            "Payload bytes passed on, framing excluded.",
            &["bridge", "direction"],
        )?;
        let handshakes = counter(
            "natpulse_handshakes_total",
            "Attempts of clients to open a session, by result.",
            &["bridge", "result"],
        )?;
        let accept_errors = counter(
            "natpulse_accept_errors_total",
            "Connections that could not be accepted, as when descriptors run out.",
            &["bridge"],
        )?;
        let active = IntGaugeVec::new(Opts::new("natpulse_sessions_active", "Sessions open."), &["bridge"])?;
        registry.register(Box::new(active.clone()))?;
        let info = Opts::new("natpulse_build_info", "Always 1; the version is in the label.");
        let info = IntGauge::with_opts(info.const_label("version", env!("CARGO_PKG_VERSION")))?;
        info.set(1);
        registry.register(Box::new(info))?;
        let runtime_tasks =
            IntGauge::new("natpulse_runtime_tasks", "Tasks of the tokio runtime that are alive.")?;
        registry.register(Box::new(runtime_tasks.clone()))?;
        Ok(Metrics {
            registry,
            active,
            opened,
            closed,
            messages,
            bytes,
            handshakes,
            accept_errors,
            runtime_tasks,
        })
    }

    /// The children of one bridge, all of them present from the start.
    pub fn bridge(&self, name: &str) -> BridgeMetrics {
        let directions = |counter: &IntCounterVec| {
            ["uplink", "downlink"].map(|direction| counter.with_label_values(&[name, direction]))
        };
        let closed = |reason: &CloseReason| self.closed.with_label_values(&[name, reason.label()]);
        let handshake = |result: &Handshake| self.handshakes.with_label_values(&[name, result.label()]);
        BridgeMetrics {
            active: self.active.with_label_values(&[name]),
            opened: self.opened.with_label_values(&[name]),
            closed: CloseReason::ALL.iter().map(closed).collect(),
            messages: directions(&self.messages),
            bytes: directions(&self.bytes),
            handshakes: Handshake::ALL.iter().map(handshake).collect(),
            accept_errors: self.accept_errors.with_label_values(&[name]),
        }
    }

    /// Everything in Prometheus' text format, and its content type.
    ///
    /// # Errors
    /// A metric family without metrics: a mistake in this file.
    pub fn render(&self, runtime_tasks: usize) -> prometheus::Result<(Vec<u8>, String)> {
        self.runtime_tasks.set(runtime_tasks as i64);
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        encoder.encode(&self.registry.gather(), &mut text)?;
        Ok((text, encoder.format_type().to_owned()))
    }
}

impl BridgeMetrics {
    /// Counts an attempt to open a session.
    pub fn handshake(&self, result: Handshake) {
        let index = Handshake::ALL.iter().position(|known| *known == result).expect("ALL lists every result");
        self.handshakes[index].inc();
    }

    /// Counts a connection that could not be accepted.
    pub fn accept_error(&self) {
        self.accept_errors.inc();
    }

    /// Counts a session that opens.
    pub fn open(&self) -> ActiveSession<'_> {
        self.opened.inc();
        self.active.inc();
        ActiveSession(self)
    }

    /// Counts what crossed between two moments.
    pub fn crossed(&self, up_before: Tally, up: Tally, down_before: Tally, down: Tally) {
        for (direction, (before, after)) in [(up_before, up), (down_before, down)].into_iter().enumerate() {
            if before != after {
                self.messages[direction].inc_by(after.messages - before.messages);
                self.bytes[direction].inc_by(after.bytes - before.bytes);
            }
        }
    }
}

impl ActiveSession<'_> {
    /// Counts how the session ended.
    pub fn close(self, reason: CloseReason) {
        self.0.closed[reason.index()].inc();
    }
}

impl Drop for ActiveSession<'_> {
    fn drop(&mut self) {
        self.0.active.dec();
    }
}
