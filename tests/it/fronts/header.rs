//! PROXY headers, written and read by hand.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;

use super::{dialled, told};
use crate::harness::{Natpulse, connect_from, http};
use crate::process::within;
use crate::raw::{RawWs, upgrade};
use crate::tls::authority::Authority;
use crate::tls::{connector, secured};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bridges "ws" and "tcp" that want headers from 127.0.0.1, and pass on in `version` whom they are about.
async fn start(version: &str, server: &TcpListener) -> Natpulse {
    let backend = server.local_addr().unwrap();
    Natpulse::start(&format!(
        "[server]\nhandshake_timeout = \"1s\"\n\
         [[bridge]]\nname = \"ws\"\nlisten = {{ url = \"ws://127.0.0.1:0/\", proxy_protocol = [\"127.0.0.1\"] }}\n\
         backend = {{ url = \"tcp://{backend}\", proxy_protocol = \"{version}\" }}\n\
         [[bridge]]\nname = \"tcp\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", proxy_protocol = [\"127.0.0.1\"] }}\n\
         backend = {{ url = \"tcp://{backend}\", proxy_protocol = \"{version}\" }}\n"
    ))
    .await
}

#[tokio::test]
async fn a_client_is_who_its_proxy_says_and_the_backend_is_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start("v1", &server).await;
    // Version 2 tells the same, with more behind the addresses than anybody reads.
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x15, 0xb3, 0x01, 0xbb];
    let binary = [SIGNATURE, &[0x21, 0x11, 0, 17], &addresses, &[0xe0, 0, 2, 1, 2]].concat();
    let mut sessions = 0;
    for header in [LINE.as_bytes(), &binary] {
        for bridge in ["ws", "tcp"] {
            let request = if bridge == "ws" { upgrade("/") } else { "hello".to_owned() };
            let mut client = TcpStream::connect(natpulse.addr(bridge)).await.unwrap();
            client.write_all(&[header, request.as_bytes()].concat()).await.unwrap();
            let mut backend = dialled(&server).await;
            assert_eq!(told(&mut backend).await, LINE.as_bytes(), "{bridge}");
            if bridge == "tcp" {
                // Behind the header not a byte is missing.
                let mut hello = [0; 5];
                within("the client's bytes", backend.read_exact(&mut hello)).await.unwrap();
                assert_eq!(&hello, b"hello");
            }
            let page = crate::harness::http_get(natpulse.admin(), "/api/sessions").await;
            assert!(page.body.contains("\"192.0.2.7:5555\""), "{}", page.body);
            drop((client, backend));
            sessions += 1;
            natpulse.closed_sessions(sessions).await;
        }
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start("v1", &server).await;
    let mut client = TcpStream::connect(natpulse.addr("ws")).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in LINE.as_bytes() {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let opening = RawWs::upgrade(client, "/");
    let (client, mut backend) = tokio::join!(opening, dialled(&server));
    assert_eq!(told(&mut backend).await, LINE.as_bytes());
    drop((client.unwrap(), backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn version_2_tells_the_address_and_what_the_session_is_called() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start("v2", &server).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(natpulse.addr("tcp")).await.unwrap();
        client.write_all(LINE.as_bytes()).await.unwrap();
        let mut backend = dialled(&server).await;
        let header = told(&mut backend).await;
        assert_eq!(&header[..12], SIGNATURE);
        assert_eq!(header[12..14], [0x21, 0x11]);
        assert_eq!(header[16..28], [192, 0, 2, 7, 198, 51, 100, 1, 0x15, 0xb3, 0x01, 0xbb]);
        // PP2_TYPE_UNIQUE_ID, and nothing else.
        assert_eq!((header[28], usize::from(header[30])), (5, header.len() - 31));
        ids.push(String::from_utf8(header[31..].to_vec()).unwrap());
        drop((client, backend));
    }
    let mut closed: Vec<_> =
        natpulse.closed_sessions(2).await.iter().map(|event| event["session"].to_string()).collect();
    closed.sort();
    let numbers: Vec<_> = ids.iter().map(|id| id.split_once('-').unwrap().1.to_owned()).collect();
    assert_eq!(numbers, closed, "{ids:?}");
    natpulse.stop().await;
}

#[tokio::test]
async fn whoever_speaks_for_itself_is_known_by_its_own_address() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start("v1", &server).await;
    let local = [SIGNATURE, &[0x20, 0x11, 0, 12], &[192, 0, 2, 7, 1, 1, 1, 1, 0, 1, 0, 1]].concat();
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), &local] {
        let mut client = TcpStream::connect(natpulse.addr("tcp")).await.unwrap();
        let (ours, theirs) = (client.local_addr().unwrap(), natpulse.addr("tcp"));
        client.write_all(header).await.unwrap();
        let mut backend = dialled(&server).await;
        let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", ours.port(), theirs.port());
        assert_eq!(told(&mut backend).await, line.as_bytes());
        drop((client, backend));
    }
    natpulse.stop().await;
}

