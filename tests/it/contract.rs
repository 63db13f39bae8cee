//! What the program promises at its edges: who may come in, half-closed connections, counting, leaving.

use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::backends::Backend;
use crate::harness::{Natpulse, http, http_get, ws_connect};
use crate::process::{Process, within};
use crate::tools::TempDir;

/// A bridge named "ws" at `/ws` to a backend, in the configuration's words.
fn ws_bridge(backend: &str) -> String {
    format!("[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/ws\"\nbackend = {backend}\n")
}

const ECHO: &str = "\"echo:\"";

/// An upgrade request as it should be, to be spoilt by a test.
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn only_version_13_with_a_key_of_16_bytes_opens_a_session() {
    let natpulse = Natpulse::start(&ws_bridge(ECHO)).await;
    let cases = [
        ("an old version", UPGRADE.replace("Version: 13", "Version: 8"), 426),
        ("no version", UPGRADE.replace("Sec-WebSocket-Version", "X-Version"), 426),
        ("no key", UPGRADE.replace("Sec-WebSocket-Key", "X-Key"), 400),
        ("a short key", UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHM="), 400),
        ("a key of 18 bytes", UPGRADE.replace("ZQ==", "ZQAA"), 400),
        ("a key that is no base64", UPGRADE.replace("ZQ==", "*Q=="), 400),
    ];
    for (what, request, status) in cases {
        let page = http(natpulse.addr("ws"), &request).await;
        assert_eq!(page.status, status, "{what}: {}", page.head);
        let is_told = page.head.contains("sec-websocket-version: 13");
        assert_eq!(is_told, status == 426, "{what}: {}", page.head);
    }
    assert_eq!(natpulse.opened().await, 0);
    natpulse.stop().await;
}

#[tokio::test]
async fn one_session_more_than_allowed_is_turned_away_until_another_has_gone() {
    let natpulse = Natpulse::start(&format!("[server]\nmax_sessions = 1\n{}", ws_bridge(ECHO))).await;
    let (mut first, _) = ws_connect(&natpulse.url("ws"), None).await;
    assert_eq!(http(natpulse.addr("ws"), UPGRADE).await.status, 503);
    first.close(None).await.unwrap();
    // The place is free a moment after the session was logged as closed.
    let second = async {
        loop {
            let mut stream = TcpStream::connect(natpulse.addr("ws")).await.unwrap();
            stream.write_all(UPGRADE.as_bytes()).await.unwrap();
            let mut answer = [0; 13];
            stream.read_exact(&mut answer).await.unwrap();
            match &answer {
                b"HTTP/1.1 101 " => break,
                b"HTTP/1.1 503 " => {}
                other => panic!("{}", other.escape_ascii()),
            }
        }
    };
    within("a place for the second", second).await;
    natpulse.stop().await;
}

/// Answers only once the client has said that it is done.
async fn answers_at_the_end() -> Backend {
    Backend::serve(|mut stream| async move {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await?;
        let mut answer = b"heard: ".to_vec();
        answer.extend_from_slice(&question);
        stream.write_all(&answer).await
    })
    .await
}

async fn ask_and_half_close(addr: std::net::SocketAddr) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"all I have to say").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    within("the answer after the half-close", exchange).await
}

#[tokio::test]
async fn a_tcp_client_that_half_closes_still_gets_its_answer() {
    let backend = answers_at_the_end().await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"tcp://{}\"\n",
        backend.addr
    ))
    .await;
    let fds = natpulse.fds();
    assert_eq!(ask_and_half_close(natpulse.addr("tcp")).await, b"heard: all I have to say");
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_half_close_goes_through_a_pair_and_the_answer_comes_back() {
    let backend = answers_at_the_end().await;
    let pair = Natpulse::pair("raw", backend.addr).await;
    let fds = pair.fds();
    assert_eq!(ask_and_half_close(pair.addr()).await, b"heard: all I have to say");
    pair.settles_to(fds).await;
    pair.stop().await;
}

