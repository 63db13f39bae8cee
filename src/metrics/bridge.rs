//! What is counted of one bridge, and of one side of it.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::families::Families;
use super::labels::{CAUSES, DIRECTIONS, Dialling, Handshake, index_of};
use super::sizes::Sizes;
use crate::close::{CloseReason, Party};
use crate::heartbeat::{Answer, Cause};
use crate::wire::Tally;

/// The metrics of one bridge.
#[derive(Debug)]
pub struct BridgeMetrics {
    active: IntGauge,
    opened: IntCounter,
    closed: Vec<IntCounter>,
    duration: Histogram,
    handshakes: Vec<IntCounter>,
    handshake_duration: Histogram,
    dials: Vec<IntCounter>,
    dial_duration: Histogram,
    accept_errors: IntCounter,
    buffered: IntGauge,
    resumed: IntCounter,
    given_up: IntCounter,
    /// Uplink, then downlink.
    directions: [Direction; 2],
}

/// The metrics of one direction of a bridge.
#[derive(Debug)]
struct Direction {
    messages: IntCounter,
    bytes: IntCounter,
    sizes: Sizes,
    pauses: IntCounter,
}

/// The metrics of one side of a bridge.
#[derive(Debug)]
pub struct SideMetrics {
    sent: IntCounter,
    answered: IntCounter,
    missed: IntCounter,
    round_trip: Histogram,
    interval: Histogram,
    death_silence: Histogram,
    death_verdict: Histogram,
    deaths: Vec<IntCounter>,
    explained: IntCounter,
}

/// The metrics of a bridge's backends that are checked on.
#[derive(Debug)]
pub struct BackendMetrics {
    healthy: IntGauge,
    unhealthy: IntGauge,
    passed: IntCounter,
    failed: IntCounter,
}

/// What was counted of a bridge since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct BridgeCount {
    /// Sessions open now.
    pub active: u64,
    /// Sessions opened.
    pub opened: u64,
    /// Sessions closed.
    pub closed: u64,
    /// Messages passed on: uplink, then downlink.
    pub messages: [u64; 2],
    /// Payload bytes passed on, alike.
    pub bytes: [u64; 2],
}

/// What was counted of a side of a bridge since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct SideCount {
    /// Beats sent.
    pub sent: u64,
    /// Beats answered.
    pub answered: u64,
    /// Beats that were not answered in time.
    pub missed: u64,
    /// Peers found dead.
    pub deaths: u64,
}

/// Counts a session as active until it is dropped or closed, so that the two sides cannot disagree.
#[derive(Debug)]
pub struct ActiveSession<'a>(&'a BridgeMetrics);

impl BridgeMetrics {
    pub(super) fn new(families: &Families, name: &str) -> BridgeMetrics {
        let with = |counter: &IntCounterVec, label: &str| counter.with_label_values(&[name, label]);
        let reason = |reason: &CloseReason| with(&families.closed, reason.label());
        let handshake = |result: &Handshake| with(&families.handshakes, result.label());
        let dial = |result: &Dialling| with(&families.dials, result.label());
        let direction = |direction: &str| Direction {
            messages: with(&families.messages, direction),
            bytes: with(&families.bytes, direction),
            sizes: families.sizes.of(name, direction),
            pauses: with(&families.pauses, direction),
        };
        BridgeMetrics {
            active: families.active.with_label_values(&[name]),
            opened: families.opened.with_label_values(&[name]),
            closed: CloseReason::ALL.iter().map(reason).collect(),
            duration: families.duration.with_label_values(&[name]),
            handshakes: Handshake::ALL.iter().map(handshake).collect(),
            handshake_duration: families.handshake_duration.with_label_values(&[name]),
            dials: Dialling::ALL.iter().map(dial).collect(),
            dial_duration: families.dial_duration.with_label_values(&[name]),
            accept_errors: families.accept_errors.with_label_values(&[name]),
            buffered: families.buffered.with_label_values(&[name]),
            resumed: with(&families.reconnects, "resumed"),
            given_up: with(&families.reconnects, "given_up"),
            directions: DIRECTIONS.map(direction),
        }
    }

    /// Counts an attempt to open a session.
    pub fn handshake(&self, result: Handshake) {
        self.handshakes[index_of(&Handshake::ALL, &result)].inc();
    }

    /// Counts an attempt that got a session, and how long that took.
    pub fn accepted(&self, took: Duration) {
        self.handshake(Handshake::Accepted);
        self.handshake_duration.observe(took.as_secs_f64());
    }

