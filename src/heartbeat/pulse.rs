//! When a connection's next beat is due, and when its peer is dead.

use core::time::Duration;

use super::{Facts, Means, Patience};

/// The reply timeout is not shortened below this, however quick the peer is, unless it is configured so: three
/// seconds are three retransmissions of TCP from its initial timeout of one second (RFC 6298 section 2.1, with the
/// first one answered at the third attempt).
const REPLY_LEAST: u64 = 3_000;

/// A keepalive is not judged sooner: TCP_KEEPINTVL, after which the kernel repeats it, is whole seconds.
const KEEPALIVE_REPLY: u64 = 2_000;

/// How many round trips a peer is given to answer, at the least.
const REPLY_ROUND_TRIPS: u64 = 4;

/// So many probes of a closed window in a row are not lost by chance: a beat is sent twice, and this is once more.
const WINDOW_PROBES: u8 = 3;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before this moment.
    Wait(Duration),
    /// Write a beat, and say so with [`Pulse::beaten`].
    Beat,
    /// The peer's kernel has answered ours after nothing had crossed for so long.
    Survived(Duration),
    /// The peer is dead.
    Dead {
        /// How long nothing had crossed when the first beat was sent that stayed unanswered.
        silence: Duration,
    },
}

/// An answer to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long nothing had crossed before the beat; `None` where it took a second beat to get an answer, which
    /// proves nothing: the first one may have found the NAT's entry gone and the second one a new one.
    pub survived: Option<Duration>,
    /// From the beat to its answer.
    pub round_trip: Duration,
}

