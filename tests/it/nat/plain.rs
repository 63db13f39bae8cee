//! Clients behind a NAT that are no natpulse: all they do is answer pings, as every browser does, and connect anew
//! when they hear none for long, as every application does that cares.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::network::{Nat, SERVER};
use crate::endurance::is_long;
use crate::harness::Natpulse;
use crate::process::within_time;
use crate::raw::{CLOSE, FIN, PING, PONG, RawWs};

const CLIENTS: usize = 20;

/// How long a client waits for a ping.
const PATIENCE: Duration = Duration::from_secs(20);

/// The timeouts of the NATs. The longer one takes minutes.
fn timeouts() -> Vec<Duration> {
    let all = [6, 15].map(Duration::from_secs);
    if is_long() { all.to_vec() } else { vec![all[0]] }
}

async fn start(nat: &Nat, settings: &str) -> Natpulse {
    let config = format!(
        "[[bridge]]\nname = \"im\"\nlisten = \"ws://{SERVER}:0/\"\nbackend = \"echo:\"\n[heartbeat]\n\
         max = \"30s\"\nmargin_min = \"200ms\"\nreply_timeout = \"900ms\"\n{settings}\n"
    );
    Natpulse::start_in(&nat.server, &config).await
}

/// Clients that answer pings, and come back when they are hung up on or hear nothing.
pub(super) struct Clients {
    /// How often any of them was.
    lost: Arc<AtomicUsize>,
    /// The silences that natpulse ended with a ping, as the clients saw them.
    silences: mpsc::UnboundedReceiver<Duration>,
    _tasks: JoinSet<()>,
}

impl Clients {
    pub(super) fn connect(nat: &Nat, natpulse: &Natpulse) -> Clients {
        let (lost, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let (sender, silences) = mpsc::unbounded_channel();
        let addr = natpulse.addr("im");
        for number in 0..CLIENTS {
            let (lost, sender) = (lost.clone(), sender.clone());
            let device = nat.device.clone();
            tasks.spawn(async move {
                loop {
                    // Refused when the test is over.
                    let Ok(stream) = device.connect(addr).await else { return };
                    let mut client = RawWs::upgrade(stream, "/").await.unwrap();
                    let mut quiet = Instant::now();
                    while let Ok(Ok(ping)) = timeout(PATIENCE, client.frame()).await {
                        if ping.opcode() == CLOSE {
                            return;
                        }
                        assert_eq!(ping.opcode(), PING);
                        if sender.send(quiet.elapsed()).is_err() {
                            return;
                        }
                        client.send(FIN | PONG, &ping.payload).await.unwrap();
                        quiet = Instant::now();
                    }
                    let lost = lost.fetch_add(1, Ordering::Relaxed) + 1;
                    println!("client {number} was lost, the {lost}. in all");
                }
            });
        }
        Clients { lost, silences, _tasks: tasks }
    }

    /// Waits until every silence is of such a length, for three of each client.
    async fn are_silent_for(&mut self, lengths: Range<Duration>) {
        let mut fit = 0;
        while fit < 3 * CLIENTS {
            let silence = self.silences.recv().await.unwrap();
            fit = if lengths.contains(&silence) { fit + 1 } else { 0 };
        }
    }
}

#[tokio::test]
async fn without_exploring_nobody_dies() {
    for forgets_after in timeouts() {
        let nat = Nat::start(forgets_after).await;
        let natpulse = start(&nat, "min = \"2s\"\nexplore = false").await;
        let mut clients = Clients::connect(&nat, &natpulse);
        let begun = Instant::now();
        let watching = async {
            while begun.elapsed() < 10 * forgets_after {
                let silence = clients.silences.recv().await.unwrap();
                assert!(silence < Duration::from_secs(3), "a silence of {silence:?}");
            }
        };
        within_time(12 * forgets_after, "pings for ten timeouts", watching).await;
        assert_eq!(clients.lost.load(Ordering::Relaxed), 0);
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn exploring_costs_three_connections_at_most_and_finds_the_timeout() {
    for forgets_after in timeouts() {
        let nat = Nat::start(forgets_after).await;
        let natpulse = start(&nat, "min = \"3s\"").await;
        let mut clients = Clients::connect(&nat, &natpulse);
        let begun = Instant::now();
        let settled = clients.are_silent_for(forgets_after.mul_f32(0.8)..forgets_after);
        within_time(100 * forgets_after, "the interval to settle", settled).await;
        println!("{forgets_after:?}: settled after {:?}", begun.elapsed());
        // A client finds out later than natpulse, whose reset the NAT swallows.
        let lost = natpulse.logged("a connection was lost to a silence").len();
        assert!(lost <= 3, "{lost} clients lost");
        for closed in natpulse.closed_sessions(lost).await {
            assert_eq!(closed["reason"], "client_dead");
        }
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn a_timeout_that_becomes_shorter_is_followed_and_told() {
    let (long, short) = (if is_long() { 15 } else { 12 }, 6);
    let (long, short) = (Duration::from_secs(long), Duration::from_secs(short));
    let nat = Nat::start(long).await;
    let natpulse = start(&nat, "min = \"4s\"").await;
    let mut clients = Clients::connect(&nat, &natpulse);
    let minutes = Duration::from_secs(300);
    within_time(minutes, "longer silences", clients.are_silent_for(long.mul_f32(0.6)..long)).await;
    let before = clients.lost.load(Ordering::Relaxed);
    nat.timeout(short);
    within_time(minutes, "shorter silences", clients.are_silent_for(Duration::ZERO..short)).await;
    let lost = clients.lost.load(Ordering::Relaxed) - before;
    println!("{lost} clients lost to the change");
    let told = natpulse.event("the client is back: its network had forgotten it", |event: &Value| {
        event["in_use_s"].as_f64().unwrap() < short.as_secs_f64()
    });
    told.await;
    natpulse.stop().await;
}