    /// Counts an attempt to reach the backend, and how long a successful one took.
    pub fn dialled(&self, result: Dialling, took: Duration) {
        self.dials[index_of(&Dialling::ALL, &result)].inc();
        if result == Dialling::Connected {
            self.dial_duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a backend that was dialled anew for a session, or given up.
    pub fn reconnected(&self, is_back: bool) {
        if is_back { &self.resumed } else { &self.given_up }.inc();
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

    /// Counts what crossed from a party to the other.
    pub fn crossed(&self, from: Party, tally: &Tally) {
        if cfg!(natpulse_uncounted) {
            return;
        }
        let direction = self.direction(from);
        if tally.bytes > 0 {
            direction.bytes.inc_by(tally.bytes);
        }
        let messages = tally.messages();
        if messages > 0 {
            direction.messages.inc_by(messages);
            direction.sizes.add(tally);
        }
    }

    /// Counts that what comes from a party must wait for the other to take what came before.
    pub fn paused(&self, from: Party) {
        self.direction(from).pauses.inc();
    }

    /// Takes note of what a session holds of bytes that a peer has not taken, and held before.
    pub fn buffered(&self, before: usize, now: usize) {
        self.buffered.add(now as i64 - before as i64);
    }

    /// What was counted so far.
    pub fn count(&self) -> BridgeCount {
        BridgeCount {
            // Another thread may have counted the end of a session first.
            active: u64::try_from(self.active.get()).unwrap_or_default(),
            opened: self.opened.get(),
            closed: self.closed.iter().map(IntCounter::get).sum(),
            messages: self.directions.each_ref().map(|direction| direction.messages.get()),
            bytes: self.directions.each_ref().map(|direction| direction.bytes.get()),
        }
    }

    fn direction(&self, from: Party) -> &Direction {
        match from {
            Party::Client => &self.directions[0],
            Party::Backend => &self.directions[1],
        }
    }
}

impl BackendMetrics {
    pub(super) fn new(families: &Families, bridge: &str) -> BackendMetrics {
        BackendMetrics {
            healthy: families.backends.with_label_values(&[bridge, "healthy"]),
            unhealthy: families.backends.with_label_values(&[bridge, "unhealthy"]),
            passed: families.backend_checks.with_label_values(&[bridge, "passed"]),
            failed: families.backend_checks.with_label_values(&[bridge, "failed"]),
        }
    }

    /// Takes note of how many are thought to be well, and how many are not.
    pub fn healthy(&self, healthy: usize, unhealthy: usize) {
        self.healthy.set(healthy as i64);
        self.unhealthy.set(unhealthy as i64);
    }

    /// Counts a check.
    pub fn checked(&self, has_passed: bool) {
        if has_passed { &self.passed } else { &self.failed }.inc();
    }
}

impl ActiveSession<'_> {
    /// Counts how the session ended, and how long it was.
    pub fn close(self, reason: CloseReason, lasted: Duration) {
        self.0.closed[reason.index()].inc();
        self.0.duration.observe(lasted.as_secs_f64());
    }
}

impl Drop for ActiveSession<'_> {
    fn drop(&mut self) {
        self.0.active.dec();
    }
}

impl SideMetrics {
    pub(super) fn new(families: &Families, bridge: &str, party: Party) -> SideMetrics {
        let side = party.label();
        let labels = [bridge, side];
        let cause = |cause: Cause| families.deaths.with_label_values(&[bridge, side, cause.label()]);
        SideMetrics {
            sent: families.beats_sent.with_label_values(&labels),
            answered: families.beats_answered.with_label_values(&labels),
            missed: families.beats_missed.with_label_values(&labels),
            round_trip: families.round_trip.with_label_values(&labels),
            interval: families.interval.with_label_values(&labels),
            death_silence: families.death_silence.with_label_values(&labels),
            death_verdict: families.death_verdict.with_label_values(&labels),
            deaths: CAUSES.map(cause).to_vec(),
            explained: families.explained.with_label_values(&[side]),
        }
    }

    /// What was counted so far.
    pub fn count(&self) -> SideCount {
        SideCount {
            sent: self.sent.get(),
            answered: self.answered.get(),
            missed: self.missed.get(),
            deaths: self.deaths.iter().map(IntCounter::get).sum(),
        }
    }

    /// Counts a beat that is written after the interval in use.
    pub fn beat(&self, interval: Duration) {
        self.sent.inc();
        self.interval.observe(interval.as_secs_f64());
    }

    /// Counts an answer.
    pub fn answered(&self, answer: &Answer) {
        self.answered.inc();
        self.round_trip.observe(answer.round_trip.as_secs_f64());
        if answer.survived.is_none() {
            // It took a second beat.
            self.missed.inc();
        }
    }

    /// Counts a beat of the kernel's, which says only that it was answered, after this silence.
    pub fn survived(&self, silence: Duration) {
        self.sent.inc();
        self.answered.inc();
        self.interval.observe(silence.as_secs_f64());
    }

    /// Counts a peer that is dead: after which silence it left how many beats unanswered, and how long ago it lived.
    pub fn died(&self, silence: Duration, beats: u8, last_life: Duration) {
        self.missed.inc_by(beats.into());
        self.death_silence.observe(silence.as_secs_f64());
        self.death_verdict.observe(last_life.as_secs_f64());
    }

    /// Counts what caused a death.
    pub fn caused(&self, cause: Cause) {
        self.deaths[index_of(&CAUSES, &cause)].inc();
    }

    /// Counts a death whose cause was found later: the NAT.
    pub fn explained(&self) {
        self.explained.inc();
    }
}
