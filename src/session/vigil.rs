//! Keeping an end alive: what its pulse and its network decide, done.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tracing::trace;

use super::Session;
use super::debt::Debt;
use super::side::{Flow, Side};
use crate::close::{CloseReason, Party};
use crate::heartbeat::{self, Action, Cause, Departure, Facts, Means, NetworkKey, Patience, Plan, Pulse};
use crate::link::Stream;
use crate::metrics::SideMetrics;
use crate::networks::{Joined, Left, Networks, Seat};
use crate::wire::Beat;

/// How the ends of one kind are kept alive.
#[derive(Debug)]
pub struct Upkeep {
    /// What the operator chose.
    pub heartbeat: heartbeat::Settings,
    /// What was learned with these settings.
    pub networks: Arc<Networks>,
    /// The heartbeat of the end's own protocol, where it has one.
    pub beat: Option<Arc<Beat>>,
    /// Whether we answer such beats of the peer's, so that the other end never hears of them.
    pub answer: bool,
    /// How many bits of an IPv4 address name a network.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address do.
    pub ipv6_prefix: u8,
    /// What is counted.
    pub metrics: SideMetrics,
}

/// What keeps one end of a session alive.
#[derive(Debug)]
pub(super) struct Vigil {
    /// Counts from the session's beginning.
    pub(super) pulse: Pulse,
    /// Its place among the connections of its network, where the policy learns.
    pub(super) seat: Option<Seat>,
    /// What a pong that was read carried.
    nonce: u32,
    /// Whether anything was read since the pulse was last told.
    pub(super) has_read: bool,
    /// Whether that held a pong.
    has_pong: bool,
    /// Whether it held a beat of the end's own protocol.
    has_beat: bool,
    /// Whether it is silent for longer than what is proven.
    is_trial: bool,
    /// Whether the peer waits for an answer to a beat of its own.
    pub(super) debt: Debt,
    /// When the next one may be given, in ms since the session's beginning.
    pub(super) next_ms: u64,
}

/// What was read from an end, as far as it concerns the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Felt {
    /// Nothing of that kind.
    Nothing,
    /// An answer to a beat of ours.
    Answer,
    /// A beat of the peer's own.
    Beat,
}

/// The part of an interval by which a beat may come early, so that beats do not march in step.
const JITTER: f32 = 0.025;

/// A first beat may come as early as this part of its interval: clients that came together part at once.
const FIRST_PHASE: f32 = 0.5;

impl Upkeep {
    /// The network that lies between us and a peer.
    pub(super) fn network(&self, party: Party, theirs: IpAddr, stream: &Stream) -> Option<NetworkKey> {
        Some(match party {
            Party::Client => self.prefix(theirs),
            // The way to a backend is through the network that we are in ourselves.
            Party::Backend => {
                NetworkKey::named(&format!("{theirs} from {}", self.prefix(stream.our_address()?)))
            }
        })
    }

    /// The network of an address.
    pub fn prefix(&self, address: IpAddr) -> NetworkKey {
        NetworkKey::of(address, self.ipv4_prefix, self.ipv6_prefix)
    }

    fn patience(&self) -> Patience {
        Patience { reply: self.heartbeat.reply_timeout, stall: self.heartbeat.max }
    }
}

impl Vigil {
    /// Plans the next silence; `earliness` is the part of the interval by which the beat may come early.
    fn plan(&mut self, upkeep: &Upkeep, earliness: f32) {
        let plan = match &self.seat {
            Some(seat) => seat.plan(),
            None => Plan { interval: upkeep.heartbeat.shortest().unwrap_or(Duration::MAX), is_trial: false },
        };
        self.follow(plan, earliness);
    }

    fn follow(&mut self, plan: Plan, earliness: f32) {
        self.is_trial = plan.is_trial;
        let early = if plan.is_trial { 0.0 } else { earliness * rand::random::<f32>() };
        self.pulse.set_interval(plan.interval.mul_f32(1.0 - early));
    }

    /// A beat was answered, after a silence that it proves to be survivable.
    fn survived(&mut self, silence: Option<Duration>) {
        if let (Some(seat), Some(silence)) = (&self.seat, silence) {
            seat.survived(silence);
        }
    }
}

