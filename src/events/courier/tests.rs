use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use crate::close::Party;
use crate::events::What;

/// An event that can be told from others by its session.
fn event(session: u64) -> Event {
    Event {
        what: What::Opened,
        at: Duration::ZERO,
        bridge: "b".into(),
        session,
        side: Party::Client,
        client: None,
        network: None,
        last_message: None,
    }
}

/// The sessions that the events of a batch are of, or `None` where there is nothing to deliver.
fn sessions(step: &Step) -> Option<Vec<u64>> {
    match step {
        Step::Deliver(batch) => Some(batch.events().map(|(_, event)| event.session).collect()),
        Step::Rest(_) | Step::Idle => None,
    }
}

#[test]
fn a_batch_stays_the_same_until_it_is_taken() {
    let mut courier = Courier::new(1, 1000);
    assert!(matches!(courier.step(Duration::ZERO), Step::Idle));
    courier.push(event(0));
    assert!(matches!(courier.step(Duration::ZERO), Step::Rest(GATHER)), "there may be more");
    assert_eq!(sessions(&courier.step(GATHER)), Some(vec![0]));
    (1..=250).for_each(|session| assert!(courier.push(event(session))));
    assert_eq!(sessions(&courier.step(GATHER)), Some(vec![0]), "nothing is added to what was tried");
    courier.delivered();
    for expected in [1..=100, 101..=200] {
        assert_eq!(
            sessions(&courier.step(GATHER)),
            Some(expected.collect()),
            "a full batch waits for nobody"
        );
        courier.delivered();
    }
    let Step::Rest(until) = courier.step(GATHER) else { panic!("50 are no full batch") };
    assert_eq!(sessions(&courier.step(until)), Some((201..=250).collect()));
    courier.delivered();
    assert!(matches!(courier.step(until), Step::Idle));
    assert_eq!(courier.kept(), 0);
}

#[test]
fn pauses_double_up_to_a_minute_and_begin_anew_with_a_success() {
    let mut courier = Courier::new(1, 10);
    courier.push(event(0));
    courier.push(event(1));
    let mut now = Duration::from_secs(1000);
    courier.step(now - GATHER);
    let mut pauses = |courier: &mut Courier, part: f32, count: usize| {
        let mut pause = || {
            assert!(sessions(&courier.step(now)).is_some());
            courier.failed(now, part);
            let Step::Rest(until) = courier.step(now) else {
                panic!("no pause after a failure");
            };
            let pause = until - now;
            now = until;
            pause.as_secs_f32()
        };
        (0..count).map(|_| pause()).collect::<Vec<_>>()
    };
    assert_eq!(pauses(&mut courier, 1.0, 9), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
    courier.hurry();
    assert_eq!(pauses(&mut courier, 0.5, 3), [0.5, 1.0, 2.0]);
    courier.delivered();
    courier.push(event(2));
    assert_eq!(pauses(&mut courier, 1.0, 40)[39], 60.0);
}

#[test]
fn a_drain_does_not_wait_for_a_pause() {
    let mut courier = Courier::new(1, 10);
    courier.push(event(0));
    courier.step(Duration::ZERO);
    courier.step(GATHER);
    courier.failed(GATHER, 1.0);
    assert!(matches!(courier.step(Duration::from_millis(999)), Step::Rest(_)));
    courier.hurry();
    assert_eq!(sessions(&courier.step(Duration::from_millis(999))), Some(vec![0]));
}

#[test]
fn a_drain_gathers_nothing() {
    let mut courier = Courier::new(1, 10);
    courier.hurry();
    courier.push(event(0));
    assert_eq!(sessions(&courier.step(Duration::ZERO)), Some(vec![0]));
}

/// What happens to a courier.
#[derive(Clone, Debug)]
enum Happening {
    Push(usize),
    /// The receiver takes the batch, and its answer arrives or is lost.
    Taken {
        is_answered: bool,
    },
    /// The receiver never sees the batch.
    Lost,
    Pass(Duration),
    Hurry,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..150usize).prop_map(Happening::Push),
        3 => any::<bool>().prop_map(|is_answered| Happening::Taken { is_answered }),
        2 => Just(Happening::Lost),
        4 => (0..90_000u64).prop_map(|ms| Happening::Pass(Duration::from_millis(ms))),
        1 => Just(Happening::Hurry),
    ]
}

