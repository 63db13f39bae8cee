//! What still waits when natpulse leaves.

use std::time::Duration;

use super::receiver::{Mood, Receiver};
use super::{ECHO, FAILED, reaches};
use crate::harness::Natpulse;
use crate::raw::RawWs;

/// A natpulse with an event that was not taken, and the client whose it is.
async fn with_an_event(receiver: &Receiver, window: &str) -> (Natpulse, RawWs) {
    let config = format!(
        "[server]\ndrain_window = \"{window}\"\n[events]\nwebhook = \"http://{}/\"\n{ECHO}",
        receiver.addr
    );
    let natpulse = Natpulse::start(&config).await;
    let client = RawWs::open(natpulse.addr("echo"), "/").await.unwrap();
    reaches(&natpulse, FAILED, 1.0).await;
    (natpulse, client)
}

#[tokio::test]
async fn what_waits_is_delivered_before_natpulse_leaves() {
    let mut receiver = Receiver::closed(Mood::Takes(Duration::ZERO));
    let (mut natpulse, client) = with_an_event(&receiver, "25s").await;
    client.leave().await;
    natpulse.closed_sessions(1).await;
    natpulse.terminate();
    natpulse.event("drained", |_| true).await;
    // All sessions have gone, and the event alone keeps it from leaving.
    receiver.listen().await;
    receiver.has("the event", |story| story.taken.len() == 1).await;
    assert_eq!(natpulse.exit().await.code(), Some(0));
    assert_eq!(receiver.story().taken[0][0]["type"], "opened");
}

#[tokio::test]
async fn a_receiver_that_never_comes_back_keeps_nobody_longer_than_the_window() {
    let receiver = Receiver::closed(Mood::Takes(Duration::ZERO));
    let (mut natpulse, client) = with_an_event(&receiver, "700ms").await;
    natpulse.terminate();
    let over = natpulse.event("the drain window is over; events are left undelivered", |_| true).await;
    assert_eq!(over["left"], 1);
    assert_eq!(natpulse.exit().await.code(), Some(0));
    drop(client);
}

#[tokio::test]
async fn without_events_a_drain_is_over_at_once() {
    let receiver = Receiver::closed(Mood::Takes(Duration::ZERO));
    let config =
        format!("[server]\ndrain_window = \"1h\"\n[events]\nwebhook = \"http://{}/\"\n{ECHO}", receiver.addr);
    Natpulse::start(&config).await.stop().await;
}
