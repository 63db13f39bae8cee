use core::net::Ipv4Addr;

use super::*;
use crate::heartbeat::Policy;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn key(number: u32) -> NetworkKey {
    NetworkKey::of(Ipv4Addr::from_bits(number << 8).into(), 24, 48)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bracket(networks: &Networks, seat: Seat) -> super::super::Bracket {
    match networks.learned(networks.network(seat)) {
        Learned::Smart(bracket) => *bracket,
        Learned::Nothing | Learned::Wechat(_) => panic!("the policy is smart"),
    }
}

fn table() -> Networks {
    Networks::new(Settings::default(), 10)
}

#[test]
fn a_network_is_remembered_in_at_most_64_bytes() {
    assert!(size_of::<Learned>() <= 64, "{} bytes", size_of::<Learned>());
}

#[test]
fn the_network_left_longest_ago_makes_room() {
    let mut networks = Networks::new(Settings::default(), 3);
    let seats: Vec<Seat> = (0..3).map(|number| networks.join(key(number), PEER, at(0)).0).collect();
    networks.survived(seats[1], at(100), at(100));
    let _ = networks.leave(seats[1], Departure::Goodbye, at(101));
    let _ = networks.leave(seats[0], Departure::Goodbye, at(102));
    let _ = networks.join(key(3), PEER, at(103));
    assert_eq!(networks.len(), 3);
    let again = networks.join(key(1), PEER, at(104)).0;
    assert_eq!(bracket(&networks, again).proven(), at(0), "network 1 was left first, and is forgotten");
    let _ = networks.join(key(4), PEER, at(105));
    assert_eq!(networks.len(), 4, "nobody who is connected is forgotten");
}

#[test]
fn one_connection_of_a_network_tries_a_longer_silence() {
    let mut networks = table();
    let seats: Vec<Seat> = (0..20).map(|_| networks.join(key(1), PEER, at(0)).0).collect();
    let trials = |networks: &mut Networks, now| {
        seats.iter().filter(|seat| networks.plan(**seat, now).is_trial).count()
    };
    assert_eq!(trials(&mut networks, at(0)), 1);
    assert_eq!(networks.plan(seats[19], at(1)), Plan { interval: at(15), is_trial: false });
    assert!(!networks.plan(seats[0], at(2)).is_trial, "its trial was cut short by traffic");
    assert!(networks.plan(seats[7], at(3)).is_trial, "so a quieter one goes next");
}

#[test]
fn without_exploring_nobody_waits_longer_than_what_is_proven() {
    let mut networks = Networks::new(Settings { explore: false, ..Settings::default() }, 10);
    let seat = networks.join(key(1), PEER, at(0)).0;
    for minute in 0..100 {
        let plan = networks.plan(seat, at(minute * 60));
        assert!(!plan.is_trial && plan.interval <= at(15).max(bracket(&networks, seat).proven()));
    }
}

#[test]
fn what_one_connection_proved_serves_all() {
    let mut networks = table();
    let first = networks.join(key(1), PEER, at(0)).0;
    networks.survived(first, at(300), at(300));
    let second = networks.join(key(1), PEER, at(301)).0;
    let _ = networks.plan(first, at(301));
    assert_eq!(networks.plan(second, at(301)).interval, at(288), "300 s less 4%");
}

fn in_use_for_300_s() -> (Networks, Vec<Seat>) {
    let mut networks = table();
    let seats: Vec<Seat> =
        (0..4).map(|n| networks.join(key(1), Ipv4Addr::from_bits(n).into(), at(0)).0).collect();
    networks.survived(seats[0], at(300), at(300));
    (networks, seats)
}

#[test]
fn a_client_that_is_back_at_once_tells_that_the_nat_forgot_it() {
    let (mut networks, seats) = in_use_for_300_s();
    let lost = Departure::Lost { silence: at(288) };
    assert_eq!(networks.leave(seats[1], lost, at(600)), Wake::Nobody, "nobody knows yet");
    let (back, wake) = networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(610));
    assert_eq!(wake, Wake::Network(networks.network(back)));
    assert_eq!(networks.seats(networks.network(back)).count(), 4);
    assert!(networks.plan(seats[2], at(610)).interval <= at(17), "back to the floor");
}

