use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;

use proptest::prelude::*;

use super::rates::Rates;
use super::*;

const CEILINGS: Ceilings = Ceilings {
    sessions: 8,
    sessions_per_address: 3,
    sessions_per_network: 5,
    handshakes: 6,
    handshakes_per_address: 2,
    handshake_rate: 10,
    handshake_burst: 4,
    prefixes: (24, 48),
};

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(CEILINGS);
    assert_eq!(ledger.add(OfBridge::default()), 0);
    assert_eq!(ledger.add(OfBridge { sessions: Some(4), sessions_per_address: Some(2) }), 1);
    ledger
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let mut rates = Rates::new(10, 4);
    let who = Block::subscriber(host(1));
    let at = Duration::from_millis;
    let taken = |rates: &mut Rates, now| (0..10).filter(|_| rates.take(who, now)).count();
    assert_eq!(taken(&mut rates, at(0)), 4);
    assert_eq!(taken(&mut rates, at(99)), 0);
    assert_eq!(taken(&mut rates, at(100)), 1);
    assert_eq!(taken(&mut rates, at(350)), 2);
    assert_eq!(taken(&mut rates, at(399)), 0);
    assert_eq!(taken(&mut rates, at(400)), 1, "half a token is kept");
    assert_eq!(taken(&mut rates, at(60_000)), 4, "no more than the burst");
    // A clock that goes back gives nothing.
    assert_eq!(taken(&mut rates, at(0)), 0);
    assert!(rates.take(Block::subscriber(host(2)), at(0)), "another's is another bucket");
}

#[test]
fn a_whole_64_of_ipv6_is_one_address() {
    let mut rates = Rates::new(1, 1);
    let take = |rates: &mut Rates, text| rates.take(Block::subscriber(address(text)), Duration::ZERO);
    assert!(take(&mut rates, "2001:db8:0:1::1"));
    assert!(!take(&mut rates, "2001:db8:0:1:ffff::2"));
    assert!(take(&mut rates, "2001:db8:0:2::1"));
    assert!(take(&mut rates, "192.0.2.7"));
    assert!(!take(&mut rates, "::ffff:192.0.2.7"));
}

#[test]
fn buckets_are_forgotten_when_they_are_full_and_when_there_are_too_many() {
    let mut rates = Rates::new(10, 4);
    let who = |number: u32| Block::subscriber(Ipv4Addr::from_bits(number).into());
    for number in 0..1_000_000 {
        assert!(rates.take(who(number), Duration::from_micros(u64::from(number))));
    }
    assert!(rates.len() <= 2 << 16, "{}", rates.len());
    rates.take(who(0), Duration::from_secs(10));
    rates.take(who(0), Duration::from_secs(20));
    assert!(rates.len() <= 2, "{}", rates.len());
}

#[test]
fn no_bucket_is_forgotten_before_it_is_full() {
    let mut rates = Rates::new(1, 10);
    let who = Block::subscriber(host(1));
    // At any pace slower than the bucket fills, and any faster, what goes is the burst and what has come in.
    for (step_ms, most) in [(10_u64, 70), (500, 70), (999, 70), (1_000, 60), (5_000, 12)] {
        let begun = 1_000_000 * step_ms;
        let taken = (0..60_000 / step_ms)
            .filter(|step| rates.take(who, Duration::from_millis(begun + step * step_ms)))
            .count();
        assert!(taken <= most, "{taken} at one each {step_ms} ms");
    }
}

#[test]
fn a_newcomer_takes_the_place_of_the_oldest() {
    let mut ledger = ledger();
    let (first, none) = ledger.begin(Some(host(1)));
    assert_eq!(none, None);
    let (second, none) = ledger.begin(Some(host(1)));
    assert_eq!(none, None);
    // Two of one address: its own oldest goes.
    assert_eq!(ledger.begin(Some(host(1))).1, Some(first));
    for number in 2..=4 {
        assert_eq!(ledger.begin(Some(host(number))).1, None);
    }
    assert_eq!(ledger.begin(None).1, None, "whose address is not known yet");
    assert_eq!(ledger.begin(Some(host(5))).1, Some(second), "six in all: the oldest of anyone goes");
    ledger.end(second);
    assert_eq!(ledger.len()[0], 6, "it was out already");
}

