use std::net::Ipv4Addr;
use std::sync::Weak;

use super::*;

fn bridge() -> Arc<Bridge> {
    Arc::new(Bridge {
        name: "b".into(),
        listen: "unix:///a".into(),
        backend: "echo:".into(),
        networks: [Weak::new(), Weak::new()],
    })
}

fn record(sessions: &Sessions, client: u32) -> Arc<Record> {
    let client = SocketAddr::from((Ipv4Addr::from_bits(client), 1));
    sessions.record(sessions.number(), &bridge(), Some(client), Waker::noop().clone())
}

#[test]
fn whoever_lists_ten_thousand_sessions_holds_up_nobody() {
    const SESSIONS: u64 = 10_000;
    let sessions = Sessions::new(None);
    let records: Vec<_> = (1..=SESSIONS).map(|client| record(&sessions, client as u32)).collect();
    let mut listed: Vec<_> = records.iter().map(|record| Some(sessions.open(record, || None))).collect();
    // Some have gone, and left their places.
    listed.iter_mut().step_by(3).for_each(|listed| drop(listed.take()));
    let mut seen = Vec::new();
    sessions.look(|some| {
        assert!(some.len() <= LISTED_AT_ONCE);
        seen.extend(some.iter().map(|record| record.number()));
        // This would wait for ever if the table were still locked.
        drop(sessions.open(&record(&sessions, 0), || None));
    });
    let there = (1..=SESSIONS).filter(|number| (number - 1) % 3 > 0);
    seen.sort_unstable();
    assert_eq!(seen, there.collect::<Vec<_>>());
    assert!(sessions.find(2).is_some_and(|record| Arc::ptr_eq(&record, &records[1])));
    assert!(sessions.find(1).is_none());
    drop(listed);
    assert!(sessions.all().is_empty());
}

fn die(sessions: &Sessions, record: &Record) {
    sessions.died(record, Party::Client, Cause::Nat, Duration::from_secs(60), None);
}

#[test]
fn the_latest_deaths_are_shown_and_each_client_comes_back_once() {
    let sessions = Sessions::new(None);
    let records: Vec<_> = (0..120).map(|client| record(&sessions, client / 2)).collect();
    records.iter().for_each(|record| die(&sessions, record));
    let numbers = |deaths: Vec<Death>| deaths.iter().map(|death| death.session).collect::<Vec<_>>();
    assert_eq!(numbers(sessions.deaths()), (21..=120).rev().collect::<Vec<_>>());
    // Two died behind this address, and three come.
    for _ in 0..3 {
        sessions.open(&record(&sessions, 30), || None);
    }
    let back = sessions.deaths().into_iter().filter(|death| death.returned.is_some()).collect();
    assert_eq!(numbers(back), [62, 61]);
}

#[test]
fn a_client_is_waited_for_a_day_and_no_more_than_so_many_are() {
    let at = |seconds| Duration::from_secs(seconds);
    let who = |client| (Arc::from("b"), Ipv4Addr::from_bits(client).into());
    let death = |session, client: u32, at| Death {
        at,
        session,
        bridge: bridge(),
        side: Party::Client,
        client: Some((Ipv4Addr::from_bits(client), 1).into()),
        network: None,
        cause: Cause::Unclear,
        silence: Duration::ZERO,
        last_message: None,
        returned: None,
    };
    let mut deaths = Deaths::default();
    deaths.add(death(1, 1, at(0)));
    deaths.add(death(2, 2, at(0)));
    assert_eq!(deaths.client_is_back(&who(1), at(24 * 3600)), Some(1));
    assert_eq!(deaths.client_is_back(&who(2), at(24 * 3600 + 1)), None);
    assert_eq!(deaths.client_is_back(&(Arc::from("c"), who(2).1), at(0)), None, "another bridge");

    let mut deaths = Deaths::default();
    for client in 0..10_001 {
        deaths.add(death(client.into(), client, at(0)));
    }
    assert_eq!(deaths.client_is_back(&who(0), at(1)), None, "the first made room for the last");
    assert_eq!(deaths.client_is_back(&who(1), at(1)), Some(1));
    assert_eq!(deaths.client_is_back(&who(10_000), at(1)), Some(10_000));
}
