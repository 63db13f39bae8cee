//! Requests that somebody between the client and us could read in another way than we do.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Scene, with};
use crate::process::within;
use crate::raw::upgrade;

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused() {
    let scene = Scene::new("").await;
    let good = upgrade("/");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let behind = |bytes: &str| format!("{good}{bytes}");
    let many = (0..101).map(|number| format!("X-{number}: 1")).collect::<Vec<_>>().join("\r\n");
    let line = |line: &str| good.replacen("GET / HTTP/1.1", line, 1);
    // Each is good but for one thing.
    let cases = [
        ("two hosts", with("Host: other"), 400),
        ("the same host twice", with("Host: localhost"), 400),
        ("a host with a user", good.replacen("localhost", "user@localhost", 1), 400),
        ("a host with a path", good.replacen("localhost", "localhost/x", 1), 400),
        ("a host that is two", good.replacen("localhost", "localhost, other", 1), 400),
        ("no host's name", good.replacen("Host: localhost", "Host:", 1), 400),
        ("a request for another host", line("GET http://other/ HTTP/1.1"), 400),
        ("two upgrades", with("Upgrade: websocket"), 400),
        ("an upgrade to something else too", with("Upgrade: h2c"), 400),
        ("two keys", with(key), 400),
        ("two versions", with("Sec-WebSocket-Version: 13"), 400),
        ("two origins", with("Origin: http://localhost\r\nOrigin: http://localhost"), 400),
        ("no length", with("Content-Length: 0"), 400),
        ("a length", behind("hello").replacen("Connection:", "Content-Length: 5\r\nConnection:", 1), 400),
        (
            "a body in chunks",
            behind("0\r\n\r\n").replacen("Connection:", "Transfer-Encoding: chunked\r\nConnection:", 1),
            400,
        ),
        (
            "a length and chunks",
            behind("0\r\n\r\n").replacen(
                "Connection:",
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection:",
                1,
            ),
            400,
        ),
        ("chunks that do not come", with("Transfer-Encoding: chunked"), 400),
        ("an encoding nobody knows", with("Transfer-Encoding: identity, xchunked"), 400),
        ("bytes behind the request", behind("x"), 400),
        ("a frame behind the request", behind("\u{1}\0"), 400),
        ("a request behind the request", behind(&good), 400),
        ("a value beyond ASCII", with("X-Name: ü"), 400),
        ("a control character", with("X-Name: a\u{1}b"), 400),
        ("a zero byte", with("X-Name: a\0b"), 400),
        ("a line that goes on", with("X-Name: a\r\n b"), 400),
        ("a blank before the colon", with("X-Name : a"), 400),
        ("a CR alone", with("X-Name: a\rX-Other: b"), 400),
        ("a name of nothing", with(": a"), 400),
        ("a value that is too long", with(&format!("X-Name: {}", "x".repeat(8192))), 431),
        ("too many fields", with(&many), 431),
    ];
    let mut wrong = Vec::new();
    for (what, request, status) in &cases {
        let answered = scene.opens("127.0.0.1", request).await;
        if answered != Err(*status) {
            wrong.push((what, answered));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    scene.counts("rejected", cases.len() as f64).await;
    // As good ones may be.
    for (what, request) in [
        ("the request itself", good.clone()),
        ("a request that names its host", line("GET http://localhost/ HTTP/1.1")),
        ("somebody else's cookie", with("Cookie: a=ü")),
        ("a list of upgrades", good.replacen("Upgrade: websocket", "Upgrade: h2c, WebSocket", 1)),
        ("a host with a port", good.replacen("localhost", "[::1]:8080", 1)),
        ("a tab", with("X-Name: a\tb")),
    ] {
        assert_eq!(scene.opens("127.0.0.1", &request).await, Ok(()), "{what}");
    }
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn a_request_that_is_refused_ends_its_connection() {
    let scene = Scene::new("").await;
    // A proxy that takes a refusal for an upgrade would send what comes next on the same connection.
    for first in [with("Content-Length: 0"), with("Origin: https://app.example"), upgrade("/nobody")] {
        let mut stream = TcpStream::connect(scene.natpulse.addr("b")).await.unwrap();
        stream.write_all(format!("{first}{}", upgrade("/")).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Whether it ends with a reset does not matter here.
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 40") && answer.contains("connection: close"), "{answer}");
    }
    scene.dialled_nobody_else().await;
}
