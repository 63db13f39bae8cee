//! How sessions begin and end: what comes right behind a handshake, who says goodbye to whom.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, CLOSE, FIN, PING, PONG, RawWs, TEXT};
use crate::raw::{frame, requested, server_frame, switching, upgrade};
use crate::tools::{TempDir, free_addr};

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

/// A bridge called "x" with these ends.
async fn start(listen: &str, backend: &str) -> Natpulse {
    Natpulse::start(&format!("[[bridge]]\nname = \"x\"\nlisten = {listen}\nbackend = {backend}\n")).await
}

const WS: &str = "\"ws://127.0.0.1:0/\"";

#[tokio::test]
async fn what_comes_right_behind_a_handshake_is_not_lost() {
    let (server, addr) = listener().await;
    let natpulse = start(WS, &format!("\"ws://{addr}/\"")).await;
    // Short, longer than a request may be, and longer than one read.
    for length in [5, 9_000, 100_000, 1 << 20] {
        let mut client = TcpStream::connect(natpulse.addr("x")).await.unwrap();
        let message = vec![7; length];
        let (reader, mut writer) = client.split();
        let mut reader = RawWs { io: tokio::io::BufReader::new(reader) };
        let near = async {
            writer.write_all(upgrade("/").as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(reader.io.read_u8().await.unwrap());
            }
            let message_frame = frame(FIN | BINARY, &message);
            let (written, arrived) =
                tokio::join!(writer.write_all(&message_frame), async { reader.message().await.unwrap() });
            written.unwrap();
            assert!(arrived == (BINARY, message.clone()), "{length} bytes");
        };
        let far = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let accept = requested(&mut stream).await.unwrap();
            let (reader, mut writer) = stream.split();
            let everything = [switching(&accept).as_bytes(), &server_frame(FIN | BINARY, &message)].concat();
            let mut reader = RawWs { io: tokio::io::BufReader::new(reader) };
            let (written, arrived) = tokio::join!(writer.write_all(&everything), reader.message());
            written.unwrap();
            assert!(arrived.unwrap() == (BINARY, message.clone()), "{length} bytes");
        };
        within(&format!("{length} bytes behind each handshake"), async { tokio::join!(near, far) }).await;
    }
    natpulse.terminate();
}

/// A session between a WebSocket client and a WebSocket backend.
async fn ws_to_ws(natpulse: &Natpulse, server: &TcpListener) -> (RawWs, RawWs) {
    let accept = async { RawWs::accept(server.accept().await.unwrap().0).await.unwrap() };
    let open = RawWs::open(natpulse.addr("x"), "/");
    let (client, backend) = within("a session", async { tokio::join!(open, accept) }).await;
    (client.unwrap(), backend)
}

