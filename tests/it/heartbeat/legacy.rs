//! Heartbeats that legacy protocols have of their own.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, FIN, PING, PONG, RawWs, server_frame};

/// What iOS clients send: four bytes, with no length in front.
const BARE: &[u8] = b"\xab\xcd\0\0";
/// What others send: a text in a record, here with four length bytes.
const HEART: &[u8] = b"\x05\0\0\0heart";

const BARE_WORDS: &str = r#"send = "hex:abcd0000", form = "bare""#;
const HEART_WORDS: &str = r#"send = "heart""#;
/// Beats of ours that no test waits for.
const RARELY: &str = r#"policy = "fixed", every = "1h""#;
const OFTEN: &str = r#"policy = "fixed", every = "1s", reply_timeout = "900ms""#;

/// A bridge from a legacy client, whose beats these words describe, to `backend`.
async fn bridge(words: &str, backend: &str) -> Natpulse {
    Natpulse::start(&format!(
        "[heartbeat]\npolicy = \"fixed\"\nevery = \"1h\"\n[[bridge]]\nname = \"b\"\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32le\", heartbeat = {{ {words} }} }}\n\
         backend = {backend}\n"
    ))
    .await
}

async fn pair(words: &str) -> (Natpulse, TcpStream, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{{ url = \"tcp://{}\", framing = \"u32le\" }}", server.local_addr().unwrap());
    let natpulse = bridge(words, &url).await;
    let both = async { tokio::join!(TcpStream::connect(natpulse.addr("b")), server.accept()) };
    let (client, backend) = within("a session", both).await;
    (natpulse, client.unwrap(), backend.unwrap().0)
}

async fn reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    within("what is expected", stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_clients_beats_are_answered_and_never_seen_by_its_backend() {
    for (words, beat) in [(BARE_WORDS, BARE), (HEART_WORDS, HEART)] {
        let (natpulse, mut client, mut backend) = pair(&format!("{RARELY}, {words}, answer = true")).await;
        // Before, between and after messages, and in pieces.
        client.write_all(beat).await.unwrap();
        reads(&mut client, beat).await;
        client.write_all(b"\x02\0\0\0hi").await.unwrap();
        reads(&mut backend, b"\x02\0\0\0hi").await;
        // Answers are a second apart at the least.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for piece in beat.chunks(1) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        reads(&mut client, beat).await;
        // Inside a message the same bytes are payload.
        let message = [&8_u32.to_le_bytes()[..], BARE, BARE].concat();
        client.write_all(&message).await.unwrap();
        reads(&mut backend, &message).await;
        drop(client);
        assert_eq!(within("the end", backend.read(&mut [0; 1])).await.unwrap(), 0, "nothing else came");
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn bytes_that_are_a_beat_here_are_a_length_where_none_is_configured() {
    let (natpulse, mut client, mut backend) = pair("policy = \"off\"").await;
    let record = [BARE, &[7; 52_651]].concat();
    client.write_all(&record).await.unwrap();
    reads(&mut backend, &record).await;
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_message_that_would_look_like_a_beat_is_refused() {
    let (natpulse, mut client, mut backend) = pair(&format!("{RARELY}, {BARE_WORDS}")).await;
    let record = [BARE, &[7; 52_651]].concat();
    // The client may be gone before all of it is written.
    let _ = backend.write_all(&record).await;
    assert!(!matches!(within("the end", client.read(&mut [0; 1])).await, Ok(1..)));
    drop((client, backend));
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "backend_unframeable");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_clients_beat_becomes_a_ping_to_its_backend_and_the_pong_its_answer() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("\"ws://{}/\"", server.local_addr().unwrap());
    let natpulse = bridge(&format!("{RARELY}, {HEART_WORDS}"), &url).await;
    let accept = async { RawWs::accept(server.accept().await.unwrap().0).await };
    let both = async { tokio::join!(TcpStream::connect(natpulse.addr("b")), accept) };
    let (client, backend) = within("a session", both).await;
    let (mut client, mut backend) = (client.unwrap(), backend.unwrap());
    client.write_all(HEART).await.unwrap();
    let ping = within("a ping", backend.frame()).await.unwrap();
    assert_eq!(ping.opcode(), PING);
    // No answer before the backend has given one.
    backend.io.write_all(&server_frame(FIN | BINARY, b"first")).await.unwrap();
    reads(&mut client, b"\x05\0\0\0first").await;
    backend.io.write_all(&server_frame(FIN | PONG, &ping.payload)).await.unwrap();
    reads(&mut client, HEART).await;
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_legacy_peer_is_beaten_in_its_own_words_and_found_dead_when_it_stops_answering() {
    for (words, beat) in [(BARE_WORDS, BARE), (HEART_WORDS, HEART)] {
        let (natpulse, mut client, mut backend) = pair(&format!("{OFTEN}, {words}")).await;
        for _ in 0..5 {
            reads(&mut client, beat).await;
            client.write_all(beat).await.unwrap();
        }
        let silent = Instant::now();
        assert_eq!(within("the end", backend.read(&mut [0; 1])).await.unwrap(), 0);
        assert!(silent.elapsed() < Duration::from_millis(1000 + 900 + 1000), "{:?}", silent.elapsed());
        drop((client, backend));
        assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "client_dead");
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn peers_that_answer_answers_do_not_make_us_beat_for_ever() {
    let (natpulse, mut client, _backend) = pair(&format!("{RARELY}, {HEART_WORDS}, answer = true")).await;
    client.write_all(HEART).await.unwrap();
    reads(&mut client, HEART).await;
    for _ in 0..100 {
        client.write_all(HEART).await.unwrap();
    }
    client.write_all(b"\x02\0\0\0hi").await.unwrap();
    client.shutdown().await.unwrap();
    drop(_backend);
    let mut rest = Vec::new();
    within("the rest", client.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() <= 2 * HEART.len(), "{} bytes of answers", rest.len());
    natpulse.stop().await;
}
