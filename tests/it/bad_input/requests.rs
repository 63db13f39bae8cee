//! Clients that never get as far as a WebSocket.

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Scene, bridge, framed, quoted, rest};
use crate::ends::{Backend, Framing};
use crate::harness::http;
use crate::process::{Process, within};
use crate::raw::upgrade;
use crate::tools::TempDir;

async fn scene(settings: &str) -> (Scene, Backend) {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let bridge = bridge("ws", &quoted("ws://127.0.0.1:0/ws"), &framed(&url, Framing::U32be));
    let scene = Scene::new(&format!("{settings}{bridge}"), "ws", Framing::Raw, &server).await;
    (scene, server)
}

#[tokio::test]
async fn what_is_no_upgrade_is_answered_and_opens_no_session() {
    let (mut scene, _server) = scene("").await;
    let good = upgrade("/ws");
    let padded = |length: usize| {
        let header = format!("X-Padding: {}\r\n", "x".repeat(length - good.len() - "X-Padding: \r\n".len()));
        good.replacen("Connection:", &format!("{header}Connection:"), 1)
    };
    let cases = [
        ("a page", "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426),
        ("a form", "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".to_owned(), 405),
        ("an upgrade to something else", good.replace("websocket", "h2c"), 426),
        (
            "an upgrade that is not in Connection",
            good.replace("Connection: Upgrade", "Connection: close"),
            400,
        ),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("no Host", good.replace("Host: localhost\r\n", ""), 400),
        ("two keys", good.replace("Sec-WebSocket-Key", "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key"), 400),
        ("a path nobody serves", upgrade("/nobody"), 404),
        ("a path below one", upgrade("/ws/below"), 404),
        ("a header of more than 8 KiB", padded(8193), 431),
        ("a path of more than 8 KiB", upgrade(&format!("/{}", "x".repeat(9000))), 431),
        ("garbage", "\u{1}\u{2}\u{3}\u{4}\r\n\r\n".to_owned(), 400),
        ("a record", "\0\0\0\u{5}hello\r\n\r\n".to_owned(), 400),
    ];
    for (what, request, status) in cases {
        let page = http(scene.natpulse.addr("ws"), &request).await;
        assert_eq!(page.status, status, "{what}: {}", page.head);
        scene.undisturbed().await;
    }
    assert_eq!(scene.natpulse.opened().await, 1, "only the bystander's");
    scene.end().await;
}

#[tokio::test]
async fn a_header_just_below_8_kib_is_accepted() {
    let (scene, _server) = scene("").await;
    let request = upgrade("/ws");
    let padding = "x".repeat(8000 - request.len());
    let request = request.replacen("Connection:", &format!("X-Padding: {padding}\r\nConnection:"), 1);
    let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 13];
    within("the answer", client.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 101 ");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_sent_away() {
    let (mut scene, _server) = scene("[server]\nhandshake_timeout = \"300ms\"\n").await;
    let request = upgrade("/ws");
    for (what, part) in [
        ("nothing", ""),
        ("half a line", &request[..9]),
        ("all but the end", { &request[..request.len() - 1] }),
    ] {
        let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
        client.write_all(part.as_bytes()).await.unwrap();
        let (answer, was_reset) = rest(&mut client).await;
        assert!(answer.starts_with(b"HTTP/1.1 408 ") && !was_reset, "{what}: {answer:?}");
        scene.undisturbed().await;
    }
    // Counted when they have gone, which is a moment after they were told.
    let timed_out = "natpulse_handshakes_total{bridge=\"ws\",result=\"timed_out\"}";
    within("three to be counted", async { while scene.natpulse.metrics().await[timed_out] < 3.0 {} }).await;
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_sends_its_request_byte_by_byte_gets_no_more_time_than_others() {
    let (mut scene, _server) = scene("[server]\nhandshake_timeout = \"300ms\"\n").await;
    let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
    client.set_nodelay(true).unwrap();
    let request = upgrade("/ws");
    let (mut reader, mut writer) = client.split();
    let dripping = async {
        // A byte every few milliseconds: the whole request would take seconds.
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
        for byte in request.as_bytes() {
            pace.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let mut answer = [0; 13];
    within("the answer", async {
        tokio::select! {
            () = dripping => panic!("the request was taken to its end"),
            read = reader.read_exact(&mut answer) => read.unwrap(),
        }
    })
    .await;
    assert_eq!(&answer, b"HTTP/1.1 408 ");
    drop(client);
    scene.undisturbed().await;
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_ends_its_stream_behind_its_request_is_still_answered() {
    let (mut scene, _server) = scene("").await;
    // Often, because whether the end is seen before the answer goes is a matter of chance.
    for _ in 0..50 {
        let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
        client.write_all(upgrade("/nobody").as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let (answer, _) = rest(&mut client).await;
        assert!(answer.starts_with(b"HTTP/1.1 404 "), "{answer:?}");
    }
    scene.undisturbed().await;
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_request_leaves_nothing_behind() {
    let (mut scene, _server) = scene("").await;
    let request = upgrade("/ws");
    for length in [0, 1, 40, request.len() - 1] {
        for reset in [true, false] {
            let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
            client.write_all(&request.as_bytes()[..length]).await.unwrap();
            if reset {
                client.set_zero_linger().unwrap();
            }
            drop(client);
            scene.undisturbed().await;
        }
    }
    assert_eq!(scene.natpulse.opened().await, 1, "only the bystander's");
    scene.end().await;
}

#[tokio::test]
async fn an_upgrade_may_take_five_seconds_unless_told_otherwise() {
    let dir = TempDir::new();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, bridge("ws", &quoted("ws://127.0.0.1:0/"), "\"echo:\"")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.args(["check", "-c"]).arg(&file);
    let mut process = Process::spawn(command);
    assert_eq!(process.exit().await.code(), Some(0));
    assert!(process.lines().iter().any(|line| line == "handshake_timeout = \"5s\""), "{:?}", process.lines());
}
