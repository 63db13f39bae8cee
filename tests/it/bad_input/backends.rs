//! Backends that are not there, or not what they should be.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Scene, bridge, connect_and_read, framed, quoted, rest, told, ws_to_tcp};
use crate::ends::{Backend, Framing};
use crate::harness::http;
use crate::process::within;
use crate::raw::{BINARY, FIN, requested, switching, upgrade};
use crate::tools::TempDir;

/// natpulse with a bridge to `backend` behind `/bad` and behind a TCP port, and a bystander
/// elsewhere.
async fn scene(backend: &str) -> Scene {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let mut config = bridge("calm", &quoted("ws://127.0.0.1:0/calm"), &framed(&url, Framing::U32be));
    for (name, listen) in [("ws", "ws://127.0.0.1:0/bad"), ("tcp", "tcp://127.0.0.1:0")] {
        config += &bridge(name, &quoted(listen), backend);
        config += "dial_timeout = \"300ms\"\n";
    }
    Scene::new(&config, "calm", Framing::Raw, &server).await
}

/// A WebSocket client is told 502, a TCP client is cut off; both bridges count it.
async fn turns_both_away(mut scene: Scene, what: &str) {
    let page = http(scene.natpulse.addr("ws"), &upgrade("/bad")).await;
    assert_eq!(page.status, 502, "{what}: {}", page.head);
    scene.undisturbed().await;
    let answer = connect_and_read(scene.natpulse.addr("tcp")).await;
    assert_eq!(answer, (Vec::new(), true), "{what}");
    scene.undisturbed().await;
    for bridge in ["ws", "tcp"] {
        // Told, logged and counted are three things, one after the other.
        let event = scene.natpulse.event("cannot dial the backend", |event| event["bridge"] == bridge).await;
        assert!(event["backend"].is_string() && event["error"].is_string(), "{what}: {event}");
        let series = format!("natpulse_handshakes_total{{bridge=\"{bridge}\",result=\"backend_failed\"}}");
        within(&series, async { while scene.natpulse.metrics().await[&series] < 1.0 {} }).await;
    }
    assert_eq!(scene.natpulse.logged("cannot dial the backend").len(), 2, "{what}");
    assert_eq!(scene.natpulse.opened().await, 1, "only the bystander's");
    scene.end().await;
}

#[tokio::test]
async fn a_backend_that_refuses_is_a_bad_gateway() {
    // Bound but never listening, so that the port refuses and nobody else gets it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    for scheme in ["tcp", "ws"] {
        turns_both_away(scene(&quoted(&format!("{scheme}://{addr}"))).await, scheme).await;
    }
}

#[tokio::test]
async fn a_unix_socket_that_is_not_there_is_a_bad_gateway() {
    let dir = TempDir::new();
    let path = dir.path().join("nobody");
    turns_both_away(scene(&quoted(&format!("unix://{}", path.display()))).await, "missing").await;
    // Left behind by a server that has gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    turns_both_away(scene(&quoted(&format!("unix://{}", path.display()))).await, "stale").await;
}

/// A WebSocket backend that answers every upgrade with what `answer` makes of its key.
async fn answering(answer: fn(&str) -> String) -> crate::backends::Backend {
    crate::backends::Backend::serve(move |mut stream| async move {
        let accept = requested(&mut stream).await?;
        stream.write_all(answer(&accept).as_bytes()).await?;
        // Stays until natpulse has gone.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_backend_that_does_not_upgrade_is_a_bad_gateway() {
    type Answer = fn(&str) -> String;
    let cases: [(&str, Answer); 9] = [
        ("silence", |_| String::new()),
        ("half an answer", |accept| switching(accept)[..30].to_owned()),
        ("403", |_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into()),
        ("200", |_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".into()),
        ("the wrong key", |_| switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("no key", |_| switching("").replace("Sec-WebSocket-Accept: \r\n", "")),
        ("another protocol", |accept| switching(accept).replace("websocket", "h2c")),
        ("an extension nobody offered", |accept| {
            let extension = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
            switching(accept).replace("\r\n\r\n", extension)
        }),
        ("garbage", |_| "\u{1}\u{2}\u{3}\r\n\r\n".into()),
    ];
    for (what, answer) in cases {
        let server = answering(answer).await;
        turns_both_away(scene(&quoted(&format!("ws://{}/x", server.addr))).await, what).await;
    }
}

#[tokio::test]
async fn a_backend_that_never_accepts_is_given_up_after_the_dial_timeout() {
    // A queue of one that is full: the kernel lets further connections wait.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let _queued = TcpStream::connect(addr).await.unwrap();
    turns_both_away(scene(&quoted(&format!("tcp://{addr}"))).await, "a full queue").await;
}

#[tokio::test]
async fn a_backend_that_says_nothing_keeps_its_session_until_the_client_leaves() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be))
        + "dial_timeout = \"100ms\"\nlinger = \"100ms\"\n";
    let config = format!("[server]\nhandshake_timeout = \"100ms\"\n{config}");
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    // None of the timeouts is about a session; all of them have passed a few times by now.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    client.send(FIN | BINARY, b"anyone?").await.unwrap();
    let mut record = [0; 11];
    within("the message", backend.read_exact(&mut record)).await.unwrap();
    assert_eq!(&record, b"\0\0\0\x07anyone?");
    let gone = async {
        // It hangs up once the client has said goodbye, and only then.
        assert_eq!(rest(&mut backend).await, (Vec::new(), false));
        drop(backend);
    };
    within("the goodbyes", async { tokio::join!(client.leave(), gone) }).await;
    scene.offended("a silent backend", "client_closed").await;
    scene.end().await;
}

#[tokio::test]
async fn a_backend_that_resets_ends_its_session_alone() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be));
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    let (mut client, backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    backend.set_zero_linger().unwrap();
    drop(backend);
    assert_eq!(told(&mut client).await, 1011);
    drop(client);
    scene.offended("a reset", "backend_reset").await;
    scene.end().await;
}

#[tokio::test]
async fn a_backend_that_closes_at_once_is_no_fault_of_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut scene =
        scene(&framed(&format!("tcp://{}", listener.local_addr().unwrap()), Framing::U32be)).await;
    let server = Backend::Tcp(listener, Framing::U32be);
    let (mut client, backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/bad", &server).await;
    drop(backend);
    assert_eq!(told(&mut client).await, 1000);
    drop(client);
    scene.offended("an end", "backend_closed").await;
    scene.end().await;
}
