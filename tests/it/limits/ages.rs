//! Sessions end when they are old, silent, or hold too much.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{echo, session};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, CLOSE, FIN, PING, PONG, RawWs};

#[tokio::test]
async fn a_session_that_is_old_enough_is_asked_to_come_back() {
    let natpulse = Natpulse::start(&echo("", "limits = { max_age = \"2s\" }")).await;
    let mut client = session(&natpulse, "127.0.0.1").await;
    let begun = Instant::now();
    // Messages do not make it younger.
    let code = loop {
        client.send(FIN | BINARY, b"hello").await.unwrap();
        let frame = within("an echo or the end", client.frame()).await.unwrap();
        if frame.opcode() == CLOSE {
            break frame.close_code();
        }
        assert_eq!(frame.payload, b"hello");
    };
    let age = begun.elapsed();
    assert_eq!(code, 1012);
    // Up to a tenth early, and as late as a busy machine has it.
    assert!(age >= Duration::from_millis(1750), "{age:?}");
    client.send(FIN | CLOSE, &1012_u16.to_be_bytes()).await.unwrap();
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "aged");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_session_without_messages_ends_however_much_it_beats() {
    let config = "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
                  limits = { idle_timeout = \"2s\" }\n\
                  [heartbeat]\npolicy = \"fixed\"\nevery = \"300ms\"\nreply_timeout = \"250ms\"\n";
    let natpulse = Natpulse::start(config).await;
    let mut client = session(&natpulse, "127.0.0.1").await;
    // Beats of both sides, for as long as a message was said within the time.
    let (mut beats, mut said) = (0, Instant::now());
    for _ in 0..3 {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(900) {
            let frame = within("a beat", client.frame()).await.unwrap();
            assert_eq!(frame.opcode(), PING);
            client.send(FIN | PONG, &frame.payload).await.unwrap();
            beats += 1;
        }
        client.send(FIN | BINARY, b"hello").await.unwrap();
        said = Instant::now();
        while within("the echo", client.frame()).await.unwrap().opcode() != BINARY {}
    }
    let code = loop {
        let frame = within("a beat, or the end", client.frame()).await.unwrap();
        match frame.opcode() {
            PING => client.send(FIN | PONG, &frame.payload).await.unwrap(),
            _ => break frame.close_code(),
        }
    };
    assert!(
        said.elapsed() >= Duration::from_millis(1900) && beats > 4,
        "{:?}, {beats} beats",
        said.elapsed()
    );
    assert_eq!(code, 1001);
    client.send(FIN | CLOSE, &1001_u16.to_be_bytes()).await.unwrap();
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "idle");
    natpulse.stop().await;
}

/// Clients that read nothing, at the most.
const MOST: usize = 60;

#[tokio::test]
async fn who_leaves_too_much_waiting_is_let_go_and_who_leaves_little_is_not() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[limits]\nbuffered = \"256KiB\"\n[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\nmax_message = \"1GiB\"\n[heartbeat]\nmin = \"5m\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let pair = async || {
        let both = async { tokio::join!(RawWs::open(natpulse.addr("b"), "/"), server.accept()) };
        let (client, backend) = within("a session", both).await;
        (client.unwrap(), backend.unwrap().0)
    };
    let (mut bystander, mut calm) = pair().await;
    // Clients that read nothing, of backends that say much, until one of them holds too much. How much of what was read
    // at once is left waiting depends on what the kernel takes.
    let overloaded = "natpulse_sessions_closed_total{bridge=\"b\",reason=\"overloaded\"}";
    let mut stalled = Vec::new();
    let letting_go = async {
        while natpulse.metrics().await[overloaded] == 0.0 {
            if stalled.len() < MOST {
                let (client, mut backend) = pair().await;
                let pouring = tokio::spawn(async move {
                    backend.write_all(&(512_u32 << 20).to_be_bytes()).await.unwrap();
                    while backend.write_all(&vec![7; 1 << 20]).await.is_ok() {}
                });
                stalled.push((client, pouring));
            }
        }
    };
    within("one who reads nothing to be let go", letting_go).await;
    bystander.send(FIN | BINARY, b"still there?").await.unwrap();
    let mut record = [0; 16];
    within("a record", calm.read_exact(&mut record)).await.unwrap();
    assert_eq!(&record[4..], b"still there?");
    calm.write_all(b"\0\0\0\x03yes").await.unwrap();
    assert_eq!(within("the answer", bystander.message()).await.unwrap().1, b"yes");
    for (_, pouring) in stalled {
        pouring.abort();
    }
    natpulse.kill().await;
}
