use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a network with a timeout shows, with somebody trying whatever may be tried; and how many died of it.
fn climb(bracket: &mut Bracket, timeout_ms: u32, settings: &Settings, now: Duration) -> u32 {
    climb_late(bracket, timeout_ms, settings, now, |silence_ms| silence_ms)
}

/// The same with timers that fire late.
fn climb_late(
    bracket: &mut Bracket,
    timeout_ms: u32,
    settings: &Settings,
    mut now: Duration,
    late: impl Fn(u32) -> u32,
) -> u32 {
    let mut deaths = 0;
    for _ in 0..1000 {
        let Some(silence_ms) = bracket.trial_ms(settings, now) else {
            now += at(600);
            continue;
        };
        let silence_ms = late(silence_ms);
        let silence = Duration::from_millis(silence_ms.into());
        now += silence;
        if silence_ms < timeout_ms {
            bracket.on_survived(silence, now);
        } else {
            bracket.on_died_beyond(silence, Search::Users, now);
            deaths += 1;
        }
    }
    deaths
}

#[test]
fn the_interval_in_use_is_what_is_proven_less_the_margin_within_the_limits() {
    let settings = Settings::default();
    let in_use = |proven_s| {
        let mut bracket = Bracket::default();
        bracket.on_survived(at(proven_s), at(1000));
        bracket.in_use(&settings)
    };
    assert_eq!(in_use(0), at(15), "the floor");
    assert_eq!(in_use(60), at(57), "3 s at least");
    assert_eq!(in_use(300), at(288), "4% of more");
    assert_eq!(in_use(3600), at(600), "the operator's limit");
}

#[test]
fn a_climb_costs_two_connections_and_ends_close_below_the_timeout() {
    let settings = Settings { max: at(20_000), ..Settings::default() };
    for timeout_ms in [30_000, 47_000, 61_000, 299_000, 300_000, 1_234_567, 7_440_000] {
        let mut bracket = Bracket::default();
        assert_eq!(climb(&mut bracket, timeout_ms, &settings, at(1000)), 2, "{timeout_ms} ms");
        let proven_ms = bracket.proven_ms;
        assert!(proven_ms < timeout_ms && f64::from(proven_ms) > f64::from(timeout_ms) * 0.92, "{bracket:?}");
    }
}

#[test]
fn a_climb_with_late_timers_costs_no_more() {
    let settings = Settings { max: at(20_000), ..Settings::default() };
    for timeout_ms in [30_000, 47_000, 61_000, 299_000, 300_000, 1_234_567, 7_440_000] {
        for late_permille in [0, 10, 40] {
            let late = |silence_ms: u32| permille(silence_ms, 1000 + late_permille) + 1;
            let deaths = climb_late(&mut Bracket::default(), timeout_ms, &settings, at(1000), late);
            assert_eq!(deaths, 2, "{timeout_ms} ms, {late_permille} thousandths late");
        }
    }
}

#[test]
fn nothing_longer_than_the_operator_allows_is_tried() {
    let settings = Settings::default();
    let mut bracket = Bracket::default();
    assert_eq!(climb(&mut bracket, 7_440_000, &settings, at(1000)), 0);
    assert_eq!(bracket.proven(), settings.max);
}

#[test]
fn a_single_death_beyond_is_checked_before_it_is_believed() {
    let settings = Settings::default();
    let mut bracket = Bracket::default();
    bracket.on_survived(at(100), at(1000));
    bracket.on_died_beyond(at(104), Search::Users, at(2000));
    assert_eq!((bracket.proven(), bracket.refuted()), (at(100), Some(at(104))));
    assert_eq!(bracket.trial_ms(&settings, at(2500)), None, "not at once");
    assert_eq!(bracket.trial_ms(&settings, at(3040)), Some(104_000), "after ten times the silence");
    bracket.on_survived(at(104), at(3200));
    assert_eq!((bracket.proven(), bracket.refuted()), (at(104), None), "it was chance");
}

