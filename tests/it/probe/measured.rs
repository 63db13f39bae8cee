//! What is found out about a real NAT.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::command::probe;
use crate::harness::Natpulse;
use crate::nat::Crossing;
use crate::nat::network::{Nat, SERVER};

/// In the compressed time of these tests.
const HEARTBEAT: &str =
    "[heartbeat]\nmin = \"1s\"\nmax = \"30s\"\nmargin_min = \"200ms\"\nreply_timeout = \"500ms\"\n";

const SESSIONS: usize = 20;

/// The NAT counts in ticks of its own, and a loaded machine speaks late.
const SLACK: Duration = Duration::from_millis(100);

async fn no_session_dies_while_the_network_is_measured(timeout: Duration) {
    let nat = Nat::start(timeout).await;
    let crossing = Crossing::start(&nat, HEARTBEAT).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(crossing.session().await);
    }
    // This is what is promised, so it takes this long: nothing but beats for ten timeouts.
    sleep(timeout * 10).await;
    assert_eq!(crossing.near.logged("session closed"), Vec::<Value>::new());
    assert_eq!(crossing.far.logged("session closed"), Vec::<Value>::new());
    for session in &mut sessions {
        let begun = Instant::now();
        session.down(b"after a long silence").await;
        session.up(b"and back").await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let measured = crossing.near.logged("network measured");
    measured.iter().for_each(|event| println!("{event}"));
    let proven = Duration::from_secs_f64(measured.last().unwrap()["proven_s"].as_f64().unwrap());
    assert!(proven >= timeout.mul_f32(0.8) && proven <= timeout + SLACK, "proven {proven:?} of {timeout:?}");
    let probes = crossing.far.metrics().await["natpulse_handshakes_total{bridge=\"far\",result=\"probe\"}"];
    println!("{probes} probe connections");
}

#[tokio::test]
async fn no_session_dies_behind_a_nat_that_forgets_after_6_s() {
    no_session_dies_while_the_network_is_measured(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn no_session_dies_behind_a_nat_that_forgets_after_15_s() {
    if std::env::var_os("NATPULSE_LONG").is_none() {
        println!("takes 150 s: set NATPULSE_LONG=1");
        return;
    }
    no_session_dies_while_the_network_is_measured(Duration::from_secs(15)).await;
}

async fn the_command_finds_the_timeout_within_5_percent(timeout: Duration, recreates: bool) {
    let nat = Nat::start(timeout).await;
    nat.recreates(recreates);
    let config =
        format!("[[bridge]]\nname = \"far\"\nlisten = \"ws://{SERVER}:0/nat\"\nbackend = \"echo:\"\n");
    let far = Natpulse::start_in(&nat.server, &config).await;
    let url = far.url("far");
    let mut command = probe(&[&url, "--min", "1s", "--max", "30s", "--json"]);
    let output = nat.device.enter(|| command.output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    let (proven, refuted) = (told["proven_s"].as_f64().unwrap(), told["refuted_s"].as_f64().unwrap());
    let (timeout, slack) = (timeout.as_secs_f64(), SLACK.as_secs_f64());
    assert!(proven >= timeout * 0.95 && proven <= timeout + slack, "{told}");
    assert!(refuted >= timeout - slack && refuted <= timeout * 1.05, "{told}");
    assert_eq!(far.opened().await, 0, "no session");
}

#[tokio::test]
async fn the_command_finds_the_timeout_of_a_nat_that_drops_what_it_has_forgotten() {
    the_command_finds_the_timeout_within_5_percent(Duration::from_secs(6), false).await;
}

#[tokio::test]
async fn the_command_finds_the_timeout_of_a_nat_that_knows_a_forgotten_client_again() {
    the_command_finds_the_timeout_within_5_percent(Duration::from_secs(3), true).await;
}
