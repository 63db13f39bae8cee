//! Answers for the tests.

use super::answers::{
    Beats, Bridge, Death, Deaths, Intervals, List, Network, Networks, Session, Sessions, Snapshot, Status,
    Traffic,
};
use super::query::{Query, Sort};

const NOW: f64 = 1_763_700_000.5;

/// A natpulse with so many sessions on two bridges, all of them in the answer.
pub(super) fn snapshot(sessions: u64) -> Snapshot {
    let traffic = |messages, bytes| Traffic { messages, bytes };
    let session = |id: u64| Session {
        id,
        bridge: ["chat", "device-gateway-eu-central"][id as usize % 2].to_owned(),
        client: [None, Some(format!("[2001:db8:1234:5678:9abc:def0:1234:{id:x}]:6{:04}", id % 5000))]
            [usize::from(!id.is_multiple_of(7))]
        .clone(),
        opened: NOW - 3.7 * id as f64,
        last_message: (!id.is_multiple_of(5)).then_some(NOW - 0.25 * id as f64),
        uplink: traffic(id * 977, id * 1_234_567),
        downlink: traffic(id * 31, id << 20),
        interval_s: Intervals { client: Some(228.5), backend: (id.is_multiple_of(2)).then_some(57.0) },
    };
    let network = |name: &str, connections, proven_s, broken_s| Network {
        side: "client".to_owned(),
        name: name.to_owned(),
        connections,
        policy: "smart".to_owned(),
        proven_s,
        broken_s,
        in_use_s: proven_s.map(|proven: f64| proven * 0.96),
        is_settled: broken_s.is_some(),
        is_in_doubt: connections > 100,
    };
    let death = |session: u64, cause: &str, silence_s| Death {
        at: NOW - session as f64 * 61.0,
        session,
        bridge: "chat".to_owned(),
        side: "client".to_owned(),
        client: Some("192.0.2.17:40001".to_owned()),
        network: Some("192.0.2.0/24".to_owned()),
        cause: cause.to_owned(),
        silence_s,
        returned: session.is_multiple_of(2).then_some(NOW - session as f64 * 60.0),
    };
    let bridge = |name: &str, active| Bridge {
        name: name.to_owned(),
        listen: format!("ws://0.0.0.0:8080/{name}"),
        backend: "tcp://127.0.0.1:9000".to_owned(),
        active,
        opened: active + 9990,
        uplink: traffic(123_456, 7_890_123),
        downlink: traffic(99_999, 1 << 33),
        deaths: Deaths { client: 12, backend: 3 },
    };
    Snapshot {
        query: Query {
            sort: Sort::Opened,
            is_descending: true,
            filter: String::new(),
            offset: 0,
            limit: 1000,
        },
        status: Status {
            version: "0.1.0".to_owned(),
            started: NOW - 93_784.0,
            now: NOW,
            is_draining: false,
            sessions: Sessions { active: sessions, opened: sessions + 9990, closed: 9990, limit: 9840 },
            uplink: traffic(123_456, 7_890_123),
            downlink: traffic(99_999, 1 << 33),
            beats: Beats { sent: 4711, answered: 4690, missed: 21 },
            deaths: Deaths { client: 12, backend: 3 },
            networks: Networks { learning: 1, settled: 2 },
        },
        bridges: list(2, vec![bridge("chat", sessions), bridge("device-gateway-eu-central", 0)]),
        networks: list(
            3,
            vec![
                network("192.0.2.0/24", 1412, Some(238.4), Some(241.0)),
                network("2001:db8:1234::/48", 17, Some(57.0), None),
                network("198.51.100.0/24", 2, None, None),
            ],
        ),
        deaths: list(
            4,
            vec![
                death(3, "nat", 241.6),
                death(6, "unclear", 3.0),
                death(9, "reset", 12.0),
                death(12, "nat", 299.0),
            ],
        ),
        sessions: list(sessions, (1..=sessions).map(session).collect()),
    }
}

fn list<T>(total: u64, items: Vec<T>) -> List<T> {
    List { total, offset: 0, items }
}