impl Side {
    /// Keeps the end alive from now on, if it can be: over WebSocket with pings, over any other TCP connection with
    /// the kernel's keepalive. `theirs` is the peer's address, or that of a client whom the peer speaks for.
    pub(super) fn keep_alive(
        &mut self,
        party: Party,
        theirs: Option<IpAddr>,
        now: Duration,
        upkeep: &Upkeep,
        is_natpulse: bool,
    ) {
        let Some(interval) = upkeep.heartbeat.shortest() else {
            return;
        };
        let means = match (&upkeep.beat, self.role) {
            (Some(_), _) => Means::Legacy,
            (None, Some(_)) => Means::Ping,
            (None, None) => Means::Keepalive,
        };
        // Where there is no network, no NAT lies in between, and the kernel that would answer is our own.
        let is_far = || self.stream.peer_address().is_some_and(|peer| !peer.is_loopback());
        if means == Means::Keepalive && !is_far() {
            return;
        }
        let joined = theirs.filter(|_| upkeep.heartbeat.policy.learns()).and_then(|theirs| {
            let network = upkeep.network(party, theirs, &self.stream)?;
            Some(upkeep.networks.join(network, theirs, is_natpulse))
        });
        let (seat, plan) = match joined {
            Some(Joined { seat, plan, explains }) => {
                if explains {
                    upkeep.metrics.explained();
                }
                (Some(seat), plan)
            }
            None => (None, Plan { interval, is_trial: false }),
        };
        let mut vigil = Vigil {
            pulse: Pulse::new(means, now, interval),
            seat,
            nonce: 0,
            has_read: false,
            has_pong: false,
            has_beat: false,
            is_trial: false,
            debt: Debt::None,
            next_ms: 0,
        };
        vigil.follow(plan, FIRST_PHASE);
        self.vigil = Some(Box::new(vigil));
        self.set_keepalive(upkeep);
    }

    /// Tells the kernel when to probe.
    fn set_keepalive(&self, upkeep: &Upkeep) {
        if let Some(Vigil { pulse, .. }) =
            self.vigil.as_deref().filter(|vigil| vigil.pulse.means() == Means::Keepalive)
        {
            let Patience { reply, stall } = upkeep.patience();
            self.stream.keep_alive(pulse.keepalive_idle(), reply / 2, stall);
        }
    }

    /// A pong was read.
    pub(super) fn on_pong(&mut self, payload: &[u8]) {
        if let Some(vigil) = &mut self.vigil {
            let nonce = payload.try_into().map(u32::from_be_bytes);
            vigil.has_pong = nonce.is_ok();
            vigil.nonce = nonce.unwrap_or(vigil.nonce);
        }
    }

    /// A beat of the end's own protocol was read.
    pub(super) fn on_beat(&mut self) {
        if let Some(vigil) = &mut self.vigil {
            vigil.has_beat = true;
        }
    }

    /// Tells the pulse what has been read since it was last told.
    fn feel(&mut self, now: Duration, upkeep: &Upkeep) -> Felt {
        let Some(vigil) = &mut self.vigil else {
            return Felt::Nothing;
        };
        if vigil.seat.as_mut().is_some_and(Seat::is_called) {
            vigil.pulse.hurry();
        }
        if !std::mem::take(&mut vigil.has_read) {
            return Felt::Nothing;
        }
        vigil.pulse.read(now);
        let (has_pong, has_beat) = (std::mem::take(&mut vigil.has_pong), std::mem::take(&mut vigil.has_beat));
        let answer = match (has_pong, has_beat) {
            (true, _) => vigil.pulse.answered(now, Some(vigil.nonce)),
            (false, true) => vigil.pulse.answered(now, None),
            (false, false) => None,
        };
        if let Some(answer) = answer {
            upkeep.metrics.answered(&answer);
            vigil.survived(answer.survived);
        }
        // A trial that was cut short by something else may go to somebody quieter.
        if answer.is_some() || vigil.is_trial {
            vigil.plan(upkeep, JITTER);
        }
        match answer {
            Some(_) => Felt::Answer,
            None if has_beat => Felt::Beat,
            None => Felt::Nothing,
        }
    }

    /// Beats at once.
    pub(super) fn hurry(&mut self) {
        if let Some(vigil) = &mut self.vigil {
            vigil.pulse.hurry();
        }
    }

    /// Whether beats are written to it, which it may answer.
    pub(super) fn is_asked(&self) -> bool {
        self.vigil.as_ref().is_some_and(|vigil| vigil.pulse.means() != Means::Keepalive)
    }

    /// When the pulse has something to do. A connection that is being closed has deadlines of its own.
    pub(super) fn beat_due(&self) -> Option<Duration> {
        let is_open = self.input == Flow::Open && self.output == Flow::Open;
        self.vigil.as_ref().filter(|_| is_open).map(|vigil| vigil.pulse.deadline())
    }

    /// Whom to wake when the end must beat at once.
    fn watch(&self, waker: &Waker) {
        if let Some(seat) = self.vigil.as_ref().and_then(|vigil| vigil.seat.as_ref()) {
            seat.watch(waker);
        }
    }

    /// The connection ended in a way that says something about its network.
    fn leave_network(&mut self, departure: Departure) -> Left {
        let seat = self.vigil.as_mut().and_then(|vigil| vigil.seat.take());
        let cause = match departure {
            Departure::Reset { .. } => Cause::Reset,
            Departure::Lost { .. } | Departure::Goodbye => Cause::Unclear,
        };
        seat.map_or(Left { cause, network: None }, |seat| seat.leave(departure))
    }

