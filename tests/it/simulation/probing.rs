//! `smart` with natpulse at both ends: connections that carry nothing do the learning.

use super::*;

fn smart() -> Contender {
    Contender::smart(MAX, true)
}

#[test]
fn no_connection_is_lost_at_a_constant_timeout_and_it_is_found_within_four_times_as_long() {
    println!("seed {SEED}");
    for timeout_s in timeouts(SEED, 60) {
        for count in [1, 20] {
            for (kind, nat) in kinds(timeout_s) {
                let length = seconds(100.0 * timeout_s);
                let report = simulate(smart(), nat, Clients::steady(count), length, seconds(4.0 * timeout_s));
                let case = format!("{timeout_s} s, {kind}, {count} connections: {report:?}");
                assert_eq!(report.total.lost, 0, "{case}");
                assert_eq!(report.total.unreachable, Duration::ZERO, "{case}");
                assert!(report.converged[0].is_some_and(|at| at <= seconds(4.0 * timeout_s)), "{case}");
                assert!(report.settled.beats_ratio() <= good_enough(timeout_s), "{case}");
            }
        }
    }
}

/// Everything counted, from the first second on. The promise for twenty connections is 1.12. Under 100 s it cannot be
/// kept by anybody: the margin of 3 s and the jitter alone cost 1.125 at 30 s. There it is the 1.15 that are promised
/// for what comes after learning.
#[test]
fn over_thirty_days_probes_and_canaries_hardly_count() {
    println!("seed {SEED}");
    for timeout_s in timeouts(SEED + 1, 24) {
        for (count, most) in [(1, 1.3), (20, if timeout_s < 100.0 { 1.15 } else { 1.12 })] {
            let nat = Nat::fixed(seconds(timeout_s));
            let report = simulate(smart(), nat, Clients::steady(count), DAY * 30, Duration::ZERO);
            let total = report.total;
            println!("{timeout_s:.0} s, {count} connections: {:.3}", total.total_ratio());
            assert!(total.total_ratio() <= most, "{timeout_s} s, {count} connections: {total:?}");
            assert_eq!(total.lost, 0, "{timeout_s} s, {count} connections");
        }
    }
}

/// One loss teaches: the first connection that is found dead has the others woken, and no later one is lost. With
/// several connections more than two may be dead by the time of the first finding: a mapping that was refreshed just
/// after the change is found dead a whole (old) interval later, and by then every mapping that was silent for longer
/// than the new timeout is gone, whatever anybody does. So for twenty connections the promise is: of those that the NAT
/// still kept when the others were woken, one is lost at most.
#[test]
fn after_a_halved_timeout_one_loss_teaches_and_the_others_are_woken() {
    println!("seed {SEED}");
    for timeout_s in timeouts(SEED + 2, 10).into_iter().filter(|timeout_s| *timeout_s >= 60.0) {
        let at = seconds(50.0 * timeout_s);
        let nat = Nat { change: Some((at, seconds(timeout_s / 2.0))), ..Nat::fixed(seconds(timeout_s)) };
        let length = seconds(120.0 * timeout_s);
        let alone = simulate(smart(), nat.clone(), Clients::steady(1), length, seconds(60.0 * timeout_s));
        assert!(alone.total.lost <= 2, "{timeout_s} s: {alone:?}");
        assert!(alone.settled.beats_ratio() <= good_enough(timeout_s / 2.0), "{timeout_s} s: {alone:?}");
        let report = simulate(smart(), nat, Clients::steady(20), length, seconds(60.0 * timeout_s));
        assert!(later_losses(&report, at) <= 1, "{timeout_s} s: {report:?}");
        assert!(report.settled.beats_ratio() <= good_enough(timeout_s / 2.0), "{timeout_s} s: {report:?}");
    }
}

#[test]
fn a_doubled_timeout_is_found_within_days() {
    println!("seed {SEED}");
    for timeout_s in timeouts(SEED + 3, 10).into_iter().filter(|timeout_s| *timeout_s <= 3600.0) {
        let nat = Nat { change: Some((DAY / 2, seconds(timeout_s * 2.0))), ..Nat::fixed(seconds(timeout_s)) };
        let report = simulate(smart(), nat, Clients::steady(20), DAY * 6, DAY * 2);
        assert_eq!(report.total.lost, 0, "{timeout_s} s: {report:?}");
        assert!(report.settled.beats_ratio() <= good_enough(timeout_s * 2.0), "{timeout_s} s: {report:?}");
    }
}

#[test]
fn ten_thousand_networks_are_learned_side_by_side() {
    println!("seed {SEED}");
    let mut rng = StdRng::seed_from_u64(SEED);
    let nats: Vec<Nat> = (0..10_000).map(|_| Nat::fixed(seconds(TABLE[rng.random_range(0..11)]))).collect();
    let scenario = Scenario {
        contender: smart(),
        nats,
        clients: Clients::steady(1),
        length: seconds(4.0 * 600.0),
        restarts: Vec::new(),
        settled_after: Duration::ZERO,
    };
    let report = run(&scenario, SEED);
    assert_eq!(report.total.lost, 0);
    for (network, nat) in scenario.nats.iter().enumerate() {
        let converged = report.converged[network];
        assert!(
            converged.is_some_and(|at| at <= nat.timeout * 4),
            "network {network}: {nat:?}, {converged:?}"
        );
    }
}
