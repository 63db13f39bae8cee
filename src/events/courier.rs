//! What is delivered next, and when. Pure: the time, and what became of an attempt, are told to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Event;

/// The most events in one delivery.
const BATCH: usize = 100;
/// What the first pause after a failure is a random part of, and the longest of those that follow.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long the first event of a batch that is not full waits for others: not long enough for anybody to mind, and ten
/// thousand sessions a second share a hundred requests.
const GATHER: Duration = Duration::from_millis(50);

/// Keeps events in order until they are delivered.
#[derive(Debug)]
pub(super) struct Courier {
    /// Names this process among all that ever tell the same receiver something.
    instance: u64,
    /// The most events that are kept, those of the batch included.
    bound: usize,
    /// The number of the last event that was pushed, whether it was kept or not.
    pushed: u64,
    waiting: VecDeque<(u64, Event)>,
    /// What is being delivered. It stays the same until it is.
    batch: Option<Arc<Batch>>,
    /// How often the batch was not taken since something last was.
    failures: u32,
    not_before: Duration,
    /// Until when what waits is gathered.
    gathers_until: Option<Duration>,
    /// Whether time runs out: nothing is gathered any more.
    is_hurried: bool,
}

/// Events that are delivered together, oldest first.
#[derive(Debug)]
pub(super) struct Batch {
    instance: u64,
    events: Vec<(u64, Event)>,
}

/// What to do next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Deliver this, and say what became of it.
    Deliver(Arc<Batch>),
    /// Nothing before this time.
    Rest(Duration),
    /// Nothing until something is pushed.
    Idle,
}

impl Courier {
    pub(super) fn new(instance: u64, bound: usize) -> Courier {
        Courier {
            instance,
            bound,
            pushed: 0,
            // All of it at once, so that no push ever moves what waits. Pages that are not used cost nothing.
            waiting: VecDeque::with_capacity(bound),
            batch: None,
            failures: 0,
            not_before: Duration::ZERO,
            gathers_until: None,
            is_hurried: false,
        }
    }

    /// Takes an event in, unless too many are here already; returns whether it did. One that was not has a number all
    /// the same, so that a receiver sees the gap.
    pub(super) fn push(&mut self, event: Event) -> bool {
        self.pushed += 1;
        let has_room = self.kept() < self.bound;
        if has_room {
            self.waiting.push_back((self.pushed, event));
        }
        has_room
    }

    /// The events that have not been delivered.
    pub(super) fn kept(&self) -> usize {
        self.waiting.len() + self.batch.as_ref().map_or(0, |batch| batch.len())
    }

    /// What to do now. Times are counted from wherever the caller likes.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        if now < self.not_before {
            return Step::Rest(self.not_before);
        }
        if self.batch.is_none() && !self.waiting.is_empty() {
            let until = *self.gathers_until.get_or_insert(now + GATHER);
            if now < until && self.waiting.len() < BATCH && !self.is_hurried {
                return Step::Rest(until);
            }
            self.gathers_until = None;
            let events = self.waiting.drain(..self.waiting.len().min(BATCH)).collect();
            self.batch = Some(Arc::new(Batch { instance: self.instance, events }));
        }
        self.batch.clone().map_or(Step::Idle, Step::Deliver)
    }

    /// The batch was taken.
    pub(super) fn delivered(&mut self) {
        self.failures = 0;
        self.batch = None;
    }

    /// The batch was not taken, or nobody knows. `part` of the pause, which doubles each time, is waited for: a random
    /// number from 0 to 1 ("full jitter"), so that those who tell a receiver that was gone do not come as a crowd.
    pub(super) fn failed(&mut self, now: Duration, part: f32) {
        let (first, longest) = PAUSES;
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.not_before = now + pause.mul_f32(part);
        self.failures += 1;
    }

    /// Time runs out: tries at once, and then as after a first failure.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
        self.failures = 0;
        self.not_before = Duration::ZERO;
    }
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The events, each with a name that no other ever has.
    pub(super) fn events(&self) -> impl Iterator<Item = (String, &Event)> {
        self.events.iter().map(|(number, event)| (format!("{:016x}-{number}", self.instance), event))
    }
}

#[cfg(test)]
mod tests;
