//! One connection's pulse against made-up time.

use std::time::Duration;

use natpulse::heartbeat::{Action, Answer, Facts, Means, Path, Patience, Pulse};

const INTERVAL: u64 = 60_000;
const REPLY: u64 = 10_000;
const STALL: u64 = 600_000;
const PATIENCE: Patience =
    Patience { reply: Duration::from_millis(REPLY), stall: Duration::from_millis(STALL) };

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path on which everything has been acknowledged, the last thing so long ago.
fn clear(ack_age: u64) -> Facts {
    let path =
        Path { ack_age: at(ack_age), in_flight: false, unsent: false, window: 65_535, window_probes: 0 };
    Facts { can_write: true, is_reading: true, path: Some(path) }
}

fn with_path(facts: Facts, change: impl Fn(&mut Path)) -> Facts {
    let mut path = facts.path.unwrap();
    change(&mut path);
    Facts { path: Some(path), ..facts }
}

fn pulse(means: Means) -> Pulse {
    Pulse::new(means, at(0), at(INTERVAL))
}

/// Polls, writes the beats that are wanted, and returns what comes after them.
fn poll(pulse: &mut Pulse, now: u64, facts: &Facts, beats: &mut Vec<u64>) -> Action {
    loop {
        match pulse.poll(at(now), facts, &PATIENCE) {
            Action::Beat => {
                pulse.beaten(7);
                beats.push(now);
            }
            other => return other,
        }
    }
}

/// Lets time pass, deadline by deadline, until the peer is dead or so much time has passed.
fn live(pulse: &mut Pulse, until: u64, facts: impl Fn(u64) -> Facts) -> (Vec<u64>, Option<(u64, Duration)>) {
    let mut beats = Vec::new();
    let mut now = 0;
    for _ in 0..100_000 {
        let deadline = u64::try_from(pulse.deadline().as_millis()).unwrap();
        assert!(deadline > now || now == 0, "a deadline that has passed: {deadline} at {now}");
        now = deadline;
        if now > until {
            return (beats, None);
        }
        if let Action::Dead { silence } = poll(pulse, now, &facts(now), &mut beats) {
            return (beats, Some((now, silence)));
        }
    }
    panic!("it never came to {until} ms");
}

#[test]
fn a_silent_peer_is_beaten_twice_and_dead_when_the_reply_timeout_has_passed() {
    let (beats, dead) = live(&mut pulse(Means::Ping), 1_000_000, |_| clear(0));
    assert_eq!(beats, [INTERVAL, INTERVAL + REPLY / 2]);
    assert_eq!(dead, Some((INTERVAL + REPLY, at(INTERVAL))));
}

#[test]
fn anything_read_postpones_the_beat_and_ends_the_question() {
    let mut pulse = pulse(Means::Ping);
    pulse.read(at(50_000));
    assert_eq!(pulse.deadline(), at(50_000 + INTERVAL));
    let mut beats = Vec::new();
    poll(&mut pulse, 50_000 + INTERVAL, &clear(0), &mut beats);
    assert_eq!(beats, [50_000 + INTERVAL]);
    pulse.read(at(51_000 + INTERVAL));
    assert_eq!(pulse.deadline(), at(51_000 + 2 * INTERVAL));
}

#[test]
fn an_answer_tells_the_silence_that_was_survived_and_the_round_trip() {
    let mut pulse = pulse(Means::Ping);
    poll(&mut pulse, INTERVAL, &clear(0), &mut Vec::new());
    pulse.read(at(INTERVAL + 80));
    assert_eq!(pulse.answered(at(INTERVAL + 80), Some(8)), None, "an answer to nothing we sent");
    let answer = Answer { survived: Some(at(INTERVAL)), round_trip: at(80) };
    assert_eq!(pulse.answered(at(INTERVAL + 80), Some(7)), Some(answer));
    assert_eq!(pulse.answered(at(INTERVAL + 80), Some(7)), None, "the same answer again");
}

