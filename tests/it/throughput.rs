//! A noVNC-style bridge moving a gigabyte each way, every byte compared.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::backends::Backend;
use crate::harness::{Natpulse, ws_connect};
use crate::process::within_time;

const GIB: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(300);

/// Far more than a session's buffers need, far less than a stream that piles up.
const MEMORY_LIMIT: u64 = 32 << 20;

/// An endless stream of bytes that looks random and is the same for the same seed.
/// Cut from one pool at places that a generator picks, so that making and comparing it
/// costs little more than copying, and pieces lost, doubled or swapped still show.
struct Pattern {
    pool: Bytes,
    state: u64,
    piece: Bytes,
}

impl Pattern {
    const PIECE: usize = 48 << 10;

    fn new(seed: u64) -> Pattern {
        let mut state = 1;
        let pool: Vec<u8> = (0..1 << 17).flat_map(|_| splitmix(&mut state).to_le_bytes()).collect();
        Pattern { pool: pool.into(), state: seed, piece: Bytes::new() }
    }

    /// The next part of the stream, at most `limit` bytes.
    fn next(&mut self, limit: u64) -> Bytes {
        if self.piece.is_empty() {
            let pick = splitmix(&mut self.state);
            let start = pick as usize % (self.pool.len() - Self::PIECE);
            let length = 1 + (pick >> 40) as usize % Self::PIECE;
            self.piece = self.pool.slice(start..start + length);
        }
        let length = self.piece.len().min(limit.try_into().unwrap_or(usize::MAX));
        self.piece.split_to(length)
    }

    /// Compares what arrived with the stream.
    fn check(&mut self, mut arrived: &[u8]) {
        while !arrived.is_empty() {
            let expected = self.next(arrived.len() as u64);
            let (head, rest) = arrived.split_at(expected.len());
            assert!(head == expected, "the stream differs");
            arrived = rest;
        }
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const UPLINK_SEED: u64 = 11;
const DOWNLINK_SEED: u64 = 22;

/// Sends a gigabyte while it compares the gigabyte that arrives, then the end.
async fn server(stream: tokio::net::TcpStream, done: mpsc::Sender<()>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let sending = async {
        let mut pattern = Pattern::new(DOWNLINK_SEED);
        let mut left = GIB;
        while left > 0 {
            let part = pattern.next(left);
            writer.write_all(&part).await?;
            left -= part.len() as u64;
        }
        Ok(())
    };
    let receiving = async {
        let mut pattern = Pattern::new(UPLINK_SEED);
        let mut buffer = vec![0; 256 << 10];
        let mut left = GIB;
        while left > 0 {
            let count = reader.read(&mut buffer).await?;
            assert!(count > 0, "the stream ended {left} bytes early");
            pattern.check(&buffer[..count]);
            left -= count as u64;
        }
        done.send(()).await.unwrap();
        // Nothing may follow: the next thing is the end.
        assert_eq!(reader.read(&mut buffer).await?, 0);
        io::Result::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_bridge_moves_a_gibibyte_each_way_unchanged_in_little_memory() {
    let (done, mut uplink_done) = mpsc::channel(1);
    let backend = Backend::serve(move |stream| server(stream, done.clone())).await;
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "vnc"
        listen = "ws://127.0.0.1:0/websockify"
        backend = {{ url = "tcp://{}", framing = "raw" }}
        subprotocols = ["binary"]
        "#,
        backend.addr
    ))
    .await;
    let fds = natpulse.fds();
    let (ws, response) = ws_connect(&natpulse.url("vnc"), Some("binary")).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "binary");

    let (mut sink, mut stream) = ws.split();
    let sending = async {
        let mut pattern = Pattern::new(UPLINK_SEED);
        let mut left = GIB;
        while left > 0 {
            let part = pattern.next(left);
            left -= part.len() as u64;
            sink.send(Message::Binary(part)).await.unwrap();
        }
        sink
    };
    let receiving = async {
        let mut pattern = Pattern::new(DOWNLINK_SEED);
        let mut left = GIB;
        let mut next_look = GIB;
        while left > 0 {
            match stream.next().await {
                Some(Ok(Message::Binary(part))) => {
                    pattern.check(&part);
                    left -= part.len() as u64;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{left} bytes early: {other:?}"),
            }
            if left <= next_look {
                let pss = natpulse.pss();
                assert!(pss < MEMORY_LIMIT, "{pss} bytes of memory");
                next_look = left.saturating_sub(64 << 20);
            }
        }
    };
    let both = async {
        let (sink, ()) = tokio::join!(sending, receiving);
        sink
    };
    let mut sink = within_time(PATIENCE, "a gibibyte each way", both).await;
    within_time(PATIENCE, "the server to have it all", uplink_done.recv())
        .await
        .expect("the server ended early");
    sink.close().await.unwrap();

    let closed = &natpulse.closed_sessions(1).await[0];
    assert_eq!(closed["uplink_bytes"], GIB);
    assert_eq!(closed["downlink_bytes"], GIB);
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}