#[test]
fn a_closed_laptop_shortens_nothing() {
    let (mut networks, seats) = in_use_for_300_s();
    let before = bracket(&networks, seats[0]);
    for seat in &seats[1..] {
        assert_eq!(networks.leave(*seat, Departure::Lost { silence: at(288) }, at(600)), Wake::Nobody);
    }
    assert_eq!(networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(700)).1, Wake::Nobody, "not prompt");
    assert_eq!(networks.join(key(1), Ipv4Addr::from_bits(9).into(), at(601)).1, Wake::Nobody, "a stranger");
    assert_eq!(bracket(&networks, seats[0]), before);
}

#[test]
fn whoever_survives_as_long_acquits_the_nat() {
    let (mut networks, seats) = in_use_for_300_s();
    let _ = networks.leave(seats[1], Departure::Lost { silence: at(288) }, at(600));
    networks.survived(seats[2], at(288), at(605));
    assert_eq!(networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(610)).1, Wake::Nobody);
}

#[test]
fn a_reset_after_a_silence_needs_no_witness() {
    let (mut networks, seats) = in_use_for_300_s();
    let reset = Departure::Reset { silence: at(280) };
    assert_eq!(networks.leave(seats[1], reset, at(600)), Wake::Network(networks.network(seats[0])));
}

#[test]
fn when_many_networks_lose_connections_at_once_no_nat_is_blamed() {
    let mut networks = Networks::new(Settings::default(), 100);
    let seats: Vec<Seat> = (0..40).map(|n| networks.join(key(n), PEER, at(0)).0).collect();
    for seat in &seats {
        networks.survived(*seat, at(300), at(300));
    }
    for number in 0..20_u8 {
        let seat = seats[usize::from(number)];
        let _ = networks.leave(seat, Departure::Lost { silence: at(288) }, at(600));
        assert_eq!(networks.join(key(number.into()), PEER, at(601)).1, Wake::Nobody);
    }
    let doubted = (0..20).map(|n| networks.join(key(n), PEER, at(602)).0);
    let doubted: Vec<Seat> = doubted.collect();
    let count = doubted.iter().filter(|seat| bracket(&networks, **seat).is_in_doubt()).count();
    assert!(count < 5, "{count} networks in doubt");
}

#[test]
fn old_knowledge_is_doubted() {
    let (mut networks, seats) = in_use_for_300_s();
    for seat in seats {
        let _ = networks.leave(seat, Departure::Goodbye, at(400));
    }
    let back = networks.join(key(1), PEER, at(8 * 24 * 3600)).0;
    assert_eq!(bracket(&networks, back).in_use(networks.settings()), at(15));
    networks.survived(back, at(300), at(8 * 24 * 3600 + 300));
    assert_eq!(bracket(&networks, back).in_use(networks.settings()), at(288));
}

#[test]
fn the_other_policies_plan_what_they_are_told() {
    let fixed = Settings { policy: Policy::Fixed { every: at(30) }, ..Settings::default() };
    let mut networks = Networks::new(fixed, 10);
    let seat = networks.join(key(1), PEER, at(0)).0;
    assert_eq!(networks.plan(seat, at(0)).interval, at(30));
    let mut networks = Networks::new(Settings { policy: Policy::Off, ..Settings::default() }, 10);
    let seat = networks.join(key(1), PEER, at(0)).0;
    assert_eq!(networks.plan(seat, at(0)).interval, Duration::MAX);
}

/// Two laptops that are closed while nothing is known yet must not bound a network.
#[test]
fn a_death_at_the_floor_is_nobodys_fault_even_if_the_timer_was_late() {
    let mut networks = table();
    let floor = networks.settings().min;
    for number in 0..4 {
        let (seat, _) = networks.join(key(1), PEER, at(1000 * number));
        let late = Departure::Lost { silence: floor + Duration::from_millis(3) };
        assert_eq!(networks.cause(seat, late), Cause::Unclear);
        let _ = networks.leave(seat, late, at(1000 * number + 20));
        let (seat, _) = networks.join(key(1), PEER, at(1000 * number + 500));
        assert_eq!(bracket(&networks, seat).refuted(), None);
        let _ = networks.leave(seat, Departure::Goodbye, at(1000 * number + 501));
    }
}