#[test]
fn each_limit_of_sessions_is_kept_and_given_back() {
    let mut ledger = ledger();
    for _ in 0..3 {
        assert_eq!(ledger.open(0, Some(host(1))), Ok(()));
    }
    assert_eq!(ledger.open(0, Some(host(1))), Err(Excess::Address));
    assert_eq!(ledger.open(1, Some(host(2))), Ok(()));
    assert_eq!(ledger.open(1, Some(host(2))), Ok(()));
    assert_eq!(ledger.open(1, Some(host(2))), Err(Excess::BridgeAddress));
    assert_eq!(ledger.open(0, Some(host(3))), Err(Excess::Network));
    assert_eq!(ledger.open(1, Some(address("198.51.100.1"))), Ok(()));
    assert_eq!(ledger.open(1, None), Ok(()), "a Unix socket");
    assert_eq!(ledger.open(1, None), Err(Excess::Bridge));
    ledger.close(1, Some(host(2)));
    assert_eq!(ledger.open(1, Some(host(3))), Ok(()));
    for _ in 0..3 {
        ledger.close(0, Some(host(1)));
    }
    for who in [Some(host(2)), Some(host(3)), Some(address("198.51.100.1")), None] {
        ledger.close(1, who);
    }
    assert_eq!(ledger.len()[..3], [0, 0, 0]);
}

#[test]
fn all_sessions_together_have_a_limit() {
    let mut ledger = ledger();
    for _ in 0..8 {
        assert_eq!(ledger.open(0, None), Ok(()));
    }
    assert_eq!(ledger.open(0, None), Err(Excess::All));
    ledger.close(0, None);
    assert_eq!(ledger.open(0, None), Ok(()));
}

#[test]
fn ceilings_and_bridges_change_under_what_is_taken() {
    let mut ledger = ledger();
    for _ in 0..3 {
        assert_eq!(ledger.open(0, Some(host(1))), Ok(()));
    }
    ledger.set(Ceilings { sessions_per_address: 4, ..CEILINGS });
    assert_eq!(ledger.open(0, Some(host(1))), Ok(()));
    ledger.set(Ceilings { sessions_per_address: 1, ..CEILINGS });
    assert_eq!(ledger.open(0, Some(host(1))), Err(Excess::Address), "who has more keeps it, and gets none");
    ledger.remove(0);
    assert_eq!(ledger.open(0, Some(host(2))), Err(Excess::Bridge), "there is no such bridge");
    let again = ledger.add(OfBridge::default());
    assert_eq!(again, 2, "a number of its own");
    for _ in 0..4 {
        ledger.close(0, Some(host(1)));
    }
    assert_eq!(ledger.open(again, Some(host(1))), Ok(()));
    ledger.close(again, Some(host(1)));
    assert_eq!(ledger.len()[..3], [0, 0, 0]);
}

#[test]
fn another_rate_holds_from_then_on() {
    let mut ledger = ledger();
    let knocks =
        |ledger: &mut Ledger| (0..10).filter(|_| ledger.knock(host(1), Duration::ZERO).is_ok()).count();
    assert_eq!(knocks(&mut ledger), 4);
    ledger.set(Ceilings { sessions: 9, ..CEILINGS });
    assert_eq!(knocks(&mut ledger), 0, "nobody is forgiven for another ceiling");
    ledger.set(Ceilings { handshake_burst: 6, ..CEILINGS });
    assert_eq!(knocks(&mut ledger), 6);
}

proptest! {
    /// Whatever happens in whatever order, nobody has more than a limit, and nothing is remembered of who has gone.
    #[test]
    fn nobody_has_more_than_a_limit(deeds in prop::collection::vec((0..4_u8, 0..8_u8, 0..2_usize), 0..200)) {
        let mut ledger = ledger();
        let (mut handshakes, mut sessions) = (Vec::new(), Vec::new());
        let whose = |who: u8| match who {
            7 => None,
            6 => Some(Ipv6Addr::new(0x2001, 0xdb8, 0, who.into(), 1, 2, 3, 4).into()),
            who => Some(host(who)),
        };
        for (deed, who, bridge) in deeds {
            match deed {
                0 => {
                    let (number, displaced) = ledger.begin(whose(who));
                    handshakes.retain(|(other, _)| Some(*other) != displaced);
                    handshakes.push((number, who));
                }
                1 => {
                    if let Some((number, _)) = handshakes.pop() {
                        ledger.end(number);
                    }
                }
                2 => {
                    if ledger.open(bridge, whose(who)).is_ok() {
                        sessions.push((bridge, who));
                    }
                }
                _ => {
                    if let Some((bridge, who)) = sessions.pop() {
                        ledger.close(bridge, whose(who));
                    }
                }
            }
            let mut counts: HashMap<u8, (usize, usize)> = HashMap::new();
            for (_, who) in &handshakes {
                counts.entry(*who).or_default().0 += 1;
            }
            for (_, who) in &sessions {
                counts.entry(*who).or_default().1 += 1;
            }
            counts.remove(&7);
            prop_assert!(handshakes.len() <= 6 && counts.values().all(|(begun, open)| *begun <= 2 && *open <= 3));
            prop_assert!(sessions.iter().filter(|(bridge, _)| *bridge == 1).count() <= 4);
        }
        handshakes.iter().for_each(|(number, _)| ledger.end(*number));
        sessions.iter().for_each(|(bridge, who)| ledger.close(*bridge, whose(*who)));
        prop_assert_eq!(&ledger.len()[..3], &[0, 0, 0]);
    }
}