#[tokio::test]
async fn between_websockets_a_goodbye_keeps_its_code_and_its_reason() {
    let (server, addr) = listener().await;
    let natpulse = start(WS, &format!("\"ws://{addr}/\"")).await;
    let fds = natpulse.fds();
    let payloads: [&[u8]; 6] =
        [b"", b"\x03\xe8", b"\x03\xe9going", b"\x03\xf5try again", b"\x0f\xa1\xc3\xa4", b"\x0b\xb8"];
    for payload in payloads {
        for from_client in [true, false] {
            let (mut client, mut backend) = ws_to_ws(&natpulse, &server).await;
            let goodbye = async {
                let heard = if from_client {
                    client.send(FIN | CLOSE, payload).await.unwrap();
                    backend.frame().await.unwrap()
                } else {
                    backend.io.write_all(&server_frame(FIN | CLOSE, payload)).await.unwrap();
                    client.frame().await.unwrap()
                };
                assert_eq!((heard.first, &heard.payload[..]), (FIN | CLOSE, payload));
                // The answer has the same code, to both (RFC 6455 section 5.5.1).
                let code = &payload[..payload.len().min(2)];
                let answer = if from_client {
                    backend.io.write_all(&server_frame(FIN | CLOSE, code)).await.unwrap();
                    client.frame().await.unwrap()
                } else {
                    client.send(FIN | CLOSE, code).await.unwrap();
                    backend.frame().await.unwrap()
                };
                assert_eq!((answer.first, &answer.payload[..]), (FIN | CLOSE, code));
                // The client of each connection is left to the server's end of it.
                assert_eq!(client.io.read(&mut [0; 1]).await.unwrap(), 0);
            };
            within("a goodbye", goodbye).await;
        }
    }
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn between_websockets_who_vanishes_is_announced_as_going_away_or_as_an_error() {
    let (server, addr) = listener().await;
    let natpulse = start(WS, &format!("\"ws://{addr}/\"")).await;
    let (client, mut backend) = ws_to_ws(&natpulse, &server).await;
    drop(client);
    assert_eq!(within("a close", backend.frame()).await.unwrap().close_code(), 1001);
    let (mut client, backend) = ws_to_ws(&natpulse, &server).await;
    drop(backend);
    assert_eq!(within("a close", client.frame()).await.unwrap().close_code(), 1011);
    natpulse.terminate();
}

#[tokio::test]
async fn pings_are_answered_by_natpulse_and_do_not_cross() {
    let (server, addr) = listener().await;
    let natpulse = start(WS, &format!("\"ws://{addr}/\"")).await;
    let (mut client, mut backend) = ws_to_ws(&natpulse, &server).await;
    let exchange = async {
        client.send(FIN | PING, b"one").await.unwrap();
        client.send(FIN | PONG, b"unasked").await.unwrap();
        let pong = client.frame().await.unwrap();
        assert_eq!((pong.first, &pong.payload[..]), (FIN | PONG, &b"one"[..]));
        backend.io.write_all(&server_frame(FIN | PING, b"two")).await.unwrap();
        let pong = backend.frame().await.unwrap();
        assert_eq!((pong.first, &pong.payload[..]), (FIN | PONG, &b"two"[..]));
        // Nothing of that has reached the other: the next thing there is a message.
        client.send(FIN | TEXT, b"three").await.unwrap();
        assert_eq!(backend.message().await.unwrap(), (TEXT, b"three".to_vec()));
        backend.io.write_all(&server_frame(FIN | BINARY, b"four")).await.unwrap();
        assert_eq!(client.message().await.unwrap(), (BINARY, b"four".to_vec()));
    };
    within("pings and messages", exchange).await;
    natpulse.terminate();
}

/// The backend ends its stream first, and still gets all that the client goes on to say.
async fn goes_on_talking(client_addr: std::net::SocketAddr, server: &TcpListener) {
    let exchange = async {
        let mut client = TcpStream::connect(client_addr).await.unwrap();
        let (mut backend, _) = server.accept().await.unwrap();
        backend.write_all(b"that is all from here").await.unwrap();
        backend.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"that is all from here");
        let said = vec![7; 4 << 20];
        let saying = async {
            client.write_all(&said).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut arrived = Vec::new();
        let (_, read) = tokio::join!(saying, backend.read_to_end(&mut arrived));
        read.unwrap();
        assert!(arrived == said, "{} bytes of {}", arrived.len(), said.len());
    };
    within("what the client goes on to say", exchange).await;
}

#[tokio::test]
async fn a_backend_that_ends_its_stream_still_hears_its_client_through_one_natpulse_or_two() {
    let (server, addr) = listener().await;
    let natpulse = start("\"tcp://127.0.0.1:0\"", &format!("\"tcp://{addr}\"")).await;
    let fds = natpulse.fds();
    goes_on_talking(natpulse.addr("x"), &server).await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;

    let pair = Natpulse::pair("raw", server.local_addr().unwrap()).await;
    let fds = pair.fds();
    goes_on_talking(pair.addr(), &server).await;
    pair.settles_to(fds).await;
    pair.stop().await;
}

#[tokio::test]
async fn a_reset_crosses_a_raw_bridge_as_a_reset() {
    let (server, addr) = listener().await;
    let natpulse = start("\"tcp://127.0.0.1:0\"", &format!("\"tcp://{addr}\"")).await;
    let fds = natpulse.fds();
    for from_client in [true, false] {
        let mut client = TcpStream::connect(natpulse.addr("x")).await.unwrap();
        let (mut backend, _) = server.accept().await.unwrap();
        client.write_all(b"hello").await.unwrap();
        within("a word", backend.read_exact(&mut [0; 5])).await.unwrap();
        let (goes, mut stays) = if from_client { (client, backend) } else { (backend, client) };
        goes.set_zero_linger().unwrap();
        drop(goes);
        let end = within("the reset", stays.read(&mut [0; 1])).await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_unix_sockets_file_goes_with_natpulse_and_one_left_behind_is_replaced() {
    let dir = TempDir::new();
    let path = dir.path().join("listen");
    // As a process leaves it that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let natpulse = start(&format!("\"unix://{}\"", path.display()), "\"echo:\"").await;
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    client.write_all(b"echo?").await.unwrap();
    within("the echo", client.read_exact(&mut [0; 5])).await.unwrap();
    drop(client);
    natpulse.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn ipv6_is_listened_on_and_dialled() {
    let server = TcpListener::bind("[::1]:0").await.unwrap();
    let natpulse = start("\"ws://[::1]:0/\"", &format!("\"tcp://{}\"", server.local_addr().unwrap())).await;
    let mut client = RawWs::open(natpulse.addr("x"), "/").await.unwrap();
    client.send(FIN | BINARY, b"six").await.unwrap();
    let (mut backend, _) = server.accept().await.unwrap();
    within("the bytes", backend.read_exact(&mut [0; 3])).await.unwrap();
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn it_can_be_started_again_at_once_on_the_same_port() {
    let addr = free_addr();
    for _ in 0..3 {
        let natpulse = start(&format!("\"ws://{addr}/\""), "\"echo:\"").await;
        // natpulse ends this connection first, so its port remembers it for a while.
        let mut client = RawWs::open(addr, "/").await.unwrap();
        client.send(FIN | CLOSE, b"").await.unwrap();
        assert_eq!(within("the answer", client.frame()).await.unwrap().opcode(), CLOSE);
        assert_eq!(within("the end", client.io.read(&mut [0; 1])).await.unwrap(), 0);
        natpulse.stop().await;
    }
}
