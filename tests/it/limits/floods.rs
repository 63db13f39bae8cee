//! Those who want to take all there is.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval};

use super::{echo, session};
use crate::harness::{Natpulse, connect_from};
use crate::measure::{cpu, memory};
use crate::process::{eventually, within};
use crate::raw::upgrade;

/// How long a client waited for each of so many sessions, sorted.
async fn waits(natpulse: &Natpulse, host: &str, count: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let client = session(natpulse, host).await;
        waits.push(begun.elapsed());
        client.leave().await;
    }
    waits.sort();
    waits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_half_finished_handshakes_hold_up_nobody_and_are_soon_gone() {
    const HALVES: usize = 1000;
    let natpulse = Natpulse::start(&echo("", "")).await;
    let (fds, addr) = (natpulse.fds(), natpulse.addr("b"));
    let before = memory(&natpulse);
    let half = async |number: usize| {
        let mut client = connect_from("127.0.0.2", addr).await.unwrap();
        let length = number % upgrade("/").len();
        // One that had to make room may be gone already.
        let _ = client.write_all(&upgrade("/").as_bytes()[..length]).await;
        client
    };
    let halves: Vec<_> = iter(0..HALVES).map(half).buffer_unordered(100).collect().await;
    let begun = Instant::now();
    let (open, held) = (natpulse.fds() - fds, memory(&natpulse).saturating_sub(before) / 1024);
    let own = waits(&natpulse, "127.0.0.2", 100).await;
    let other = waits(&natpulse, "127.0.0.1", 300).await;
    eventually("all of them to be gone", || natpulse.fds() <= fds).await;
    let took = begun.elapsed();
    println!(
        "{HALVES} half-finished handshakes: {open} in progress, {held} KiB; meanwhile a session takes {:.1?} at the \
         median and {:.1?} at the 99th percentile, {:.1?} from their own address; all gone after {took:.1?}",
        other[150], other[297], own[99]
    );
    assert!(open > 100, "{open} in progress: nothing was tried");
    assert!(other[297] < Duration::from_millis(250) && own[99] < Duration::from_millis(250));
    assert!(took < Duration::from_secs(6), "{took:?}");
    drop(halves);
    natpulse.kill().await;
}

/// Handshakes that each want to be answered, from one address, one after the other; an answer may be a reset.
async fn ask(natpulse: &Natpulse, host: &str, request: &[u8], count: usize) {
    for _ in 0..count {
        if let Ok(mut client) = connect_from(host, natpulse.addr("b")).await {
            let _ = client.write_all(request).await;
            let _ = within("an answer", client.read(&mut [0; 64])).await;
        }
    }
}

#[tokio::test]
async fn whoever_asks_for_nothing_good_costs_less_than_a_session() {
    const EACH: usize = 400;
    let settings = "[limits]\nhandshake_rate = 1000000\nhandshake_burst = 1000000";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    let limited = Natpulse::start(&echo("[limits]\nhandshake_rate = 1\nhandshake_burst = 1", "")).await;
    let good = upgrade("/");
    let huge = good.replacen("Connection:", &format!("X-Padding: {}\r\nConnection:", "x".repeat(100_000)), 1);
    let spent = async |natpulse: &Natpulse, request: &[u8]| {
        let before = cpu(natpulse);
        ask(natpulse, "127.0.0.2", request, EACH).await;
        (cpu(natpulse) - before).as_secs_f64() * 1e6 / EACH as f64
    };
    // What is set up once is set up now.
    spent(&natpulse, good.as_bytes()).await;
    let session = spent(&natpulse, good.as_bytes()).await;
    let costs = [
        ("one that comes again and again", spent(&limited, good.as_bytes()).await),
        ("garbage", spent(&natpulse, b"\x01\x02\x03\x04\r\n\r\n").await),
        ("a head of 100 KB", spent(&natpulse, huge.as_bytes()).await),
        ("a path that nobody serves", spent(&natpulse, upgrade("/nobody").as_bytes()).await),
    ];
    println!("a session that is opened and dropped: {session:.0} us of a processor; {costs:.0?}");
    // The process's clock ticks each 10 ms, which is 25 us of each.
    for (what, cost) in costs {
        assert!(cost < session * 1.5, "{what}: {cost} us, a session {session} us");
    }
    assert!(costs[0].1 < session * 0.7, "{} us to hang up, {session} us to serve", costs[0].1);
    natpulse.kill().await;
    limited.kill().await;
}

/// Rounds of each kind, and sessions of each round.
const ROUNDS: usize = 15;
const SESSIONS: usize = 100;
/// What an address may do at once: a round without the flood, and one with it.
const BURST: usize = 2 * SESSIONS;
/// How often the flood comes: 25 times as often as an address may in the long run.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_does_not_slow_another() {
    let limits = format!("[limits]\nhandshake_rate = 20\nhandshake_burst = {BURST}");
    let natpulse = Natpulse::start(&echo(&limits, "")).await;
    let addr = natpulse.addr("b");
    let request = upgrade("/");
    let flood = async || {
        let mut pace = interval(PAUSE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            if let Ok(mut client) = connect_from("127.0.0.2", addr).await {
                // It is hung up on at once, or soon.
                let _ = client.write_all(request.as_bytes()).await;
            }
        }
    };
    // What it may do at once is spent.
    ask(&natpulse, "127.0.0.2", request.as_bytes(), BURST).await;
    let median = async |host: &str| waits(&natpulse, host, SESSIONS).await[SESSIONS / 2].as_secs_f64();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        // Somebody new each time, because everyone has a rate.
        let host = format!("127.0.0.{}", 10 + round);
        let quiet = median(&host).await;
        let flooded = tokio::select! {
            flooded = median(&host) => flooded,
            () = flood() => unreachable!("a flood has no end"),
        };
        ratios.push(flooded / quiet);
    }
    ratios.sort_by(f64::total_cmp);
    let limited = natpulse.metrics().await["natpulse_handshakes_total{bridge=\"b\",result=\"limited\"}"];
    println!(
        "a session while another address floods takes {ratios:.2?} times as long; {limited} turned away"
    );
    assert!(limited > 100.0, "{limited} turned away: that was no flood");
    assert!(ratios[ROUNDS / 2] < 1.2, "{ratios:?}");
    natpulse.kill().await;
}
