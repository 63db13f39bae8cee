//! Bytes over TLS: they come as they were sent, and their end is an end.

use std::pin::pin;

use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{client, server};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Authority, acceptor, connector, secured};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::process::within;

/// As much as this, in bytes, no socket buffer of this machine holds.
const MORE_THAN_BUFFERS: usize = 32 << 20;

/// A natpulse that takes TLS and speaks TLS to a backend, both as a plain stream, and the two ends of a session.
async fn relayed() -> (Natpulse, client::TlsStream<TcpStream>, server::TlsStream<TcpStream>) {
    let authority = Authority::new();
    let named = authority.localhost();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "relay"
        listen = {{ url = "tls://127.0.0.1:0", tls = {{ {} }} }}
        backend = {{ url = "tls://{}", tls = {{ ca = {:?}, server_name = "localhost" }} }}
        linger = "5s"
        "#,
        named.files(),
        listener.local_addr().unwrap(),
        authority.file(),
    ))
    .await;
    let accepting = async { acceptor(&named).accept(listener.accept().await.unwrap().0).await.unwrap() };
    let connector = connector(&authority, None);
    let both = async { tokio::join!(secured(&natpulse, "relay", &connector), accepting) };
    let (client, backend) = within("a session", both).await;
    (natpulse, client, backend)
}

#[tokio::test]
async fn records_of_any_size_cross_both_ways() {
    let authority = Authority::new();
    let named = authority.localhost();
    let backend = Backend::framed_echo().await;
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "far"
        listen = {{ url = "wss://127.0.0.1:0/far", tls = {{ {} }} }}
        backend = {{ url = "tcp://{}", framing = "u32be" }}
        "#,
        named.files(),
        backend.addr
    ))
    .await;
    let near = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "near"
        listen = {{ url = "tls://127.0.0.1:0", framing = "u32be", tls = {{ {} }} }}
        backend = {{ url = "{}", tls = {{ ca = {:?} }} }}
        "#,
        named.files(),
        natpulse.url("far"),
        authority.file(),
    ))
    .await;
    let length = prop_oneof![
        4 => 0_usize..300,
        2 => 300_usize..20_000,
        1 => prop_oneof![Just(16_368_usize), Just(16_384), Just(16_385), Just(65_535), Just(65_536)],
        1 => 20_000_usize..600_000,
    ];
    let mut runner = TestRunner::deterministic();
    let lengths = prop::collection::vec(length, 150..200).new_tree(&mut runner).unwrap().current();
    let mut noise = 7_u32;
    let mut sent = Vec::new();
    for length in lengths {
        sent.extend_from_slice(&(length as u32).to_be_bytes());
        sent.extend((0..length).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        }));
    }
    let stream = secured(&near, "near", &connector(&authority, None)).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        // Pieces that end anywhere, so that TLS records and records of the framing have nothing to do with each other.
        let mut rest = &sent[..];
        let mut size = 1;
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(size.min(rest.len()));
            writer.write_all(piece).await.unwrap();
            rest = next;
            size = size * 7 % 65_521 + 1;
        }
        writer.flush().await.unwrap();
        writer
    });
    let mut received = vec![0; expected.len()];
    within("everything to come back", reader.read_exact(&mut received)).await.unwrap();
    assert!(received == expected, "something came back changed");
    let mut writer = within("everything to be written", writing).await.unwrap();
    writer.shutdown().await.unwrap();
    let end = within("the end to come back", reader.read_to_end(&mut received)).await;
    assert_eq!(end.unwrap(), 0);
    near.closed_sessions(1).await;
    near.stop().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn one_direction_ends_and_the_other_goes_on() {
    let (natpulse, mut client, mut backend) = relayed().await;
    client.write_all(b"the question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the question and its end", backend.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"the question");
    backend.write_all(b"the answer").await.unwrap();
    backend.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the answer and its end", client.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"the answer");
    let closed = natpulse.closed_sessions(1).await;
    assert_eq!(closed[0]["reason"], "client_closed", "{closed:?}");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_stream_that_ends_without_a_goodbye_does_not_look_whole() {
    let (natpulse, mut client, mut backend) = relayed().await;
    client.write_all(b"half of it").await.unwrap();
    let mut heard = [0; 10];
    within("half of it", backend.read_exact(&mut heard)).await.unwrap();
    // As somebody in between could do: the connection ends, TLS does not.
    client.get_mut().0.shutdown().await.unwrap();
    let ended = within("the end", backend.read(&mut [0; 1])).await;
    assert!(ended.is_err(), "a stream that was cut ended as if it were whole: {ended:?}");
    let closed = natpulse.closed_sessions(1).await;
    assert_eq!(closed[0]["reason"], "client_reset", "{closed:?}");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_the_backend_and_loses_nothing() {
    let (natpulse, client, backend) = relayed().await;
    let (_backend_reader, mut backend) = tokio::io::split(backend);
    let writing = tokio::spawn(async move {
        let mut count = 0_u64;
        while count < MORE_THAN_BUFFERS as u64 {
            let block: Vec<u8> = (count / 8..count / 8 + 1024).flat_map(u64::to_be_bytes).collect();
            backend.write_all(&block).await.unwrap();
            count += block.len() as u64;
        }
        backend.shutdown().await.unwrap();
    });
    within("natpulse to wait for its client", async {
        loop {
            let metrics = natpulse.metrics().await;
            let held = metrics.iter().filter(|(name, _)| name.starts_with("natpulse_buffered_bytes"));
            let held: f64 = held.map(|(_, bytes)| bytes).sum();
            // What waits for a client that takes nothing is bounded.
            assert!(held <= 1024.0 * 1024.0, "{held}");
            if held > 0.0 {
                break;
            }
        }
    })
    .await;
    assert!(!writing.is_finished());
    let mut client = pin!(client);
    let mut heard = Vec::with_capacity(MORE_THAN_BUFFERS);
    within("everything", client.read_to_end(&mut heard)).await.unwrap();
    within("the backend", writing).await.unwrap();
    assert_eq!(heard.len(), MORE_THAN_BUFFERS);
    for (index, number) in heard.chunks(8).enumerate() {
        assert_eq!(number, (index as u64).to_be_bytes(), "at {index}");
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn a_websocket_over_tls_is_closed_as_any_other() {
    let authority = Authority::new();
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "echo"
        listen = {{ url = "wss://127.0.0.1:0/echo", tls = {{ {} }} }}
        backend = "echo:"
        "#,
        authority.localhost().files()
    ))
    .await;
    let fds = natpulse.fds();
    for (count, reason) in [(1, "client_closed"), (2, "client_vanished")] {
        let stream = secured(&natpulse, "echo", &connector(&authority, None)).await;
        let request = natpulse.url("echo").into_client_request().unwrap();
        let (mut ws, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        ws.send(Message::text("hello")).await.unwrap();
        let heard = within("an echo", ws.next()).await.unwrap().unwrap();
        assert_eq!(heard, Message::text("hello"));
        if count == 1 {
            ws.close(None).await.unwrap();
            while within("the close", ws.next()).await.is_some_and(|heard| heard.is_ok()) {}
        }
        drop(ws);
        let closed = natpulse.closed_sessions(count).await;
        assert_eq!(closed.last().unwrap()["reason"], reason, "{closed:?}");
    }
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}
