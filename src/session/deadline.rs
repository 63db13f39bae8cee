//! What a session does when nothing arrives: it looks for resets, gives up, and lets its client go.

use std::sync::LazyLock;
use std::task::Context;
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, sleep_until};

use super::side::{Flow, Side};
use super::{Session, Settings};
use crate::close::{CloseReason, Party};
use crate::heartbeat::coalesce;

/// How long a connection may take to finish closing without a byte moving: several retransmissions on a bad
/// link, and not long enough for many descriptors to pile up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an end that is not being read, because the other one takes nothing, is asked whether it is still
/// there: rarely enough to cost nothing, and much sooner than anyone would look.
const STALL_LOOK: Duration = Duration::from_secs(2);

/// How long a session that is asked to leave waits for a pause in what its backend says; after that, any
/// message boundary will do.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// The part of its age by which a session may end early.
const AGE_SPREAD: f32 = 0.1;

impl Session {
    /// Whether one end has heard the last word, or is about to.
    pub(super) fn is_ending(&self) -> bool {
        self.client.output != Flow::Open || self.backend.output != Flow::Open
    }

    /// When something must be done although nothing arrives, and what.
    fn deadline(&self) -> Option<(Instant, Due)> {
        let is_stalled = self.client.backlog() > 0 || self.backend.backlog() > 0;
        let look = is_stalled.then_some((self.last_look + STALL_LOOK, Due::Look));
        let other = match (self.client.output, self.backend.output) {
            (Flow::Open, Flow::Open) => match self.drain {
                Drain::At(at) | Drain::Waiting(at) => Some((at, Due::Leave)),
                Drain::No => self.retirement(),
                Drain::AfterMessage | Drain::Asked => None,
            },
            // Whoever was asked to leave has a close frame to answer, and nothing else to wait for.
            (_, Flow::Open) if self.drain == Drain::Asked && self.client.role.is_some() => {
                Some((self.last_moved + CLOSE_TIMEOUT, Due::GiveUp))
            }
            (Flow::Open, _) | (_, Flow::Open) => Some((self.last_moved + self.settings.linger, Due::GiveUp)),
            _ => Some((self.last_moved + CLOSE_TIMEOUT, Due::GiveUp)),
        };
        let beat = |party, side: &Side| side.beat_due().map(|at| (self.begun + at, Due::Beat(party)));
        let client = beat(Party::Client, &self.client);
        let backend = beat(Party::Backend, &self.backend);
        let term = self.term.as_ref().map(|term| (term.until, Due::Term));
        [look, other, client, backend, term].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When a session that nobody ends has to end, and why.
    fn retirement(&self) -> Option<(Instant, Due)> {
        let Settings { max_age, idle_timeout, .. } = *self.settings;
        let age = max_age.map(|age| (self.begun + self.own_age(age), Due::Age));
        let idle = idle_timeout.map(|longest| {
            let crossed = self.record.last_message().map_or(Duration::ZERO, |at| at - self.record.opened());
            (self.begun + crossed + longest, Due::Idle)
        });
        age.into_iter().chain(idle).min_by_key(|(at, _)| *at)
    }

    /// How old this session may become: up to a tenth less than `age`, so that those who came together do not have to
    /// come back together.
    fn own_age(&self, age: Duration) -> Duration {
        // The fractional part of multiples of the golden ratio is spread evenly.
        let spread = self.record.number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        age.mul_f32(1.0 - AGE_SPREAD * spread as f32 / (1_u32 << 24) as f32)
    }

    /// Does what is due, and sees to being woken for what will be; returns whether anything was done. `moved` says of
    /// either direction whether anything happened there just now.
    pub(super) fn tick(&mut self, moved: Moved, cx: &mut Context<'_>) -> bool {
        if matches!(self.drain, Drain::Waiting(_)) && !moved.downlink && self.has_paused() {
            self.leave();
            return true;
        }
        let now = Instant::now();
        let age = now - self.begun;
        self.note_message(age);
        if self.feel(age) {
            return true;
        }
        let Some((at, due)) = self.deadline() else {
            return false;
        };
        if at > now {
            let at = match due {
                Due::Beat(party) => self.side(party).wake_for_beat(at),
                Due::Look | Due::GiveUp | Due::Leave | Due::Term | Due::Age | Due::Idle => at,
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            // One that fires too early is set again then; data would otherwise have it set with every message.
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            return timer.as_mut().poll(cx).is_ready();
        }
        if !has_budget_remaining() {
            // The runtime makes sockets look empty to a task that has had its share.
            cx.waker().wake_by_ref();
            return false;
        }
        match due {
            // What has arrived must be read before anyone is judged by it, and there may be more.
            Due::Beat(Party::Client) if moved.uplink => {}
            Due::Beat(Party::Backend) if moved.downlink => {}
            Due::Beat(party) => self.beat(party, age),
            Due::Look => {
                self.last_look = now;
                self.look_for_resets();
            }
            Due::GiveUp => {
                for side in [&mut self.client, &mut self.backend] {
                    side.close(side.backlog() > 0);
                }
            }
            Due::Term => {
                if let Some(term) = self.term.take() {
                    self.dismiss(term.reason, term.words);
                }
            }
            Due::Age => self.drain = Drain::At(now),
            Due::Idle => self.dismiss(CloseReason::Idle, "no message for too long"),
            Due::Leave => match self.drain {
                Drain::At(at) => self.drain = Drain::Waiting(at + DRAIN_PATIENCE),
                Drain::Waiting(_) if self.client.encoder.is_between_messages() => self.leave(),
                Drain::Waiting(_) => {
                    self.drain = Drain::AfterMessage;
                    self.client.ends_after_message = true;
                }
                Drain::No | Drain::AfterMessage | Drain::Asked => {}
            },
        }
        true
    }

    /// Takes note of a message that crossed just now.
    pub(super) fn note_message(&mut self, age: Duration) {
        if std::mem::take(&mut self.has_crossed) {
            self.record.message_crossed(age);
        }
    }

    /// While one end takes nothing the other is not read, and a reset of it would not be noticed.
    fn look_for_resets(&mut self) {
        let is_reset = |side: &Side, other: &Side| other.backlog() > 0 && side.stream.is_broken();
        let client = is_reset(&self.client, &self.backend);
        let backend = is_reset(&self.backend, &self.client);
        for (party, is_reset) in [(Party::Client, client), (Party::Backend, backend)] {
            if is_reset {
                self.on_broken(party, CloseReason::Reset(party));
            }
        }
    }

    /// Whether all that the backend has said has gone to the client.
    fn has_paused(&self) -> bool {
        self.client.backlog() == 0
            && self.client.encoder.is_between_messages()
            && self.backend.decoder.is_between_messages()
    }

    /// Asks the client to come back later.
    pub(super) fn leave(&mut self) {
        self.drain = Drain::Asked;
        let is_aged = self.settings.max_age.is_some_and(|age| self.begun.elapsed() >= self.own_age(age));
        match is_aged {
            true => self.end(Party::Client, CloseReason::Aged, "old enough, come back"),
            false => self.end(Party::Client, CloseReason::Drained, "service restart"),
        }
        self.last_moved = Instant::now();
    }
}

impl Side {
    /// When to wake for a beat, or for what becomes of it, that is due at `at`.
    fn wake_for_beat(&self, at: Instant) -> Instant {
        let interval = self.vigil.as_ref().filter(|vigil| vigil.pulse.unanswered_silence().is_none());
        let interval = interval.map_or(Duration::ZERO, |vigil| vigil.pulse.interval());
        *EPOCH + coalesce(at.duration_since(*EPOCH), interval)
    }
}

/// What the moments are counted from at which beats of several sessions are sent.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// In which directions something happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) uplink: bool,
    pub(super) downlink: bool,
}

/// What is done at a deadline.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Let the pulse of this end do what it wants done.
    Beat(Party),
    /// See whether an end that is not being read is still there.
    Look,
    /// Close what nobody will finish.
    GiveUp,
    /// Ask the client to leave.
    Leave,
    /// End what may last no longer.
    Term,
    /// Have it asked to leave, because the session is as old as it may become.
    Age,
    /// Close what carries nothing.
    Idle,
}

/// How far the client's leaving has come, when natpulse drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// It may stay.
    No,
    /// Its turn comes then.
    At(Instant),
    /// It is asked at the next pause of its backend, and then at the latest.
    Waiting(Instant),
    /// It is asked behind the message that is being sent.
    AfterMessage,
    /// It has been asked.
    Asked,
}