#[test]
fn an_answer_to_the_second_beat_proves_nothing() {
    let mut pulse = pulse(Means::Ping);
    let mut beats = Vec::new();
    poll(&mut pulse, INTERVAL, &clear(0), &mut beats);
    poll(&mut pulse, INTERVAL + REPLY / 2, &clear(0), &mut beats);
    assert_eq!(beats.len(), 2);
    pulse.read(at(INTERVAL + REPLY / 2 + 80));
    assert_eq!(pulse.answered(at(INTERVAL + REPLY / 2 + 80), Some(7)).unwrap().survived, None);
}

#[test]
fn a_quick_peer_is_given_three_seconds_and_a_slow_one_four_round_trips() {
    for (round_trip, patience) in [(20, 3_000), (2_000, 8_000), (4_000, REPLY)] {
        let mut pulse = pulse(Means::Ping);
        poll(&mut pulse, INTERVAL, &clear(0), &mut Vec::new());
        pulse.read(at(INTERVAL + round_trip));
        pulse.answered(at(INTERVAL + round_trip), Some(7));
        let asked = 2 * INTERVAL + round_trip;
        let (_, dead) = live(&mut pulse, 1_000_000, |_| clear(0));
        assert_eq!(dead.unwrap().0, asked + patience, "a round trip of {round_trip} ms");
    }
}

#[test]
fn a_reply_timeout_below_three_seconds_is_what_was_asked_for() {
    let patience = Patience { reply: at(100), stall: at(STALL) };
    let mut pulse = Pulse::new(Means::Ping, at(0), at(300));
    for now in [300, 350] {
        assert_eq!(pulse.poll(at(now), &clear(0), &patience), Action::Beat);
        pulse.beaten(now as u32);
    }
    assert!(matches!(pulse.poll(at(399), &clear(0), &patience), Action::Wait(_)));
    assert_eq!(pulse.poll(at(400), &clear(0), &patience), Action::Dead { silence: at(300) });
}

#[test]
fn what_we_send_is_never_life_until_it_is_acknowledged() {
    let lost = with_path(clear(INTERVAL + REPLY), |path| path.in_flight = true);
    let mut pulse = pulse(Means::Ping);
    pulse.wrote();
    let (_, dead) = live(&mut pulse, 1_000_000, |now| with_path(lost, |path| path.ack_age = at(now)));
    assert_eq!(dead.unwrap().0, INTERVAL + REPLY);
}

#[test]
fn what_the_peers_kernel_acknowledges_postpones_the_beat() {
    let mut pulse = pulse(Means::Ping);
    pulse.wrote();
    let mut beats = Vec::new();
    // At the end of the interval, 10 s have passed since the last acknowledgement.
    let action = poll(&mut pulse, INTERVAL, &clear(10_000), &mut beats);
    assert_eq!(action, Action::Wait(at(2 * INTERVAL - 10_000)));
    assert!(beats.is_empty());
}

#[test]
fn acknowledged_beats_are_no_life_since_a_kernel_is_no_service() {
    let (_, dead) = live(&mut pulse(Means::Ping), 1_000_000, |_| clear(0));
    assert_eq!(dead.unwrap().0, INTERVAL + REPLY);
}

#[test]
fn a_beat_behind_data_that_keeps_arriving_is_not_missed() {
    let mut pulse = pulse(Means::Ping);
    pulse.wrote();
    let slow = with_path(clear(900), |path| (path.in_flight, path.unsent) = (true, true));
    let (_, dead) = live(&mut pulse, 24 * 3_600_000, |_| slow);
    assert_eq!(dead, None);
}

#[test]
fn a_beat_behind_data_that_stops_arriving_is() {
    let mut pulse = pulse(Means::Ping);
    pulse.wrote();
    let cut_at = 1_000_000;
    let slow = with_path(clear(0), |path| (path.in_flight, path.unsent) = (true, true));
    let facts = |now: u64| with_path(slow, |path| path.ack_age = at(900 + now.saturating_sub(cut_at)));
    let (_, dead) = live(&mut pulse, 24 * 3_600_000, facts);
    let died = dead.unwrap().0;
    assert!((cut_at..cut_at + INTERVAL + REPLY + 1000).contains(&died), "{died}");
}

