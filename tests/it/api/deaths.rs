//! Ends that die, and come back.

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{get, items, once};
use crate::heartbeat::peers::{session, to_records};
use crate::process::within;
use crate::raw::{BINARY, FIN, PING};

#[tokio::test]
async fn a_death_is_told_with_its_cause_and_the_clients_return() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let beats =
        r#"{ policy = "smart", min = "1s", max = "2s", margin_min = "100ms", reply_timeout = "900ms" }"#;
    let natpulse = to_records(&server, beats).await;
    let (mut silent, mut backend) = session(&natpulse, &server).await;
    let address = silent.io.get_ref().local_addr().unwrap().to_string();
    silent.send(FIN | BINARY, b"a").await.unwrap();
    within("the record", backend.read_exact(&mut [0; 5])).await.unwrap();
    while let Ok(frame) = within("the verdict", silent.frame()).await {
        assert_eq!(frame.opcode(), PING);
    }
    let list = once(&natpulse, "/api/deaths", |list| list["total"] == 1).await;
    let death = &items(&list)[0];
    assert_eq!((death["session"].as_u64(), death["bridge"].as_str()), (Some(1), Some("b")));
    assert_eq!((death["side"].as_str(), death["client"].as_str()), (Some("client"), Some(&address[..])));
    assert_eq!((death["network"].as_str(), death["cause"].as_str()), (Some("127.0.0.0/24"), Some("nat")));
    assert_eq!(death["returned"], Value::Null);
    let silence = death["silence_s"].as_f64().unwrap();
    let [last_message, at] = ["last_message", "at"].map(|name| death[name].as_f64().unwrap());
    assert!((0.4..2.0).contains(&silence) && last_message + silence < at, "{death}");
    let status = get(&natpulse, "/api/status").await;
    assert_eq!(status["deaths"]["client"], 1);
    drop((silent, backend));

    // The next death from the same address is of the one who has come back.
    let (mut back, backend) = session(&natpulse, &server).await;
    let is_back = |list: &Value| items(list)[0]["returned"].is_number();
    let list = once(&natpulse, "/api/deaths?filter=NAT", is_back).await;
    let returned = items(&list)[0]["returned"].as_f64().unwrap();
    assert!(returned >= at, "{list}");
    while within("the verdict", back.frame()).await.is_ok() {}
    let list = once(&natpulse, "/api/deaths", |list| list["total"] == 2).await;
    let sessions: Vec<_> = items(&list).iter().map(|death| death["session"].as_u64().unwrap()).collect();
    assert_eq!(sessions, [2, 1], "newest first");
    assert_eq!(items(&list)[0]["returned"], Value::Null);
    let oldest = get(&natpulse, "/api/deaths?order=asc&limit=1").await;
    assert_eq!(items(&oldest)[0]["session"], 1);
    for (filter, total) in [("127.0.0.0/24", 2), (&address[..], 1), ("nobody", 0), ("B", 2)] {
        assert_eq!(get(&natpulse, &format!("/api/deaths?filter={filter}")).await["total"], total, "{filter}");
    }
    drop((back, backend));
    natpulse.stop().await;
}