/// A courier, the receiver at the other end, and what is true of both together.
struct World {
    courier: Courier,
    bound: usize,
    now: Duration,
    pushed: u64,
    dropped: BTreeSet<u64>,
    /// The names that the receiver has seen, and what it got under each, once.
    seen: BTreeSet<String>,
    received: Vec<u64>,
}

impl World {
    fn push(&mut self) {
        let was_full = self.courier.kept() == self.bound;
        let is_kept = self.courier.push(event(self.pushed));
        assert_eq!(is_kept, !was_full, "only who comes when it is full is dropped");
        if !is_kept {
            self.dropped.insert(self.pushed);
        }
        self.pushed += 1;
        assert!(self.courier.kept() <= self.bound);
    }

    /// Tries to deliver, if it is time.
    fn attempt(&mut self, reaches: bool, is_answered: bool, part: f32) {
        let Step::Deliver(batch) = self.courier.step(self.now) else {
            return;
        };
        assert!((1..=BATCH).contains(&batch.len()));
        let before = self.received.len();
        for (id, event) in batch.events().filter(|_| reaches) {
            assert_eq!(id, format!("{:016x}-{}", 7, event.session + 1));
            if self.seen.insert(id) {
                self.received.push(event.session);
            }
        }
        let news = self.received.len() - before;
        assert!(!reaches || news == 0 || news == batch.len(), "a batch that comes again is the same");
        match reaches && is_answered {
            true => self.courier.delivered(),
            false => self.courier.failed(self.now, part),
        }
    }

    /// What everyone may count on, at any time.
    fn check(&self) {
        let sent = (0..self.pushed).filter(|session| !self.dropped.contains(session));
        let received = self.received.iter().copied();
        assert!(received.eq(sent.take(self.received.len())), "in order, without a gap but for the dropped");
        let known = self.received.len() + self.courier.kept() + self.dropped.len();
        // What arrived and was not answered is counted at both ends.
        let pushed = self.pushed as usize;
        assert!((pushed..=pushed + BATCH).contains(&known), "nothing is lost without being counted");
    }
}

/// The seed of every case that ever failed is kept, printed, and tried first.
fn properties() -> ProptestConfig {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/src/events/courier/regressions.txt");
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(regressions)) as Box<_>);
    ProptestConfig { cases: 500, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn every_event_is_delivered_once_and_in_order_or_counted_as_dropped(
        bound in 1..400usize,
        happenings in prop::collection::vec((happening(), 0.0..1.0f32), 0..120),
    ) {
        let courier = Courier::new(7, bound);
        let mut world =
            World { courier, bound, now: Duration::ZERO, pushed: 0, dropped: BTreeSet::new(), seen: BTreeSet::new(), received: Vec::new() };
        for (happening, part) in happenings {
            match happening {
                Happening::Push(count) => (0..count).for_each(|_| world.push()),
                Happening::Taken { is_answered } => world.attempt(true, is_answered, part),
                Happening::Lost => world.attempt(false, false, part),
                Happening::Pass(time) => world.now += time,
                Happening::Hurry => world.courier.hurry(),
            }
            world.check();
        }
        // The receiver works from now on: after at most one pause, all that was kept arrives.
        world.now += PAUSES.1;
        while world.courier.kept() > 0 {
            if let Step::Rest(until) = world.courier.step(world.now) {
                prop_assert!(until <= world.now + GATHER, "a pause although nothing failed");
                world.now = until;
            }
            let before = world.courier.kept();
            world.attempt(true, true, 0.0);
            prop_assert!(world.courier.kept() < before, "nothing is delivered to a receiver that works");
        }
        world.check();
        prop_assert_eq!(world.received.len() + world.dropped.len(), world.pushed as usize);
    }
}