#[test]
fn doubt_goes_back_to_the_floor_and_ends_with_a_survival_as_long_as_the_death() {
    let settings = Settings::default();
    let mut bracket = Bracket::default();
    bracket.on_survived(at(300), at(1000));
    bracket.on_died_within(at(288), 20, Search::Users, at(2000));
    assert!(bracket.is_in_doubt());
    assert_eq!(bracket.in_use(&settings), settings.min);
    bracket.on_survived(at(250), at(2100));
    assert_eq!(bracket.in_use(&settings), at(240), "but no longer than what has survived since");
    bracket.on_survived(at(288), at(2400));
    assert_eq!(bracket.in_use(&settings), at(288), "and then all that was proven before");
}

#[test]
fn a_settled_bound_is_left_alone_for_longer_each_time_it_holds() {
    let settings = Settings::default();
    let mut bracket = Bracket::default();
    bracket.on_survived(at(100), at(0));
    let mut now = at(0);
    bracket.on_died_beyond(at(102), Search::Probes, now);
    let mut rests_d = Vec::new();
    for _ in 0..8 {
        bracket.on_died_beyond(at(102), Search::Probes, now);
        let (_, until) = bracket.again(&settings).unwrap();
        rests_d.push((until - now).as_secs() / (24 * 3600));
        now = until;
    }
    assert_eq!(rests_d, [1, 2, 4, 8, 16, 32, 32, 32]);
}

#[test]
fn a_fickle_nat_is_believed_twice_and_not_a_third_time() {
    let mut bracket = Bracket::default();
    bracket.on_survived(at(350), at(1000));
    for (death_s, now) in [(330, at(2000)), (332, at(4000))] {
        bracket.on_died_within(at(death_s), 1, Search::Users, now);
        bracket.on_survived(at(335), now + at(1000));
        assert_eq!(bracket.proven(), at(350), "a survival as long as the death ended the doubt");
    }
    bracket.on_died_within(at(331), 1, Search::Users, at(6000));
    assert_eq!(bracket.refuted(), Some(at(331)), "but the third death came too soon for chance");
    assert!(!bracket.is_in_doubt());
}

#[test]
fn deaths_that_are_far_apart_do_not_make_a_nat_fickle() {
    let mut bracket = Bracket::default();
    bracket.on_survived(at(350), at(1000));
    for round in 1..=10 {
        let now = at(round * 350 * u64::from(BEATS_TO_TRUST) * 2);
        bracket.on_died_within(at(330), 1, Search::Users, now);
        bracket.on_survived(at(335), now + at(1000));
        assert_eq!((bracket.proven(), bracket.refuted()), (at(350), None), "round {round}");
    }
}

#[test]
fn what_is_known_to_be_too_long_stays_known_while_something_shorter_is_suspected() {
    let settings = Settings { max: at(20_000), ..Settings::default() };
    let mut bracket = Bracket::default();
    assert_eq!(climb(&mut bracket, 300_000, &settings, at(1000)), 2);
    let (proven, refuted) = (bracket.proven(), bracket.refuted());
    let now = at(1_000_000);
    bracket.on_died_within(proven, 1, Search::Users, now);
    bracket.on_died_beyond(at(40), Search::Users, now + at(60));
    assert_eq!(bracket.refuted(), Some(at(40)), "somebody died by chance while it was in doubt");
    assert_eq!(climb(&mut bracket, 300_000, &settings, now + at(120)), 0, "{bracket:?}");
    assert_eq!((bracket.proven(), bracket.refuted()), (proven, refuted));
}

#[test]
fn in_doubt_the_search_doubles_at_first() {
    let settings = Settings { max: at(20_000), ..Settings::default() };
    let mut bracket = Bracket::default();
    bracket.on_survived(at(1600), at(1000));
    bracket.on_died_within(at(1600), 1, Search::Users, at(5000));
    let mut tried = Vec::new();
    while let Some(silence_ms) = bracket.trial_ms(&settings, at(5000)).filter(|_| bracket.is_in_doubt()) {
        tried.push(silence_ms / 1000);
        bracket.on_survived(Duration::from_millis(silence_ms.into()), at(5000));
    }
    assert!(tried.len() < 30, "{tried:?}");
    let steps = tried.windows(2).map(|pair| f64::from(pair[1]) / f64::from(pair[0]));
    for (step, above) in steps.zip(&tried[1..]) {
        let most = if *above <= 400 { 2.05 } else { 1.13 };
        assert!(step <= most, "{tried:?}");
    }
    assert_eq!(bracket.proven(), at(1600), "{tried:?}");
}