#[tokio::test]
async fn messages_and_bytes_are_counted_each_way() {
    let backend = Backend::framed_echo().await;
    let backend = format!("{{ url = \"tcp://{}\", framing = \"u32be\" }}", backend.addr);
    let natpulse = Natpulse::start(&ws_bridge(&backend)).await;
    let (mut ws, _) = ws_connect(&natpulse.url("ws"), None).await;
    for length in [0, 1, 125, 126, 65535, 65536] {
        ws.send(Message::binary(vec![7; length])).await.unwrap();
        let echo = within("the echo", ws.next()).await.unwrap().unwrap();
        assert_eq!(echo.into_data(), vec![7; length]);
    }
    let metrics = natpulse.metrics().await;
    assert_eq!(metrics["natpulse_sessions_active{bridge=\"ws\"}"], 1.0);
    ws.close(None).await.unwrap();

    let closed = &natpulse.closed_sessions(1).await[0];
    assert_eq!(closed["reason"], "client_closed");
    let metrics = natpulse.metrics().await;
    for direction in ["uplink", "downlink"] {
        let labels = format!("{{bridge=\"ws\",direction=\"{direction}\"}}");
        assert_eq!(metrics[&format!("natpulse_messages_total{labels}")], 6.0);
        assert_eq!(metrics[&format!("natpulse_bytes_total{labels}")], 131323.0);
        assert_eq!(closed[format!("{direction}_messages")], 6);
        assert_eq!(closed[format!("{direction}_bytes")], 131323);
    }
    assert_eq!(metrics["natpulse_sessions_opened_total{bridge=\"ws\"}"], 1.0);
    let reason = "natpulse_sessions_closed_total{bridge=\"ws\",reason=\"client_closed\"}";
    assert_eq!(metrics[reason], 1.0);
    natpulse.stop().await;
}

#[tokio::test]
async fn sigterm_tells_the_clients_to_come_back_and_leaves_when_the_last_has_gone() {
    let mut natpulse =
        Natpulse::start(&format!("[server]\ndrain_window = \"300ms\"\n{}", ws_bridge(ECHO))).await;
    assert_eq!(http_get(natpulse.admin(), "/healthz").await.status, 200);
    assert_eq!(http_get(natpulse.admin(), "/readyz").await.status, 200);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(ws_connect(&natpulse.url("ws"), None).await.0);
    }
    natpulse.terminate();
    for ws in &mut clients {
        match within("the close", ws.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Restart),
            other => panic!("instead of a close: {other:?}"),
        }
        // The next look sends the answer, and sees the connection end.
        assert!(within("the end", ws.next()).await.is_none());
    }
    assert_eq!(natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn while_draining_it_is_not_ready_and_a_second_sigterm_ends_it_at_once() {
    let mut natpulse =
        Natpulse::start(&format!("[server]\ndrain_window = \"1h\"\n{}", ws_bridge(ECHO))).await;
    // Many, so that at least one is not asked to go in the first moments of an hour.
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(ws_connect(&natpulse.url("ws"), None).await.0);
    }
    let admin = natpulse.admin();
    natpulse.terminate();
    within("/readyz to say no", async { while http_get(admin, "/readyz").await.status != 503 {} }).await;
    assert_eq!(http_get(admin, "/healthz").await.status, 200);
    natpulse.terminate();
    natpulse.exit().await;
}

/// Runs natpulse to its end, and returns its exit code and all it printed.
async fn run(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.args(args);
    let mut process = Process::spawn(command);
    let status = process.exit().await;
    (status.code(), process.lines().join("\n"))
}

#[tokio::test]
async fn check_accepts_a_configuration_and_a_wrong_command_line_is_explained() {
    let dir = TempDir::new();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, ws_bridge(ECHO)).unwrap();
    let (code, said) = run(&["check", "-c", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{said}");
    for wrong in [&["bridge", "--no-such-option"][..], &["8080"], &["bridge", "tcp://127.0.0.1:0", "nowhere"]]
    {
        let (code, said) = run(wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
        assert!(wrong.iter().any(|word| said.contains(word)), "names what is wrong: {said}");
    }
}

#[tokio::test]
async fn a_bridge_between_unix_sockets_is_started_from_the_command_line() {
    let dir = TempDir::new();
    let [near, far] = ["near", "far"].map(|name| dir.path().join(name));
    let listener = tokio::net::UnixListener::bind(&far).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.arg("bridge").args([&near, &far].map(|path| format!("unix://{}", path.display())));
    command.args(["--framing", "line"]);
    let mut natpulse = Process::spawn(command);
    natpulse.wait_line("\"serving\"", |line| line.contains("\"serving\"").then_some(())).await;

    let exchange = async {
        let mut client = tokio::net::UnixStream::connect(&near).await.unwrap();
        client.write_all(b"one\ntwo\n").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut lines = [0; 8];
        server.read_exact(&mut lines).await.unwrap();
        assert_eq!(&lines, b"one\ntwo\n");
        server.write_all(b"three\n").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"three\n");
    };
    within("the lines each way", exchange).await;
    natpulse.signal(rustix::process::Signal::TERM);
    assert_eq!(natpulse.exit().await.code(), Some(0));
}