    /// The interval in use, where there are beats.
    fn interval(&self) -> Option<Duration> {
        self.vigil.as_ref().map(|vigil| vigil.pulse.interval())
    }
}

impl Session {
    /// Keeps both ends alive from now on; the backend may be natpulse.
    pub(super) fn keep_alive(&mut self, is_natpulse: bool) {
        let [client, backend] = [Party::Client, Party::Backend].map(|party| self.address(party));
        let now = Duration::ZERO;
        self.client.keep_alive(Party::Client, client, now, &self.settings.client, false);
        self.backend.keep_alive(Party::Backend, backend, now, &self.settings.backend, is_natpulse);
        self.note_intervals();
    }

    /// Tells the record which intervals are in use now.
    pub(super) fn note_intervals(&self) {
        self.record.use_interval(Party::Client, self.client.interval());
        self.record.use_interval(Party::Backend, self.backend.interval());
    }

    /// The connection was reset: by a NAT that had forgotten it, if that answered our first packet after a silence.
    pub(super) fn on_reset(&mut self, party: Party) {
        let vigil = self.side(party).vigil.as_ref();
        if let Some(silence) = vigil.and_then(|vigil| vigil.pulse.unanswered_silence()) {
            self.on_death(party, Departure::Reset { silence }, silence);
        }
    }

    /// An end died after this silence: the metrics and whoever looks from outside are told why, as far as its network can
    /// tell.
    fn on_death(&mut self, party: Party, departure: Departure, silence: Duration) {
        let Left { cause, network } = self.side(party).leave_network(departure);
        self.settings.upkeep(party).metrics.caused(cause);
        self.note_message(self.begun.elapsed());
        self.settings.sessions.died(&self.record, party, cause, silence, network.as_ref());
    }

    /// Has this task woken when an end must beat at once.
    pub(super) fn watch(&self, waker: &Waker) {
        self.client.watch(waker);
        self.backend.watch(waker);
    }

    /// Tells both pulses what has been read, and answers peers that beat by themselves; returns whether anything was
    /// written.
    pub(super) fn feel(&mut self, now: Duration) -> bool {
        let client = self.client.feel(now, &self.settings.client);
        let backend = self.backend.feel(now, &self.settings.backend);
        self.note_intervals();
        for (party, felt) in [(Party::Client, client), (Party::Backend, backend)] {
            match felt {
                Felt::Nothing => {}
                Felt::Answer => {
                    let waiting = self.side(party.other()).vigil.as_mut();
                    if let Some(vigil) = waiting.filter(|vigil| vigil.debt == Debt::Later) {
                        vigil.debt = Debt::Due;
                    }
                }
                Felt::Beat => self.on_beat(party, now),
            }
        }
        let client = self.client.answer_beat(now);
        self.backend.answer_beat(now) || client
    }

    /// Does what the pulse of an end wants done now.
    pub(super) fn beat(&mut self, party: Party, now: Duration) {
        let is_reading = self.side(party.other()).backlog() == 0;
        let settings = self.settings.clone();
        let upkeep = settings.upkeep(party);
        let side = self.side(party);
        // A ping may stand between the frames of a message, anything else only between two messages.
        let is_between = side.role.is_some() && upkeep.beat.is_none() || side.encoder.is_between_messages();
        let can_write = side.backlog() == 0 && is_between;
        let facts = Facts { can_write, is_reading, path: side.stream.path() };
        let Some(vigil) = &mut side.vigil else {
            return;
        };
        if facts.path.is_some_and(|path| path.unsent && !path.in_flight) {
            side.stream.probe_window_every(vigil.pulse.window_pause(&upkeep.patience()));
        }
        let action = vigil.pulse.poll(now, &facts, &upkeep.patience());
        trace!(?party, ?facts, ?action, pulse = ?vigil.pulse, "pulse");
        match action {
            Action::Wait(_) => {}
            Action::Survived(silence) => {
                let idle = vigil.pulse.keepalive_idle();
                upkeep.metrics.survived(silence);
                vigil.survived(Some(silence));
                vigil.plan(upkeep, JITTER);
                if vigil.pulse.keepalive_idle() != idle {
                    side.set_keepalive(upkeep);
                }
            }
            Action::Beat => {
                let nonce: u32 = rand::random();
                vigil.pulse.beaten(nonce);
                upkeep.metrics.beat(vigil.pulse.interval());
                match vigil.pulse.means() {
                    Means::Legacy => side.encoder.beat(&mut side.unsent),
                    Means::Ping | Means::Keepalive => side.ping(&nonce.to_be_bytes()),
                }
            }
            Action::Dead { silence } => {
                upkeep.metrics.died(silence, vigil.pulse.beats(), vigil.pulse.since_life(now));
                self.on_death(party, Departure::Lost { silence }, silence);
                let detail = format!("no answer to a beat after a silence of {:.1} s", silence.as_secs_f32());
                self.because(CloseReason::Dead(party), Some(detail));
                self.on_broken(party, CloseReason::Dead(party));
            }
        }
    }
}
