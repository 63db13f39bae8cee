//! Paths that are cut while one side has more to send than the other reads: nothing of natpulse's own can be said or
//! answered, and the silence is found all the same.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinSet;

use super::network::{Nat, SERVER};
use crate::ends::Framing;
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs, frame_header, server_frame_header};

const BEATS: &str =
    "max_message = \"128MiB\"\n[heartbeat]\npolicy = \"fixed\"\nevery = \"2s\"\nreply_timeout = \"1s\"";
/// An interval, a reply timeout and the second that a loaded machine may take. Before 6.15 the kernel's pauses between
/// two probes of a closed window cannot be bounded: three of them, the first as long as three seconds of it have made it.
fn deadline() -> Duration {
    let is_bounded = std::fs::exists("/proc/sys/net/ipv4/tcp_rto_max_ms").unwrap();
    if !is_bounded {
        println!("this kernel's probes of a closed window cannot be had more often");
    }
    Duration::from_secs(2 + 1 + 1 + if is_bounded { 0 } else { 12 })
}

/// As much as nobody reads in the time that the test takes.
const BULK: u64 = 64 << 20;

/// Where the test's own ends are: before natpulse, and behind it.
type Ends = (TcpStream, TcpStream);

/// One side has more to send than the other reads.
struct Transfer {
    /// How many bytes came out.
    read: Arc<AtomicUsize>,
    /// What the sender is sent.
    answers: OwnedReadHalf,
}

impl Transfer {
    /// Sends the beginning of a message from one end while the other reads 20 KB/s of what comes out.
    fn start(work: &mut JoinSet<()>, from: TcpStream, header: Vec<u8>, mut to: TcpStream) -> Transfer {
        let (answers, mut from) = from.into_split();
        work.spawn(async move {
            let mut piece = header;
            while from.write_all(&piece).await.is_ok() {
                piece = vec![7; 1 << 20];
            }
        });
        let read = Arc::new(AtomicUsize::new(0));
        let count = read.clone();
        work.spawn(async move {
            let mut clock = tokio::time::interval(Duration::from_millis(100));
            while let Ok(bytes @ 1..) = to.read(&mut [0; 2_000]).await {
                count.fetch_add(bytes, Ordering::Relaxed);
                clock.tick().await;
            }
        });
        Transfer { read, answers }
    }

    /// Waits until the sender is told that nobody listens any more.
    async fn called_off(mut self) {
        let end = async { while let Ok(1..) = self.answers.read(&mut [0; 64]).await {} };
        within("the sender to be told", end).await;
    }
}

/// Two sessions, with plain WebSocket clients behind the NAT.
async fn to_clients(nat: &Nat) -> (Natpulse, [Ends; 2]) {
    let service = nat.server.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://{SERVER}:0/\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n{BEATS}\n",
        service.local_addr().unwrap()
    );
    let natpulse = Natpulse::start_in(&nat.server, &config).await;
    let session = async || {
        let client = async {
            let stream = nat.device.connect(natpulse.addr("b")).await.unwrap();
            RawWs::upgrade(stream, "/").await.unwrap().io.into_inner()
        };
        let (client, service) = within("a session", async { tokio::join!(client, service.accept()) }).await;
        (client, service.unwrap().0)
    };
    let ends = [session().await, session().await];
    (natpulse, ends)
}

/// Two sessions, with a plain WebSocket backend on the far side of the NAT.
async fn to_backends(nat: &Nat) -> (Natpulse, [Ends; 2]) {
    let service = nat.server.listen(SocketAddr::from((SERVER, 0)));
    let config = format!(
        "[[bridge]]\nname = \"b\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{}/\"\n{BEATS}\n",
        service.local_addr().unwrap()
    );
    let natpulse = Natpulse::start_in(&nat.device, &config).await;
    let session = async || {
        let accept =
            async { RawWs::accept(service.accept().await.unwrap().0).await.unwrap().io.into_inner() };
        let connect = nat.device.connect(natpulse.addr("b"));
        let (client, backend) = within("a session", async { tokio::join!(connect, accept) }).await;
        (client.unwrap(), backend)
    };
    let ends = [session().await, session().await];
    (natpulse, ends)
}

/// How long after `begun` it happens.
async fn after(begun: Instant, what: impl Future<Output = ()>) -> Duration {
    what.await;
    begun.elapsed()
}

#[tokio::test]
async fn a_busy_peer_that_falls_silent_is_found_on_time_whichever_way_the_bytes_went() {
    let nat = Nat::start(Duration::from_secs(60)).await;
    let ((far, clients), (near, backends)) = tokio::join!(to_clients(&nat), to_backends(&nat));
    let mut work = JoinSet::new();
    let [(up, service), (down, pouring)] = clients;
    let [(sender, slow), (reader, busy)] = backends;
    let mut start = |from, header, to| Transfer::start(&mut work, from, header, to);
    let from_client = start(up, frame_header(FIN | BINARY, BULK), service);
    let to_client = start(pouring, Framing::U32be.prefix(BULK as usize), down);
    let to_backend = start(sender, Framing::U32be.prefix(BULK as usize), slow);
    let from_backend = start(busy, server_frame_header(FIN | BINARY, BULK), reader);
    let all_busy = async {
        // Three seconds' worth, so that every buffer in between is full.
        for transfer in [&from_client, &to_client, &to_backend, &from_backend] {
            while transfer.read.load(Ordering::Relaxed) < 60_000 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    within("all to be busy", all_busy).await;
    nat.cut().await;
    let cut = Instant::now();
    let closed = async |natpulse: &Natpulse, session: u64, reason: &str| {
        let closed = natpulse.event("session closed", |event| event["session"] == session).await;
        assert_eq!(closed["reason"], reason);
    };
    // Who reads slowly learns of the end when it has read what came before, and who sends at once.
    let found = tokio::join!(
        after(cut, closed(&far, 1, "client_dead")),
        after(cut, to_client.called_off()),
        after(cut, to_backend.called_off()),
        after(cut, closed(&near, 2, "backend_dead")),
    );
    let deadline = deadline();
    println!("found after {found:?} of {deadline:?}");
    assert!([found.0, found.1, found.2, found.3].iter().all(|&found| found < deadline), "{found:?}");
    // The connections on the near sides are closed with those that were cut.
    closed(&far, 2, "client_dead").await;
    closed(&near, 1, "backend_dead").await;
}
