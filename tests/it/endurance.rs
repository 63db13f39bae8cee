//! What must hold for a long time, in great numbers, or under pressure. Figures are printed;
//! `cargo test --release --test it endurance -- --nocapture` shows them, and NATPULSE_LONG=1
//! makes the longest of these as long as they are meant to be.

mod churn;
mod descriptors;
mod drain;
mod edges;
mod herd;
mod huge;
mod idle;
mod stalled;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs};

const MIB: u64 = 1 << 20;

/// Tests that measure, or need most of the descriptors there are, run one at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Whether there is time for the full measure.
pub fn is_long() -> bool {
    std::env::var_os("NATPULSE_LONG").is_some_and(|value| value == "1")
}

/// A session from WebSocket to records of four length bytes, both ends in the test's hands.
struct Session {
    client: RawWs,
    backend: TcpStream,
}

impl Session {
    async fn open(addr: SocketAddr, server: &TcpListener) -> Session {
        let both = async { tokio::join!(RawWs::open(addr, "/"), server.accept()) };
        let (client, backend) = within("a session", both).await;
        let (backend, _) = backend.unwrap();
        backend.set_nodelay(true).unwrap();
        Session { client: client.unwrap(), backend }
    }

    /// A message each way.
    async fn exchange(&mut self, message: &[u8]) {
        let record = [&(message.len() as u32).to_be_bytes(), message].concat();
        let exchange = async {
            let mut arrived = vec![0; record.len()];
            let (sent, read) =
                tokio::join!(self.client.send(FIN | BINARY, message), self.backend.read_exact(&mut arrived));
            sent.unwrap();
            read.unwrap();
            assert!(arrived == record, "a message became another record");
            let (sent, arrived) = tokio::join!(self.backend.write_all(&record), self.client.message());
            sent.unwrap();
            assert!(arrived.unwrap() == (BINARY, message.to_vec()), "a record became another message");
        };
        within("a message each way", exchange).await;
    }

    /// Goodbyes on both sides.
    async fn end(self) {
        let Session { client, mut backend } = self;
        let gone = async {
            assert_eq!(backend.read(&mut [0; 1]).await.unwrap(), 0);
            drop(backend);
        };
        within("the goodbyes", async { tokio::join!(client.leave(), gone) }).await;
    }
}

/// natpulse with a bridge "ws" from WebSocket to a listener of the test's own.
async fn start(settings: &str) -> (Natpulse, TcpListener) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&config(settings, server.local_addr().unwrap())).await;
    (natpulse, server)
}

/// All clients of these tests have one address.
const MANY: &str = "[limits]\nsessions_per_address = 100000\nsessions_per_network = 100000\n\
                    handshake_rate = 100000\nhandshake_burst = 100000";

fn config(settings: &str, backend: SocketAddr) -> String {
    format!(
        "{settings}\n{MANY}\n[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nmax_message = \"2GiB\"\n\
         backend = {{ url = \"tcp://{backend}\", framing = \"u32be\" }}\n\
         # No raw peer of these tests answers pings.\n[heartbeat]\nmin = \"5m\"\n"
    )
}

/// Makes natpulse set up what it sets up once: large messages on as many sessions at a time
/// as it has threads, and more.
async fn warm_up(natpulse: &Natpulse, server: &TcpListener) {
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(Session::open(natpulse.addr("ws"), server).await);
    }
    let message = vec![7; MIB as usize];
    for _ in 0..4 {
        futures_util::future::join_all(sessions.iter_mut().map(|session| session.exchange(&message))).await;
    }
    for session in sessions {
        session.end().await;
    }
}

/// Bytes that look random, cheap to make and to compare at any place of an endless stream.
struct Noise {
    plain: Vec<u8>,
    masked: Vec<u8>,
}

impl Noise {
    /// Four times a prime: the mask fits in, and no buffer's size divides it, so that pieces
    /// lost, doubled or swapped show.
    const PERIOD: usize = 4 * 262_139;

    fn new() -> Noise {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let plain: Vec<u8> = (0..Noise::PERIOD).map(|_| next()).collect();
        let masked =
            plain.iter().zip(crate::raw::MASK.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Noise { plain, masked }
    }

    /// A piece of the stream from byte number `at`, of at most `most` bytes.
    fn piece(&self, at: u64, most: u64, masked: bool) -> &[u8] {
        let start = (at % Noise::PERIOD as u64) as usize;
        let end = (start as u64 + most).min(Noise::PERIOD as u64) as usize;
        if masked { &self.masked[start..end] } else { &self.plain[start..end] }
    }

    /// Compares what arrived with the stream from byte number `at`.
    fn check(&self, mut at: u64, mut arrived: &[u8]) {
        while !arrived.is_empty() {
            let expected = self.piece(at, arrived.len() as u64, false);
            let (head, rest) = arrived.split_at(expected.len());
            assert!(head == expected, "the stream differs after byte {at}");
            at += head.len() as u64;
            arrived = rest;
        }
    }
}