#[test]
fn a_peer_with_a_full_buffer_is_waited_for_until_the_limit_for_that() {
    let mut pulse = pulse(Means::Ping);
    pulse.wrote();
    let full = with_path(clear(0), |path| (path.unsent, path.window) = (true, 0));
    let (_, dead) = live(&mut pulse, 24 * 3_600_000, |now| with_path(full, |path| path.ack_age = at(now)));
    let died = dead.unwrap().0;
    assert!((STALL..STALL + INTERVAL + 2 * REPLY).contains(&died), "{died}");
}

#[test]
fn a_peer_that_has_not_read_what_its_kernel_took_is_waited_for() {
    let mut pulse = pulse(Means::Ping);
    poll(&mut pulse, INTERVAL, &clear(0), &mut Vec::new());
    pulse.read(at(INTERVAL + 50));
    pulse.wrote();
    // The kernel took all of it long ago, and offers less than it did.
    let facts = |now: u64| with_path(clear(now - INTERVAL), |path| path.window = 9_000);
    let (_, dead) = live(&mut pulse, STALL, facts);
    assert_eq!(dead, None);
    // It has read everything, and has the time of a reply from the moment at which that is seen.
    let seen = u64::try_from(pulse.deadline().as_millis()).unwrap();
    let (_, dead) = live(&mut pulse, 24 * 3_600_000, |now| clear(now - INTERVAL));
    assert!(dead.unwrap().0 <= seen + INTERVAL + 2 * REPLY, "{dead:?} after {seen}");
}

#[test]
fn while_we_are_not_reading_the_reply_clock_stands_still() {
    let mut pulse = pulse(Means::Ping);
    let resumed = 300_000;
    let (_, dead) = live(&mut pulse, STALL, |now| Facts { is_reading: now >= resumed, ..clear(0) });
    let died = dead.unwrap().0;
    assert!((resumed..=resumed + 2 * REPLY).contains(&died), "{died}");
    let mut stuck = Pulse::new(Means::Ping, at(0), at(INTERVAL));
    let (_, dead) = live(&mut stuck, 24 * 3_600_000, |_| Facts { is_reading: false, ..clear(0) });
    assert!((STALL..STALL + INTERVAL + 2 * REPLY).contains(&dead.unwrap().0), "{dead:?}");
}

#[test]
fn a_path_that_is_cut_while_we_are_not_reading_is_found_all_the_same() {
    let unread = |ack_age| Facts { is_reading: false, ..clear(ack_age) };
    for (cut, can_write) in [(0, true), (0, false), (200_000, true), (200_000, false)] {
        // Until then everything is acknowledged.
        let facts = |now: u64| match now.checked_sub(cut) {
            None => Facts { can_write, ..unread(0) },
            Some(since) => Facts { can_write, ..with_path(unread(since), |path| path.in_flight = true) },
        };
        let (_, dead) = live(&mut pulse(Means::Ping), STALL, facts);
        assert!(dead.unwrap().0 <= cut.max(INTERVAL) + 3 * REPLY, "cut at {cut}: {dead:?}");
    }
    // A round trip that is nearly as long as the reply timeout: there is always a beat on its way.
    let slow = |_| with_path(unread(REPLY - 1), |path| path.in_flight = true);
    assert_eq!(live(&mut pulse(Means::Ping), STALL, slow).1, None);
}

#[test]
fn a_path_that_is_cut_while_the_window_is_closed_is_found_by_the_kernels_probes() {
    let closed = |is_reading, probes| {
        move |now| {
            let facts = Facts { can_write: false, is_reading, ..clear(now) };
            with_path(facts, |path| (path.unsent, path.window, path.window_probes) = (true, 0, probes))
        }
    };
    for is_reading in [true, false] {
        let (_, dead) = live(&mut pulse(Means::Ping), STALL, closed(is_reading, 3));
        assert_eq!(dead, Some((INTERVAL + REPLY, at(INTERVAL))), "reading: {is_reading}");
        // One or two may be lost, and the kernel's pauses between them grow to minutes.
        assert_eq!(
            live(&mut pulse(Means::Ping), STALL, closed(is_reading, 2)).1,
            None,
            "reading: {is_reading}"
        );
    }
}

