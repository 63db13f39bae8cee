//! What `smart` is measured against.

use natpulse::heartbeat::Wechat;
use natpulse::simulate::{Comparison, compare, json, text};

use super::*;

#[test]
fn the_oracle_beats_once_per_timeout_and_loses_nobody() {
    println!("seed {SEED}");
    for timeout_s in timeouts(SEED, 10) {
        let nat = Nat::fixed(seconds(timeout_s));
        let length = seconds(500.0 * timeout_s);
        let report = simulate(Contender::Oracle, nat, Clients::steady(20), length, Duration::ZERO);
        assert_eq!(report.total.lost, 0);
        assert!((0.99..1.01).contains(&report.total.total_ratio()), "{timeout_s} s: {:?}", report.total);
    }
}

#[test]
fn a_fixed_interval_is_either_too_long_or_too_short() {
    println!("seed {SEED}");
    for every_s in [25.0, 60.0, 180.0, 240.0] {
        for timeout_s in TABLE {
            let nat = Nat::fixed(seconds(timeout_s));
            let contender = Contender::fixed(seconds(every_s));
            let length = seconds(200.0 * timeout_s);
            let report = simulate(contender, nat, Clients::steady(5), length, Duration::ZERO);
            if every_s < timeout_s {
                assert_eq!(report.total.lost, 0, "{every_s} s over {timeout_s} s");
                let expected = timeout_s / (every_s * 0.9875);
                let ratio = report.total.beats_ratio();
                assert!(
                    (0.95..1.05).contains(&(ratio / expected)),
                    "{every_s} s over {timeout_s} s: {ratio}"
                );
            } else if every_s > timeout_s * 1.03 {
                assert!(report.total.lost > 100, "{every_s} s over {timeout_s} s: {:?}", report.total);
            }
        }
    }
}

/// The published rule on one connection: three beats at 210 s, then a minute more after every five; at 390 s two beats in
/// a row go unanswered, and it settles at 330 s - 20 s.
#[test]
fn wechat_climbs_by_minutes_and_settles_below_the_last_good_interval() {
    let nat = Nat::fixed(seconds(350.0));
    let report = simulate(Contender::wechat(Wechat::default()), nat, Clients::steady(1), DAY, DAY / 2);
    assert_eq!(report.interval[0], seconds(310.0));
    assert_eq!((report.total.lost, report.settled.lost), (2, 0), "{:?}", report.total);
}

#[test]
fn wechat_tries_20_s_more_a_week_later() {
    let nat = Nat::fixed(seconds(350.0));
    let report = simulate(Contender::wechat(Wechat::default()), nat, Clients::steady(1), DAY * 8, DAY);
    assert!(report.settled.lost > 0, "{:?}: 310 s + 20 s + 60 s is too long again", report.settled);
}

/// A known fault of the published rule: its floor of 210 s, where real paths forget after 55 to 180 s.
#[test]
fn wechat_never_stops_losing_connections_below_its_floor() {
    println!("seed {SEED}");
    for timeout_s in [55.0, 100.0, 180.0] {
        let nat = Nat::fixed(seconds(timeout_s));
        let published = Contender::wechat(Wechat::default());
        let report = simulate(published, nat.clone(), Clients::steady(1), DAY, DAY / 2);
        assert!(report.settled.lost > 100, "{timeout_s} s: {:?}", report.settled);
        let lowered = Contender::wechat(Wechat { min: seconds(30.0), ..Wechat::default() });
        let report = simulate(lowered, nat, Clients::steady(1), DAY, DAY / 2);
        assert_eq!(report.settled.lost, 0, "{timeout_s} s: {:?}", report.settled);
    }
}

/// Another: it cannot see what a NAT hides that makes mappings anew for a packet from inside.
#[test]
fn wechat_is_fooled_by_a_nat_that_makes_mappings_anew() {
    let nat = Nat { recreates: true, ..Nat::fixed(seconds(300.0)) };
    let wechat =
        simulate(Contender::wechat(Wechat::default()), nat.clone(), Clients::steady(1), DAY, Duration::ZERO);
    assert!(wechat.total.unreachable > DAY / 4, "{:?}", wechat.total);
    let smart = simulate(Contender::smart(MAX, true), nat, Clients::steady(1), DAY, Duration::ZERO);
    assert_eq!(smart.total.unreachable, Duration::ZERO);
}

/// Summed over timeouts: on a single one, wechat with the right minimum is as good as anybody.
#[test]
fn smart_is_better_than_wechat_on_every_measure() {
    println!("seed {SEED}");
    for count in [1, 20] {
        let over_all = |contender: Contender| {
            let reports = timeouts(SEED, 20).into_iter().map(|timeout_s| {
                let settled_after = seconds(60.0 * timeout_s);
                let (nat, clients) = (Nat::fixed(seconds(timeout_s)), Clients::steady(count));
                simulate(contender.clone(), nat, clients, settled_after * 3, settled_after)
            });
            let reports: Vec<Report> = reports.collect();
            let lost: u64 = reports.iter().map(|report| report.total.lost).sum();
            let unreachable: Duration = reports.iter().map(|report| report.total.unreachable).sum();
            let never = reports.iter().filter(|report| report.converged[0].is_none()).count();
            let beats: f64 = reports.iter().map(|report| report.settled.total_ratio()).sum();
            println!("{count}: {lost} lost, {unreachable:.0?}, {never} never converged, {beats:.2} beats");
            (lost, unreachable, never, beats)
        };
        let smart = over_all(Contender::smart(MAX, true));
        for min_s in [210.0, 30.0] {
            let rule = Wechat { min: seconds(min_s), ..Wechat::default() };
            let wechat = over_all(Contender::wechat(rule));
            assert!(smart.0 < wechat.0 && smart.1 < wechat.1 && smart.2 < wechat.2 && smart.3 < wechat.3);
        }
    }
}

#[test]
fn the_table_fits_a_terminal_and_the_json_is_json() {
    let comparison = Comparison { timeout: seconds(120.0), connections: 3, length: DAY / 4, seed: SEED };
    let rows = compare(&comparison);
    let table = text(&comparison, &rows);
    assert!(table.lines().all(|line| line.len() <= 120), "{table}");
    let parsed: serde_json::Value = serde_json::from_str(&json(&comparison, &rows)).unwrap();
    assert_eq!(parsed.as_array().unwrap().len(), rows.len());
    assert_eq!(compare(&comparison), rows, "the same seed gives the same rows");
}