/// What comes until the connection ends, however it ends.
async fn answer(mut client: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset says as much as an end.
    let _ = within("the end", client.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn nobody_gets_in_without_a_header_from_a_trusted_proxy() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start("v1", &server).await;
    for (count, bridge) in [(1.0, "ws"), (1.0, "tcp")] {
        let addr = natpulse.addr(bridge);
        // Not a proxy that is trusted, whatever it says.
        let mut stranger = connect_from("127.0.0.2", addr).await.unwrap();
        let _ = stranger.write_all(format!("{LINE}{}", upgrade("/")).as_bytes()).await;
        assert_eq!(answer(stranger).await, b"", "{bridge}");
        natpulse.counts(bridge, "untrusted", count).await;
        // A proxy that says something else.
        let mut other = TcpStream::connect(addr).await.unwrap();
        other.write_all(upgrade("/").as_bytes()).await.unwrap();
        assert_eq!(answer(other).await, b"", "{bridge}");
        natpulse.counts(bridge, "rejected", count).await;
        // One that says half of it.
        let mut silent = TcpStream::connect(addr).await.unwrap();
        silent.write_all(&LINE.as_bytes()[..20]).await.unwrap();
        assert_eq!(answer(silent).await, b"", "{bridge}");
        natpulse.counts(bridge, "timed_out", count).await;
    }
    assert_eq!(natpulse.opened().await, 0);
    natpulse.stop().await;
}

#[tokio::test]
async fn header_tls_and_request_have_one_timeout_together() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let authority = Authority::new();
    let natpulse = Natpulse::start(&format!(
        "[server]\nhandshake_timeout = \"3s\"\n[[bridge]]\nname = \"wss\"\nbackend = \"echo:\"\n\
         listen = {{ url = \"wss://127.0.0.1:0/\", proxy_protocol = [\"127.0.0.1\"], tls = {{ {} }} }}\n",
        authority.localhost().files()
    ))
    .await;
    // Each spends two thirds of the time on what it does, and has a third left for what it does not do.
    let slow = async |does_tls: bool| {
        let mut client = TcpStream::connect(natpulse.addr("wss")).await.unwrap();
        tokio::time::sleep(TIMEOUT * 2 / 3).await;
        let since = Instant::now();
        client.write_all(LINE.as_bytes()).await.unwrap();
        if does_tls {
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = connector(&authority, None).connect(name, client).await.unwrap();
            let mut answer = Vec::new();
            let _ = within("the end", client.read_to_end(&mut answer)).await;
            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
        } else {
            assert_eq!(answer(client).await, b"");
        }
        let waited = since.elapsed();
        assert!(waited < TIMEOUT, "waited for {waited:?} more, TLS {does_tls}");
    };
    tokio::join!(slow(false), slow(true));
    natpulse.counts("wss", "timed_out", 2.0).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_header_that_nobody_asked_for_is_no_http() {
    let natpulse =
        Natpulse::start("[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n")
            .await;
    let request = upgrade("/");
    let binary = "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x01\x02\x03\x04\x01\x02\x03\x04\0\x01\0\x01";
    for header in [LINE, binary] {
        let page = http(natpulse.addr("ws"), &format!("{header}{request}")).await;
        assert_eq!(page.status, 400, "{}", page.head);
    }
    assert_eq!(natpulse.opened().await, 0);
    natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_that_is_dialled_again_is_told_the_same_again() {
    let (authority, server) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addr = server.local_addr().unwrap();
    let bridge = |name: &str, listen: &str, version: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nlisten = {{ {listen}, framing = \"u32be\" }}\n\
             backend = {{ url = \"ws://{addr}/\", proxy_protocol = \"{version}\" }}\n"
        )
    };
    let files = authority.localhost().files();
    let plain = bridge("plain", "url = \"tcp://127.0.0.1:0\"", "v1");
    let tls = bridge("tls", &format!("url = \"tls://127.0.0.1:0\", tls = {{ {files} }}"), "v2");
    let fronted = bridge("fronted", "url = \"tcp://127.0.0.1:0\", proxy_protocol = [\"127.0.0.1\"]", "v1");
    let natpulse = Natpulse::start(&(plain + &tls + &fronted)).await;
    let accept = async || {
        let (mut stream, _) = server.accept().await.unwrap();
        let header = told(&mut stream).await.escape_ascii().to_string();
        (header, RawWs::accept(stream).await.unwrap())
    };

    let client = TcpStream::connect(natpulse.addr("plain"));
    let (client, (first, backend)) = within("a session", async { tokio::join!(client, accept()) }).await;
    let client = client.unwrap();
    let port = client.local_addr().unwrap().port();
    assert!(first.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} ")), "{first}");
    backend.abort();
    let (second, again) = within("another dial", accept()).await;
    assert_eq!(second, first);
    drop((client, again));

    // Of what a proxy has said, too, the address that the client had reached.
    let client = async {
        let mut client = TcpStream::connect(natpulse.addr("fronted")).await.unwrap();
        client.write_all(LINE.as_bytes()).await.unwrap();
        client
    };
    let (client, (first, backend)) = within("a session", async { tokio::join!(client, accept()) }).await;
    assert_eq!(first, LINE.escape_default().to_string());
    backend.abort();
    let (second, again) = within("another dial", accept()).await;
    assert_eq!(second, first);
    drop((client, again));

    let connector = connector(&authority, None);
    let client = secured(&natpulse, "tls", &connector);
    let (client, (first, backend)) = within("a session", async { tokio::join!(client, accept()) }).await;
    assert!(first.contains("TLSv1.3") && first.contains("localhost"), "{first}");
    backend.abort();
    let (second, again) = within("another dial", accept()).await;
    assert_eq!(second, first);
    drop((client, again));
    natpulse.stop().await;
}
