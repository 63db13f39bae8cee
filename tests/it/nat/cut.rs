//! A path that is cut without a word: nothing answers, and nothing is reset.

use std::time::{Duration, Instant};

use super::network::Nat;
use super::{Crossing, Session};
use crate::ends::{Framing, stream_end};
use crate::process::within;

const INTERVAL: Duration = Duration::from_secs(2);
const REPLY: Duration = Duration::from_secs(1);

#[tokio::test]
async fn both_sides_find_out_on_time_and_the_device_comes_back_with_its_path() {
    let nat = Nat::start(Duration::from_secs(60)).await;
    let beats = "[heartbeat]\npolicy = \"fixed\"\nevery = \"2s\"\nreply_timeout = \"1s\"";
    let crossing = Crossing::start(&nat, beats).await;
    let Session { device, mut service } = crossing.session().await;
    // A beat or two show that both sides are at rest, with nothing on its way.
    tokio::time::sleep(INTERVAL).await;
    nat.cut().await;
    let cut = Instant::now();
    let deadline = INTERVAL + REPLY + Duration::from_secs(1);
    let far = async {
        within("the service's end", service.1.end()).await;
        cut.elapsed()
    };
    let near = async {
        crossing.near.event("dialling again", |event| event["reason"] == "backend_dead").await;
        cut.elapsed()
    };
    let (far, near) = tokio::join!(far, near);
    assert!(far < deadline && near < deadline, "found after {far:?} and {near:?}");
    drop(service);
    assert_eq!(crossing.far.closed_sessions(1).await[0]["reason"], "client_dead");

    nat.restore().await;
    let again = within("the device's return", crossing.service.accept()).await.unwrap().0;
    let mut session = Session { device, service: stream_end(again, Framing::U32be) };
    session.exchange().await;
}
