//! What the two sides say to each other, on a network that forgets nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Natpulse, Ws, authority, http, ws_connect};
use crate::process::within;
use crate::raw::{RawWs, upgrade};

const PROBE: Option<&str> = Some("natpulse.probe.1");

/// Nobody listens there: a probe needs no backend.
const CONFIG: &str =
    "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"tcp://127.0.0.1:1\"\n";

async fn hear(ws: &mut Ws) -> Message {
    within("a word", ws.next()).await.unwrap().unwrap()
}

async fn hear_line(ws: &mut Ws) -> String {
    match hear(ws).await {
        Message::Text(line) => line.to_string(),
        other => panic!("instead of a line: {other:?}"),
    }
}

async fn say(ws: &mut Ws, line: &str) {
    ws.send(Message::text(line)).await.unwrap();
}

/// Asks for a silence, and returns how long it was as the far side says.
async fn silence(ws: &mut Ws, millis: u64) -> u64 {
    let begun = Instant::now();
    say(ws, &format!("silence {millis}")).await;
    let told = hear_line(ws).await;
    assert!(begun.elapsed() >= Duration::from_millis(millis), "{told} after {:?}", begun.elapsed());
    say(ws, "heard").await;
    assert_eq!(hear_line(ws).await, "done");
    let told = told.strip_prefix("silent ").expect(&told);
    told.parse().unwrap()
}

#[tokio::test]
async fn a_probe_is_answered_without_a_backend_and_is_no_session() {
    let natpulse = Natpulse::start(CONFIG).await;
    let (mut ws, response) = ws_connect(&natpulse.url("ws"), PROBE).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], PROBE.unwrap());
    let hello = hear_line(&mut ws).await;
    let words: Vec<_> = hello.split(' ').collect();
    assert_eq!((words[0], words[1].len(), words[2]), ("natpulse", 16, "127.0.0.0/24"), "{hello}");
    for millis in [300, 100] {
        let told = silence(&mut ws, millis).await;
        assert!(told >= millis, "{told} instead of {millis}");
    }
    let (mut other, _) = ws_connect(&natpulse.url("ws"), PROBE).await;
    assert_eq!(hear_line(&mut other).await, hello, "the same instance, the same network");
    let metrics = natpulse.metrics().await;
    assert_eq!(metrics["natpulse_handshakes_total{bridge=\"ws\",result=\"probe\"}"], 2.0);
    assert_eq!(metrics["natpulse_sessions_opened_total{bridge=\"ws\"}"], 0.0);
    assert_eq!(metrics["natpulse_sessions_active{bridge=\"ws\"}"], 0.0);
}

#[tokio::test]
async fn who_says_anything_else_is_sent_away() {
    let natpulse = Natpulse::start(CONFIG).await;
    for line in ["heard", "silence", "silence 0", "silence 86400001", "silence 5 5", "hello"] {
        let (mut ws, _) = ws_connect(&natpulse.url("ws"), PROBE).await;
        hear_line(&mut ws).await;
        say(&mut ws, line).await;
        match hear(&mut ws).await {
            Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1008, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    let (mut ws, _) = ws_connect(&natpulse.url("ws"), PROBE).await;
    hear_line(&mut ws).await;
    say(&mut ws, &"x".repeat(126)).await;
    assert!(!matches!(within("the end", ws.next()).await, Some(Ok(Message::Text(_)))));
}

#[tokio::test]
async fn a_drain_says_goodbye_to_probes() {
    let mut natpulse = Natpulse::start(CONFIG).await;
    let (mut ws, _) = ws_connect(&natpulse.url("ws"), PROBE).await;
    hear_line(&mut ws).await;
    say(&mut ws, "silence 86400000").await;
    natpulse.terminate();
    match hear(&mut ws).await {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("{other:?}"),
    }
    drop(ws);
    assert_eq!(natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn more_probes_than_there_is_room_for_are_refused() {
    let config = format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n");
    let natpulse = Natpulse::launch(&config, |command| {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 512 && exec \"$@\"", "sh"]);
        limited.arg(command.get_program()).args(command.get_args());
        *command = limited;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let (mut ws, _) = ws_connect(&natpulse.url("ws"), PROBE).await;
        hear_line(&mut ws).await;
        open.push(ws);
    }
    let asked = upgrade("/").replacen("\r\n\r\n", "\r\nSec-WebSocket-Protocol: natpulse.probe.1\r\n\r\n", 1);
    assert_eq!(http(natpulse.addr("ws"), &asked).await.status, 503);
}

/// Reads the head of a request or an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    within("a head", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(head).unwrap().to_lowercase()
}

#[tokio::test]
async fn natpulse_is_told_from_others_by_one_header() {
    let natpulse = Natpulse::start(&CONFIG.replace("tcp://127.0.0.1:1", "echo:")).await;
    let answer = async |request: String| {
        let mut stream = TcpStream::connect(natpulse.addr("ws")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        head(&mut stream).await
    };
    let plain = answer(upgrade("/")).await;
    assert!(!plain.contains("natpulse"), "{plain}");
    let told = answer(upgrade("/").replacen("\r\n\r\n", "\r\nNatpulse: 1\r\n\r\n", 1)).await;
    let name = told.lines().find_map(|line| line.strip_prefix("natpulse: ")).expect(&told);
    assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{told}");
}

fn near(backend: SocketAddr) -> String {
    format!(
        "[log]\nlevel = \"debug\"\n[[bridge]]\nname = \"near\"\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{backend}/\"\n[heartbeat]\nmin = \"500ms\"\nmax = \"2s\"\nreply_timeout = \"200ms\"\n"
    )
}

#[tokio::test]
async fn a_backend_that_is_no_natpulse_is_never_probed() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&near(backend.local_addr().unwrap())).await;
    let client = TcpStream::connect(natpulse.addr("near")).await.unwrap();
    let (accepted, _) = within("the dial", backend.accept()).await.unwrap();
    let ws = RawWs::accept(accepted).await.unwrap();
    natpulse.event("session opened", |_| true).await;
    drop((client, ws));
    natpulse.closed_sessions(1).await;
    assert!(natpulse.logged("probing").is_empty());
}

#[tokio::test]
async fn a_backend_that_is_natpulse_is_probed_once_for_all_sessions_and_as_long_as_there_are_any() {
    let far = Natpulse::start(&CONFIG.replace("tcp://127.0.0.1:1", "echo:")).await;
    let natpulse = Natpulse::start(&near(authority(&far.url("ws")).parse().unwrap())).await;
    let first = TcpStream::connect(natpulse.addr("near")).await.unwrap();
    natpulse.event("probing", |_| true).await;
    let second = TcpStream::connect(natpulse.addr("near")).await.unwrap();
    let proven = natpulse.event("network measured", |event| event["proven_s"].as_f64() >= Some(2.0)).await;
    assert_eq!(proven["refuted_s"].as_f64(), None, "{proven}");
    drop(first);
    natpulse.closed_sessions(1).await;
    assert!(natpulse.logged("no longer probing").is_empty());
    drop(second);
    natpulse.event("no longer probing", |_| true).await;
    assert_eq!(natpulse.logged("probing").len(), 1);
    let metrics = far.metrics().await;
    assert_eq!(metrics["natpulse_sessions_opened_total{bridge=\"ws\"}"], 2.0);
    let probes = metrics["natpulse_handshakes_total{bridge=\"ws\",result=\"probe\"}"];
    assert!((1.0..=8.0).contains(&probes), "{probes} probe connections");
    let _third = TcpStream::connect(natpulse.addr("near")).await.unwrap();
    within("probing again", async {
        while natpulse.logged("probing").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
