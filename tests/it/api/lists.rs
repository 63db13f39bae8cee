//! Every path, with sessions that are really there.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{error, get, items, local, once};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs};

/// Bridges `one` and `two` to the built-in echo service.
async fn start() -> Natpulse {
    let bridge = |name: &str| {
        format!("[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:0/{name}\"\nbackend = \"echo:\"\n")
    };
    Natpulse::start(&(bridge("one") + &bridge("two"))).await
}

/// A session over which so many messages of this size have gone and come back.
async fn open(natpulse: &Natpulse, bridge: &str, messages: usize, size: usize) -> RawWs {
    let mut client = RawWs::open(natpulse.addr(bridge), &format!("/{bridge}")).await.unwrap();
    for _ in 0..messages {
        client.send(FIN | BINARY, &vec![7; size]).await.unwrap();
        assert_eq!(within("the echo", client.message()).await.unwrap().1.len(), size);
    }
    client
}

fn ids(list: &Value) -> Vec<u64> {
    items(list).iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_session_is_told_of_from_its_opening_to_its_end() {
    let natpulse = start().await;
    let client = open(&natpulse, "one", 3, 10).await;
    let address = client.io.get_ref().local_addr().unwrap().to_string();
    // A message is counted once it has been sent: its receiver may be quicker than who counts.
    let is_counted = |told: &Value| told["downlink"]["messages"] == 3;
    let list = once(&natpulse, "/api/sessions", |list| {
        is_counted(&items(list)[0]) && items(list)[0]["last_message"].is_number()
    })
    .await;
    assert_eq!((&list["total"], &list["offset"]), (&json!(1), &json!(0)));
    let session = &items(&list)[0];
    assert_eq!(session["id"], 1);
    assert_eq!(session["bridge"], "one");
    assert_eq!(session["client"], address);
    assert_eq!(session["uplink"], json!({ "messages": 3, "bytes": 30 }));
    assert_eq!(session["downlink"], session["uplink"]);
    let time = |name: &str| session[name].as_f64().unwrap();
    assert!(time("opened") > 1.7e9 && time("opened") <= time("last_message"), "{session}");
    // The shortest interval, of which the first beat may be half as early; the client tries a little more.
    let interval = |side: &str| session["interval_s"][side].as_f64().unwrap();
    assert!((15.0..17.0).contains(&interval("client")), "{session}");
    assert!((7.5..=15.0).contains(&interval("backend")), "{session}");
    assert_eq!(get(&natpulse, "/api/sessions/1").await, *session);

    let status = once(&natpulse, "/api/status", is_counted).await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["is_draining"], false);
    let sessions = &status["sessions"];
    assert_eq!(
        (&sessions["active"], &sessions["opened"], &sessions["closed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert!(sessions["limit"].as_u64().unwrap() > 1);
    assert_eq!(status["uplink"], session["uplink"]);
    assert_eq!(status["downlink"], session["downlink"]);
    assert_eq!(status["beats"], json!({ "sent": 0, "answered": 0, "missed": 0 }));
    assert_eq!(status["deaths"], json!({ "client": 0, "backend": 0 }));
    assert_eq!(status["networks"], json!({ "learning": 1, "settled": 0 }));
    assert!(status["started"].as_f64().unwrap() <= time("opened"));
    assert!(time("last_message") <= status["now"].as_f64().unwrap());

    let bridges = get(&natpulse, "/api/bridges").await;
    assert_eq!(bridges["total"], 2);
    let [one, two] = items(&bridges) else { panic!("{bridges}") };
    assert_eq!(
        (&one["name"], &one["listen"], &one["backend"]),
        (&json!("one"), &json!(natpulse.url("one")), &json!("echo:"))
    );
    assert_eq!((&one["active"], &one["opened"], &one["closed"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&one["uplink"], &one["downlink"]), (&session["uplink"], &session["downlink"]));
    assert_eq!((&two["active"], &two["opened"]), (&json!(0), &json!(0)));
    assert_eq!(one["beats"]["client"], json!({ "sent": 0, "answered": 0, "missed": 0 }));
    assert_eq!(one["deaths"], json!({ "client": 0, "backend": 0 }));

    let networks = get(&natpulse, "/api/networks").await;
    let expected = json!({
        "side": "client", "name": "127.0.0.0/24", "connections": 1, "policy": "smart", "proven_s": null,
        "broken_s": null, "in_use_s": 15.0, "is_settled": false, "is_in_doubt": false,
    });
    assert_eq!(networks, json!({ "total": 1, "offset": 0, "items": [expected] }));

    client.leave().await;
    natpulse.closed_sessions(1).await;
    assert_eq!(get(&natpulse, "/api/sessions").await, json!({ "total": 0, "offset": 0, "items": [] }));
    assert_eq!(local(&natpulse, "GET", "/api/sessions/1").await.status, 404);
    assert_eq!(get(&natpulse, "/api/status").await["sessions"]["closed"], 1);
    natpulse.stop().await;
}

#[tokio::test]
async fn what_a_network_has_shown_is_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let beats =
        r#"{ policy = "smart", min = "1s", max = "4s", margin_min = "100ms", reply_timeout = "900ms" }"#;
    let natpulse = crate::heartbeat::peers::to_records(&server, beats).await;
    let (mut client, backend) = crate::heartbeat::peers::session(&natpulse, &server).await;
    let answering = async {
        while let Ok(ping) = client.frame().await {
            client.send(FIN | crate::raw::PONG, &ping.payload).await.unwrap();
        }
    };
    let is_proven = |item: &Value| item["proven_s"].as_f64().is_some_and(|proven| proven >= 1.0);
    let proven = |list: &Value| items(list).first().is_some_and(is_proven);
    let list = tokio::select! {
        () = answering => panic!("the client was hung up on"),
        list = once(&natpulse, "/api/networks", proven) => list,
    };
    let in_use = items(&list)[0]["in_use_s"].as_f64().unwrap();
    assert!((1.0..=4.0).contains(&in_use), "{list}");
    let answered = |status: &Value| status["beats"]["answered"].as_u64().unwrap() >= 1;
    let status = once(&natpulse, "/api/status", answered).await;
    assert!(status["beats"]["sent"].as_u64() >= status["beats"]["answered"].as_u64(), "{status}");
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_cut_as_asked() {
    let natpulse = start().await;
    let mut clients = Vec::new();
    for (bridge, messages, size) in [("one", 2, 10), ("two", 1, 1000), ("one", 3, 1), ("two", 0, 0)] {
        clients.push(open(&natpulse, bridge, messages, size).await);
    }
    let is_counted = |list: &Value| list["total"] == 4 && items(list)[2]["downlink"]["messages"] == 3;
    once(&natpulse, "/api/sessions", is_counted).await;
    let ports: Vec<_> =
        clients.iter().map(|client| client.io.get_ref().local_addr().unwrap().port()).collect();
    let mut by_port = vec![1, 2, 3, 4];
    by_port.sort_by_key(|id| ports[*id as usize - 1]);
    let of_third = format!("filter=127.0.0.1:{}", ports[2]);
    let cases = [
        ("", 4, vec![1, 2, 3, 4]),
        ("order=desc", 4, vec![4, 3, 2, 1]),
        ("sort=id&order=asc", 4, vec![1, 2, 3, 4]),
        ("sort=opened", 4, vec![1, 2, 3, 4]),
        // Whoever is equal keeps the order of opening.
        ("sort=bridge", 4, vec![1, 3, 2, 4]),
        ("sort=bridge&order=desc", 4, vec![2, 4, 1, 3]),
        ("sort=client", 4, by_port),
        ("sort=messages&order=desc", 4, vec![3, 1, 2, 4]),
        ("sort=bytes&order=desc", 4, vec![2, 1, 3, 4]),
        ("sort=last_message&limit=1", 4, vec![4]),
        ("limit=2", 4, vec![1, 2]),
        ("limit=2&offset=3", 4, vec![4]),
        ("offset=4", 4, vec![]),
        ("offset=18446744073709551615", 4, vec![]),
        ("filter=TWO", 2, vec![2, 4]),
        ("filter=t%77o&limit=1&offset=1", 2, vec![4]),
        ("filter=three", 0, vec![]),
        (&of_third, 1, vec![3]),
    ];
    for (query, total, expected) in cases {
        let list = get(&natpulse, &format!("/api/sessions?{query}")).await;
        assert_eq!((ids(&list), &list["total"]), (expected, &json!(total)), "{query}");
    }
    for (query, expected) in [
        ("", ["one", "two"]),
        ("order=desc", ["two", "one"]),
        ("sort=active&order=desc&filter=o", ["one", "two"]),
        ("sort=opened", ["one", "two"]),
    ] {
        let list = get(&natpulse, &format!("/api/bridges?{query}")).await;
        let names: Vec<_> = items(&list).iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
    }
    assert_eq!(get(&natpulse, "/api/networks?filter=10.&sort=in_use").await["total"], 0);
    assert_eq!(get(&natpulse, "/api/networks?filter=127.&sort=proven&order=desc").await["total"], 1);
    drop(clients);
    natpulse.stop().await;
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_told_page_by_page() {
    const SESSIONS: usize = 150;
    let natpulse = start().await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(open(&natpulse, "one", 0, 0).await);
    }
    once(&natpulse, "/api/sessions", |list| list["total"] == SESSIONS).await;
    let mut seen = Vec::new();
    while seen.len() < SESSIONS {
        let list = get(&natpulse, &format!("/api/sessions?offset={}", seen.len())).await;
        assert_eq!(items(&list).len(), (SESSIONS - seen.len()).min(100));
        seen.extend(ids(&list));
    }
    assert_eq!(seen, (1..=SESSIONS as u64).collect::<Vec<_>>());
    assert_eq!(items(&get(&natpulse, "/api/sessions?limit=1000").await).len(), SESSIONS);
    drop(clients);
    natpulse.stop().await;
}

#[tokio::test]
async fn a_parameter_that_breaks_its_rule_is_named() {
    let natpulse = start().await;
    for (path, said) in [
        ("/api/sessions?limit=0", "limit: 0: must be 1 to 1000"),
        ("/api/sessions?limit=1001", "limit: 1001: must be 1 to 1000"),
        ("/api/bridges?offset=x", "offset: x: must be a whole number"),
        ("/api/networks?order=up", "order: up: must be asc or desc"),
        ("/api/bridges?sort=bytes", "sort: bytes: must be one of name, active, opened"),
        ("/api/networks?sort=id", "sort: id: must be one of name, connections, proven, in_use"),
        ("/api/deaths?sort=cause", "sort: cause: must be one of at"),
        ("/api/deaths?page=1", "page: no such parameter: there is offset, limit, filter, sort, order"),
        ("/api/sessions?filter=%zz", "%zz: must be percent-encoded UTF-8"),
    ] {
        let page = local(&natpulse, "GET", path).await;
        assert_eq!((page.status, error(&page)), (400, said.to_owned()), "{path}");
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn what_there_is_not_is_answered_with_what_there_is() {
    let natpulse = start().await;
    for path in ["/index.html", "/api", "/api/", "/api/status/", "/api/session"] {
        let page = local(&natpulse, "GET", path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(error(&page).contains("/api/sessions/{id}"), "{}", page.body);
    }
    for id in ["0", "1", "-1", "one", "", "1/2"] {
        let page = local(&natpulse, "GET", &format!("/api/sessions/{id}")).await;
        assert_eq!((page.status, error(&page)), (404, format!("{id}: no such session is open")));
    }
    let looks = ["/", "/healthz", "/metrics", "/api/status", "/api/events", "/api/bridges", "/api/sessions"];
    for path in looks.into_iter().chain(["/api/networks", "/api/deaths", "/api/openapi.json"]) {
        let page = local(&natpulse, "POST", path).await;
        assert_eq!(page.status, 405, "{path}");
        assert!(page.head.contains("\r\nallow: get, head\r\n"), "{}", page.head);
        assert_eq!(error(&page), "there is GET, HEAD here");
        let page = local(&natpulse, "HEAD", path).await;
        assert_eq!((page.status, page.body.as_str()), (200, ""), "{path}");
    }
    let page = local(&natpulse, "PUT", "/api/sessions/1").await;
    assert_eq!(page.status, 405);
    assert!(page.head.contains("\r\nallow: get, head, delete\r\n"), "{}", page.head);
    natpulse.stop().await;
}