/// The pulse of one connection. Every moment is the time since an epoch of the caller's choosing.
///
/// *Life* is any byte read, and any byte of a message that the peer's kernel newly acknowledges; what we send is
/// never life. A beat is due when there has been no life for the interval in use. A peer that does not answer it
/// within the reply timeout is dead, and in the middle of that time the beat is repeated once. Three things stop
/// the reply clock, because otherwise healthy busy peers are killed: we are not reading, the peer's kernel takes
/// our bytes but has not come to the beat behind them, or it has no room for more. How long that may last has a
/// limit of its own.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// When there was life, in ms, as all moments here.
    life: u64,
    /// When the reply clock was started.
    since: u64,
    /// When to look again while it runs.
    look: u64,
    /// The interval in use, in ms, as all lengths of time here.
    interval: u32,
    /// The silence before the beat that is out, or was out last.
    silence: u32,
    /// The longest recent round trip; 0 before the first.
    round_trip: u32,
    /// The longest recent gap between two signs of life that came unasked; 0 before the first.
    gap: u32,
    /// The largest window the peer's kernel has ever offered, in bytes.
    window: u32,
    /// What identifies the beat that is out.
    nonce: u32,
    /// Beats written since the reply clock was started.
    beats: u8,
    means: Means,
    /// Whether the reply clock runs.
    is_asking: bool,
    /// Whether an answer to the latest beat may still come.
    is_awaiting: bool,
    /// Whether bytes of messages were written that the peer is not known to have read.
    has_written: bool,
    /// Whether bytes of messages were written that its kernel is not known to have acknowledged.
    has_unacked: bool,
    /// Whether the peer has ever answered a beat.
    has_answered: bool,
    /// Whether the next beat is due whatever the silence.
    is_hurried: bool,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn short(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

impl Pulse {
    /// The pulse of a connection that has just been made, which is life.
    pub fn new(means: Means, now: Duration, interval: Duration) -> Pulse {
        Pulse {
            life: ms(now),
            since: 0,
            look: 0,
            interval: short(ms(interval)),
            silence: 0,
            round_trip: 0,
            gap: 0,
            window: 0,
            nonce: 0,
            beats: 0,
            means,
            is_asking: false,
            is_awaiting: false,
            has_written: false,
            has_unacked: false,
            has_answered: false,
            is_hurried: false,
        }
    }

    /// What its beats are.
    pub fn means(&self) -> Means {
        self.means
    }

    /// The interval in use.
    pub fn interval(&self) -> Duration {
        millis(self.interval)
    }

    /// How many beats have gone unanswered so far.
    pub fn beats(&self) -> u8 {
        self.beats
    }

    /// How long ago there was life.
    pub fn since_life(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.life))
    }

    /// Changes the interval from the silence that is under way on.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = short(ms(interval));
    }

    /// Makes a beat due at once.
    pub fn hurry(&mut self) {
        self.is_hurried = self.means != Means::Keepalive;
    }

    /// Something was read from the peer.
    pub fn read(&mut self, now: Duration) {
        let now = ms(now);
        if !self.is_asking || self.means == Means::Legacy {
            // Follows both ways: a longer gap at once, a shorter one gradually.
            self.gap = short(now.saturating_sub(self.life)).max(self.gap - self.gap / 8);
        }
        self.life = now;
        self.is_asking = false;
    }

    /// Bytes of messages were written to the peer.
    pub fn wrote(&mut self) {
        (self.has_written, self.has_unacked) = (true, true);
    }

    /// A beat was written.
    pub fn beaten(&mut self, nonce: u32) {
        self.beats += 1;
        self.is_hurried = false;
        self.nonce = nonce;
        self.is_awaiting = true;
    }

    /// The peer sent a beat or an answer, with the nonce that it carried if it can carry one; `None` where it
    /// answers nothing that we sent. It has been told that something was read.
    pub fn answered(&mut self, now: Duration, nonce: Option<u32>) -> Option<Answer> {
        let is_ours = self.is_awaiting && nonce.is_none_or(|nonce| nonce == self.nonce);
        if !is_ours {
            return None;
        }
        let round_trip = short(ms(now).saturating_sub(self.since));
        self.is_awaiting = false;
        self.has_answered = true;
        // It has read everything in front of the beat. What its kernel offers for an empty buffer may shrink.
        (self.has_written, self.has_unacked) = (false, false);
        self.window -= self.window / 8;
        if self.beats > 1 {
            return Some(Answer { survived: None, round_trip: millis(round_trip) });
        }
        self.round_trip = round_trip.max(self.round_trip - self.round_trip / 8);
        Some(Answer { survived: Some(millis(self.silence)), round_trip: millis(round_trip) })
    }

    /// How long the kernel is to let the connection be silent before it probes: less than the interval, because its
    /// timers may fire an eighth late (Linux' timer wheel), and whole seconds.
    pub fn keepalive_idle(&self) -> Duration {
        millis(self.probe_idle())
    }

    fn probe_idle(&self) -> u32 {
        (self.interval / 9 * 8 / 1000).max(1) * 1000
    }

    /// How long the kernel may pause between two probes of a closed window, so that twice as many fit as are needed.
    pub fn window_pause(&self, patience: &Patience) -> Duration {
        (millis(self.interval) + patience.reply) / (2 * u32::from(WINDOW_PROBES))
    }

    /// Whether bytes of messages were written that the peer's kernel is not known to have acknowledged.
    pub fn has_unacked(&self) -> bool {
        self.has_unacked
    }

    /// The silence before the beat that is out; `None` where none is.
    pub fn unanswered_silence(&self) -> Option<Duration> {
        (self.is_asking && self.beats > 0).then(|| millis(self.silence))
    }

    /// When [`Pulse::poll`] has something to do, as far as is known.
    pub fn deadline(&self) -> Duration {
        let interval = if self.is_hurried { 0 } else { u64::from(self.interval) };
        Duration::from_millis(if self.is_asking { self.look } else { self.life + interval })
    }

    /// How long the peer may take to answer, in ms.
    fn reply_timeout(&self, patience: &Patience) -> u64 {
        let configured = ms(patience.reply);
        if self.means == Means::Keepalive {
            return configured.max(KEEPALIVE_REPLY);
        }
        if self.round_trip == 0 {
            return configured;
        }
        configured.min(REPLY_LEAST.max(REPLY_ROUND_TRIPS * u64::from(self.round_trip)))
    }

    /// Decides what is to be done now. To be called when the deadline has come, and again after a beat.
    pub fn poll(&mut self, now: Duration, facts: &Facts, patience: &Patience) -> Action {
        let now = ms(now);
        if let Some(path) = facts.path {
            self.window = self.window.max(path.window);
        }
        if !self.is_asking {
            if let Some(answered) = self.acknowledged(now, facts) {
                return answered;
            }
            if !self.is_hurried && now < self.life + u64::from(self.interval) {
                return Action::Wait(self.deadline());
            }
            self.is_asking = true;
            self.is_awaiting = false;
            self.since = now;
            self.beats = 0;
            self.silence = short(now.saturating_sub(self.life));
        }
        let reply = self.reply_timeout(patience);
        if now > self.since + 2 * reply {
            // Whoever slept that long was not there when the answer came.
            self.wait_on(now);
        }
        let is_time = now >= self.since + u64::from(self.beats) * reply / 2;
        if self.beats < 2 && is_time && facts.can_write && self.means != Means::Keepalive {
            return Action::Beat;
        }
        if self.is_closed_for_good(facts, patience) {
            return Action::Dead { silence: millis(self.silence) };
        }
        if now >= self.since + reply
            && let Some(verdict) = self.verdict(now, facts, patience)
        {
            return verdict;
        }
        // In the middle of the time there is one more chance to write.
        let half = self.since + reply / 2;
        self.look = if now < half { half } else { self.since + reply };
        Action::Wait(self.deadline())
    }

    /// Counts as life what the peer's kernel has acknowledged since.
    fn acknowledged(&mut self, now: u64, facts: &Facts) -> Option<Action> {
        let path = facts.path.filter(|_| self.has_written || self.means == Means::Keepalive)?;
        let acked = now.saturating_sub(ms(path.ack_age));
        self.has_unacked &= path.in_flight || path.unsent;
        self.has_written &= self.has_unacked || path.window < self.window;
        if self.means == Means::Keepalive && acked.saturating_sub(self.life) >= u64::from(self.probe_idle()) {
            return Some(self.kernel_answered(acked));
        }
        self.life = self.life.max(acked);
        None
    }

    fn kernel_answered(&mut self, acked: u64) -> Action {
        let silence = acked.saturating_sub(self.life);
        self.life = acked;
        self.has_answered = true;
        Action::Survived(Duration::from_millis(silence))
    }

    /// The reply timeout has passed: whether the peer is dead, or why we wait on.
    fn verdict(&mut self, now: u64, facts: &Facts, patience: &Patience) -> Option<Action> {
        let dead = Some(Action::Dead { silence: millis(self.silence) });
        if now.saturating_sub(self.life) >= ms(patience.stall) + u64::from(self.interval) {
            return dead;
        }
        // Whether or not we read, the peer's kernel answers ours. A ping is written in the middle of each reply timeout:
        // half of one more, and it has had all of one. Where none can be written, other bytes are as old.
        let is_old = self.means == Means::Ping && (self.beats == 2 || !facts.can_write);
        let unheard = facts.path.filter(|path| path.in_flight).map_or(0, |path| ms(path.ack_age));
        if is_old && 2 * unheard >= 3 * self.reply_timeout(patience) {
            return dead;
        }
        if !facts.is_reading {
            return self.wait_on(now);
        }
        let Some(path) = facts.path else {
            // Without TCP there is one sign that the beat has left: it could be written.
            return if self.beats > 0 && facts.can_write {
                self.unanswered(now, patience)
            } else {
                self.wait_on(now)
            };
        };
        let acked = now.saturating_sub(ms(path.ack_age));
        let is_taking = acked > self.since;
        if self.means == Means::Keepalive && is_taking {
            self.is_asking = false;
            return Some(self.kernel_answered(acked));
        }
        if self.means == Means::Keepalive && !self.has_answered && !path.in_flight {
            // Some firewalls swallow keepalives: who never answered one is not judged by them.
            self.is_asking = false;
            self.life = now;
            return None;
        }
        if path.in_flight || path.unsent {
            if is_taking && self.has_written {
                // The beat is still on its way, behind bytes that keep arriving.
                self.life = acked;
                return self.wait_on(now);
            }
            // Nothing on its way and yet something to send: the peer's kernel has told us to wait.
            return if path.in_flight { dead } else { self.wait_on(now) };
        }
        if self.beats == 0 && self.means != Means::Keepalive {
            return self.wait_on(now);
        }
        if self.has_written {
            if path.window < self.window {
                // It has bytes that it has not read, and the beat lies behind them.
                return self.wait_on(now);
            }
            // From when the beat arrived it has the same time as anyone else, once.
            self.has_written = false;
            if is_taking {
                self.since = acked;
                return None;
            }
        }
        self.unanswered(now, patience)
    }

    /// Whether the kernel's own probes of a window that the peer has closed, which are beats like ours, go unanswered.
    fn is_closed_for_good(&self, facts: &Facts, patience: &Patience) -> bool {
        let limit = u64::from(self.interval) + ms(patience.reply);
        facts.path.is_some_and(|path| path.window_probes >= WINDOW_PROBES && ms(path.ack_age) >= limit)
    }

    /// A peer that never answered a beat, but lets us hear of it in its own time, is judged by its own rhythm.
    fn unanswered(&mut self, now: u64, patience: &Patience) -> Option<Action> {
        let is_expected_to_answer = self.means != Means::Legacy || self.has_answered;
        let limit = match self.gap {
            0 => ms(patience.stall),
            gap => u64::from(gap) * 3 / 2 + ms(patience.reply),
        };
        if is_expected_to_answer || now.saturating_sub(self.life) >= limit {
            return Some(Action::Dead { silence: millis(self.silence) });
        }
        self.wait_on(now)
    }

    /// Starts the reply clock anew, with one more beat in the middle of it.
    fn wait_on(&mut self, now: u64) -> Option<Action> {
        self.since = now;
        self.beats = self.beats.min(1);
        None
    }
}

fn millis(time: u32) -> Duration {
    Duration::from_millis(time.into())
}
