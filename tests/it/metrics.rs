//! What is counted, as Prometheus sees it.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::harness::Natpulse;
use crate::heartbeat::peers::{session, to_records};
use crate::process::{PATIENCE, within};
use crate::raw::{BINARY, FIN, PING, PONG, RawWs};
use crate::tools::program;

/// A series of the bridge `b`, with these labels beside the bridge's.
fn series(name: &str, labels: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("natpulse_{name}{{bridge=\"b\"{comma}{labels}}}")
}

/// Waits until `holds`, and returns what was counted then.
async fn counted(
    natpulse: &Natpulse,
    what: &str,
    holds: impl Fn(&HashMap<String, f64>) -> bool,
) -> HashMap<String, f64> {
    let all = async {
        loop {
            let metrics = natpulse.metrics().await;
            if holds(&metrics) {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, all).await
}

#[tokio::test]
async fn a_session_is_counted_from_its_handshake_to_its_death() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let beats = r#"{ policy = "fixed", every = "600ms", reply_timeout = "500ms" }"#;
    let natpulse = to_records(&server, beats).await;
    let (mut client, mut backend) = session(&natpulse, &server).await;
    for size in [0, 64, 65, 300_000] {
        client.send(FIN | BINARY, &vec![7; size]).await.unwrap();
        let mut record = vec![0; 4 + size];
        within("a record", backend.read_exact(&mut record)).await.unwrap();
    }
    backend.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    let mut answered = 0;
    while answered < 2 {
        let frame = within("a frame", client.frame()).await.unwrap();
        if frame.opcode() == PING {
            client.send(FIN | PONG, &frame.payload).await.unwrap();
            answered += 1;
        }
    }
    let is_answered = series("beats_answered_total", "side=\"client\"");
    let metrics = counted(&natpulse, "two answers", |metrics| metrics[&is_answered] == 2.0).await;
    let get = |name: &str, labels: &str| metrics[&series(name, labels)];
    let up = |le: &str| get("message_size_bytes_bucket", &format!("direction=\"uplink\",le=\"{le}\""));
    assert_eq!(["64", "1024", "16384", "262144", "4194304", "+Inf"].map(up), [2.0, 3.0, 3.0, 3.0, 4.0, 4.0]);
    assert_eq!(get("message_size_bytes_sum", "direction=\"uplink\""), 300_129.0);
    assert_eq!(get("message_size_bytes_count", "direction=\"downlink\""), 1.0);
    assert_eq!(get("messages_total", "direction=\"uplink\""), 4.0);
    assert_eq!(get("bytes_total", "direction=\"uplink\""), 300_129.0);
    assert_eq!(get("sessions_active", ""), 1.0);
    assert_eq!(get("handshakes_total", "result=\"accepted\""), 1.0);
    assert_eq!(get("handshake_duration_seconds_count", ""), 1.0);
    assert_eq!(get("backend_dials_total", "result=\"connected\""), 1.0);
    assert_eq!(get("backend_dial_duration_seconds_count", ""), 1.0);
    assert_eq!(get("beats_sent_total", "side=\"client\""), 2.0);
    assert_eq!(get("beat_round_trip_seconds_count", "side=\"client\""), 2.0);
    assert_eq!(get("beat_interval_seconds_bucket", "side=\"client\",le=\"15\""), 2.0);
    assert_eq!(get("deaths_total", "cause=\"unclear\",side=\"client\""), 0.0);

    // From now on it answers nothing.
    within("the end", async { while client.frame().await.is_ok() {} }).await;
    let is_closed = series("sessions_closed_total", "reason=\"client_dead\"");
    let metrics = counted(&natpulse, "the death", |metrics| metrics[&is_closed] == 1.0).await;
    let get = |name: &str, labels: &str| metrics[&series(name, labels)];
    assert_eq!(get("beats_missed_total", "side=\"client\""), 2.0, "a beat, and once more");
    assert_eq!(get("deaths_total", "cause=\"unclear\",side=\"client\""), 1.0);
    assert_eq!(get("death_silence_seconds_count", "side=\"client\""), 1.0);
    let verdict = get("death_verdict_seconds_sum", "side=\"client\"");
    assert!((0.8..3.0).contains(&verdict), "an interval and a reply timeout: {verdict}");
    assert_eq!(get("session_duration_seconds_count", ""), 1.0);
    assert_eq!(get("sessions_active", ""), 0.0);
    natpulse.stop().await;
}

#[tokio::test]
async fn what_a_peer_does_not_take_is_counted_and_forgotten_with_it() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, r#"{ policy = "off" }"#).await;
    let (client, mut backend) = session(&natpulse, &server).await;
    let pouring = tokio::spawn(async move {
        backend.write_all(&(64_u32 << 20).to_be_bytes()).await.unwrap();
        while backend.write_all(&vec![7; 1 << 20]).await.is_ok() {}
    });
    let buffered = series("buffered_bytes", "");
    let metrics = counted(&natpulse, "a backlog", |metrics| metrics[&buffered] > 0.0).await;
    assert!(metrics[&series("backpressure_pauses_total", "direction=\"downlink\"")] >= 1.0);
    assert_eq!(metrics[&series("backpressure_pauses_total", "direction=\"uplink\"")], 0.0);
    client.abort();
    counted(&natpulse, "nothing held", |metrics| metrics[&buffered] == 0.0).await;
    pouring.abort();
    natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_or_comes_back_is_counted() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{}/\"\n[[bridge]]\nname = \"gone\"\nlisten = \"ws://127.0.0.1:0/\"\n\
         backend = {{ url = \"tcp://{gone}\", framing = \"u32be\" }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    assert!(RawWs::open(natpulse.addr("gone"), "/").await.is_err());
    let failed = "natpulse_backend_dials_total{bridge=\"gone\",result=\"failed\"}";
    counted(&natpulse, "a failed dial", |metrics| metrics[failed] == 1.0).await;

    let accept = async || RawWs::accept(server.accept().await.unwrap().0).await.unwrap();
    let connect = TcpStream::connect(natpulse.addr("b"));
    let (client, backend) = within("a session", async { tokio::join!(connect, accept()) }).await;
    backend.abort();
    let again = within("another dial", accept()).await;
    let resumed = series("reconnects_total", "result=\"resumed\"");
    counted(&natpulse, "a reconnect", |metrics| metrics[&resumed] == 1.0).await;
    drop((client, again));
    natpulse.stop().await;
}