#[test]
fn a_beat_that_could_not_be_written_is_not_missed() {
    for path in [clear(0).path, None] {
        let facts = Facts { can_write: false, is_reading: true, path };
        let mut pulse = pulse(Means::Ping);
        let (beats, dead) = live(&mut pulse, STALL, |_| facts);
        assert_eq!((beats, dead), (vec![], None));
    }
}

#[test]
fn who_slept_asks_again_before_a_verdict() {
    let mut pulse = pulse(Means::Ping);
    let mut beats = Vec::new();
    poll(&mut pulse, INTERVAL, &clear(0), &mut beats);
    let woken = INTERVAL + 3_600_000;
    assert!(matches!(poll(&mut pulse, woken, &clear(0), &mut beats), Action::Wait(_)));
    let (_, dead) = live(&mut pulse, 2 * 3_600_000, |_| clear(0));
    assert_eq!(dead.unwrap().0, woken + REPLY);
    assert!(beats.len() <= 2);
}

#[test]
fn a_legacy_peer_that_only_beats_by_itself_is_judged_by_its_own_rhythm() {
    let mut pulse = pulse(Means::Legacy);
    // It says something every three minutes, then no more.
    let mut now = 0;
    for _ in 0..10 {
        now += 180_000;
        while pulse.deadline() < at(now) {
            let deadline = u64::try_from(pulse.deadline().as_millis()).unwrap();
            let action = poll(&mut pulse, deadline, &clear(0), &mut Vec::new());
            assert!(matches!(action, Action::Wait(_)), "{action:?} at {deadline}");
        }
        pulse.read(at(now));
    }
    let (beats, dead) = live(&mut pulse, 24 * 3_600_000, |_| clear(0));
    let died = dead.unwrap().0 - now;
    assert!((270_000..=300_000).contains(&died), "{died}");
    assert!(!beats.is_empty(), "a beat precedes the verdict");
}

#[test]
fn a_legacy_peer_that_answers_is_judged_by_its_answers() {
    let mut pulse = pulse(Means::Legacy);
    poll(&mut pulse, INTERVAL, &clear(0), &mut Vec::new());
    pulse.read(at(INTERVAL + 10));
    assert!(pulse.answered(at(INTERVAL + 10), None).is_some());
    let (_, dead) = live(&mut pulse, 24 * 3_600_000, |_| clear(0));
    assert_eq!(dead.unwrap().0, 2 * INTERVAL + 10 + 3_000);
}

#[test]
fn the_kernels_probe_is_sent_before_it_is_judged() {
    let mut pulse = pulse(Means::Keepalive);
    assert_eq!(pulse.keepalive_idle(), at(53_000));
    assert!(pulse.keepalive_idle() * 9 / 8 <= at(INTERVAL));
    // The probe was answered 5 s ago.
    let mut beats = Vec::new();
    assert_eq!(poll(&mut pulse, INTERVAL, &clear(5_000), &mut beats), Action::Survived(at(55_000)));
    assert_eq!(pulse.deadline(), at(55_000 + INTERVAL));
    // No more answers: nothing is written, and the peer is dead.
    let (beats, dead) = live(&mut pulse, 1_000_000, |now| clear(now - 55_000));
    assert!(beats.is_empty());
    assert_eq!(dead.unwrap().0, 55_000 + INTERVAL + REPLY);
}

#[test]
fn a_path_that_never_answered_the_kernels_probes_is_not_judged_by_them() {
    let mut pulse = pulse(Means::Keepalive);
    let (_, dead) = live(&mut pulse, STALL, clear);
    assert_eq!(dead, None);
}

#[test]
fn a_hurried_beat_is_due_at_once_and_once() {
    let mut pulse = pulse(Means::Ping);
    pulse.hurry();
    assert_eq!(pulse.deadline(), at(0));
    let mut beats = Vec::new();
    poll(&mut pulse, 1_000, &clear(0), &mut beats);
    pulse.read(at(1_010));
    assert_eq!(pulse.deadline(), at(1_010 + INTERVAL), "something else was read");
    assert_eq!(pulse.answered(at(1_020), Some(7)).unwrap().survived, Some(at(1_000)));
    assert_eq!(beats, [1_000]);
}
