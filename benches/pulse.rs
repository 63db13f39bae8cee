//! What it costs to keep many connections alive: 100,000 pulses, each with a timer of its own and a seat in a network,
//! whose beats are due evenly over 30 s and are answered at once. No sockets: two system calls a beat are the kernel's.
//!
//!     cargo bench --bench pulse              100,000 pulses over 30 s
//!     cargo bench --bench pulse -- --test    a few, to see that it works

// A benchmark's output is its purpose, and a panic is how it fails.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use natpulse::heartbeat::{
    Action, Facts, Means, NetworkKey, Path, Patience, Policy, Pulse, Settings, coalesce,
};
use natpulse::networks::Networks;
use tokio::time::{Instant, sleep_until};

/// Connections behind one NAT.
const PER_NETWORK: u32 = 20;

/// What the kernel would say of a connection on which everything has been acknowledged.
const FACTS: Facts = Facts {
    can_write: true,
    is_reading: true,
    path: Some(Path {
        ack_age: Duration::ZERO,
        in_flight: false,
        unsent: false,
        window: 65_535,
        window_probes: 0,
    }),
};

/// One connection, whose peer answers every beat.
async fn connection(
    number: u32,
    networks: Arc<Networks>,
    every: Duration,
    epoch: Instant,
    beats: Arc<AtomicU64>,
) {
    let peer = IpAddr::from(Ipv4Addr::from_bits(number));
    let key = NetworkKey::named(&(number / PER_NETWORK).to_string());
    let seat = networks.join(key, peer, false).seat;
    let patience = Patience { reply: Duration::from_secs(3), stall: every * 10 };
    let phase = every.mul_f64(f64::from(number % 1009) / 1009.0);
    let mut pulse = Pulse::new(Means::Ping, epoch.elapsed(), phase);
    loop {
        sleep_until(epoch + coalesce(pulse.deadline(), every)).await;
        if pulse.poll(epoch.elapsed(), &FACTS, &patience) == Action::Beat {
            pulse.beaten(number);
            let now = epoch.elapsed();
            pulse.read(now);
            if let Some(silence) = pulse.answered(now, Some(number)).and_then(|answer| answer.survived) {
                seat.survived(silence);
            }
            pulse.set_interval(seat.plan().interval);
            beats.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The processor time this process has used.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Fields are counted from behind the name, which may contain anything (proc(5)); ticks are 10 ms on every Linux.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (connections, every) =
        if is_test { (1_000, Duration::from_secs(1)) } else { (100_000, Duration::from_secs(30)) };
    let policy = Policy::Fixed { every };
    let networks = Networks::new(Settings { policy, ..Settings::default() }, 100_000);
    let (beats, epoch) = (Arc::new(AtomicU64::new(0)), Instant::now());
    for number in 0..connections {
        tokio::spawn(connection(number, networks.clone(), every, epoch, beats.clone()));
    }
    // The first round spreads them; the second is measured.
    sleep_until(epoch + every + Duration::from_secs(1)).await;
    let (before, used, begun) = (beats.load(Ordering::Relaxed), processor_time(), Instant::now());
    sleep_until(begun + every).await;
    let (count, used) = (beats.load(Ordering::Relaxed) - before, processor_time() - used);
    let share = used.as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{connections} pulses: {count} beats in {:.1} s, {:.2} µs each, {:.2}% of one core",
        begun.elapsed().as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64,
        share * 100.0
    );
    assert!(count >= u64::from(connections) * 9 / 10, "pulses that did not beat");
}