#[tokio::test]
async fn the_process_its_places_and_its_networks_are_counted() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, r#"{ policy = "smart" }"#).await;
    let (client, backend) = session(&natpulse, &server).await;
    let learning = "natpulse_networks{side=\"client\",state=\"learning\"}";
    let metrics = counted(&natpulse, "a network", |metrics| metrics[learning] == 1.0).await;
    assert_eq!(metrics["natpulse_network_interval_seconds{percentile=\"50\",side=\"client\"}"], 15.0);
    assert_eq!(metrics["natpulse_permits_used"], 1.0);
    assert!(metrics["natpulse_permits_limit"] > 1.0);
    assert_eq!(metrics["natpulse_config_last_reload_successful"], 1.0);
    assert!(metrics["natpulse_config_last_reload_success_timestamp_seconds"] > 1.7e9);
    assert!(metrics["natpulse_runtime_lag_seconds_count"] >= 1.0);
    assert!(metrics["process_open_fds"] > 5.0 && metrics["process_resident_memory_bytes"] > 1e6);
    drop((client, backend));
    natpulse.stop().await;
}

/// Every one with an address of its own, each with a session that ends at once.
async fn clients(natpulse: SocketAddr, count: u32) {
    let mut clients = JoinSet::new();
    for number in 0..count {
        clients.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number);
            socket.bind(SocketAddr::from((address, 0))).unwrap();
            let stream = socket.connect(natpulse).await.unwrap();
            RawWs::upgrade(stream, "/").await.unwrap().leave().await;
        });
        if clients.len() == 64 {
            clients.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn no_client_makes_a_series_and_there_are_few_of_them() {
    const CLIENTS: u32 = 10_000;
    let natpulse =
        Natpulse::start("[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n")
            .await;
    let names = async || natpulse.metrics().await.into_keys().collect::<HashSet<_>>();
    let before = names().await;
    within("all clients", clients(natpulse.addr("b"), CLIENTS)).await;
    let opened = series("sessions_opened_total", "");
    let metrics = natpulse.metrics().await;
    assert_eq!(metrics[&opened], f64::from(CLIENTS));
    assert_eq!(names().await, before);
    let of_bridge = before.iter().filter(|name| name.contains("bridge=\"b\"")).count();
    println!("{of_bridge} series of a bridge, {} in all", before.len());
    assert!(of_bridge < 200 && before.len() < 2000, "{of_bridge} of the bridge, {} in all", before.len());
    natpulse.stop().await;
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let natpulse =
        Natpulse::start("[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n")
            .await;
    clients(natpulse.addr("b"), 1).await;
    let text = natpulse.exposition().await;
    let mut promtool = Command::new(program("promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, promtool.wait_with_output()).await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    natpulse.stop().await;
}
