//! What a receiver is sent, and what natpulse makes of its answers.

use std::fs;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::delivery::parts;
use super::receiver::{Mood, Receiver};
use super::{DELIVERED, DROPPED, ECHO, QUEUED, REFUSED, reaches};
use crate::harness::Natpulse;
use crate::raw::RawWs;
use crate::tools::TempDir;

const SECRET: &str = "a secret of 24 characters";

async fn start(receiver: &Receiver, events: &str) -> Natpulse {
    Natpulse::start(&format!("[events]\nwebhook = \"http://{}/hook?of=im\"\n{events}\n{ECHO}", receiver.addr))
        .await
}

/// As RFC 2104 section 2 writes it down, for a key no longer than a block.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let [inner, outer] = [0x36, 0x5c].map(|pad| block.map(|byte| byte ^ pad));
    let inner = Sha256::digest([&inner[..], text].concat());
    let outer = Sha256::digest([&outer[..], &inner[..]].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn requests_are_signed_and_share_a_connection() {
    let dir = TempDir::new();
    let file = dir.path().join("secret");
    fs::write(&file, format!("  {SECRET}\nand a line that nobody reads\n")).unwrap();
    let receiver = Receiver::open(Mood::Takes(Duration::ZERO)).await;
    let natpulse = start(&receiver, &format!("secret_file = {:?}", file.to_str().unwrap())).await;
    let is_it = |event: &Value| event["file"] == file.to_str().unwrap();
    natpulse.event("everyone on this machine may read events.secret_file", is_it).await;
    for sessions in 1..=3 {
        RawWs::open(natpulse.addr("echo"), "/").await.unwrap().leave().await;
        receiver.has("the event", |story| story.taken.len() == sessions).await;
    }
    let story = receiver.story();
    assert_eq!(story.connections, 1);
    for asked in &story.asked {
        assert_eq!(asked.start, "POST /hook?of=im HTTP/1.1");
        assert_eq!(asked.headers["host"], receiver.addr.to_string());
        assert_eq!(asked.headers["content-type"], "application/json");
        let signature = format!("sha256={}", hmac(SECRET.as_bytes(), &asked.body));
        assert_eq!(asked.headers["natpulse-signature"], signature);
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let receiver = Receiver::open(Mood::Takes(Duration::ZERO)).await;
    let natpulse = start(&receiver, "").await;
    let client = RawWs::open(natpulse.addr("echo"), "/").await.unwrap();
    receiver.has("the event", |story| story.taken.len() == 1).await;
    assert!(!receiver.story().asked[0].headers.contains_key("natpulse-signature"));
    client.leave().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn errors_and_redirects_are_refusals() {
    let elsewhere = Receiver::open(Mood::Takes(Duration::ZERO)).await;
    let receiver = Receiver::open(Mood::Redirects(format!("http://{}/", elsewhere.addr))).await;
    let natpulse = start(&receiver, "").await;
    let client = RawWs::open(natpulse.addr("echo"), "/").await.unwrap();
    reaches(&natpulse, REFUSED, 1.0).await;
    let told = natpulse.event("the webhook takes no events; trying again", |_| true).await;
    assert_eq!(told["error"], "the answer is 307 Temporary Redirect");
    receiver.is(Mood::Refuses(StatusCode::BAD_REQUEST));
    reaches(&natpulse, REFUSED, 2.0).await;
    receiver.is(Mood::Takes(Duration::ZERO));
    natpulse.event("the webhook takes events again", |_| true).await;
    assert_eq!(receiver.story().taken.len(), 1);
    assert_eq!(elsewhere.story().connections, 0);
    client.leave().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_receiver_that_answers_nothing_is_given_up_and_asked_again() {
    let receiver = Receiver::open(Mood::Silent).await;
    let natpulse = start(&receiver, "").await;
    let client = RawWs::open(natpulse.addr("echo"), "/").await.unwrap();
    let told = natpulse.event("the webhook takes no events; trying again", |_| true).await;
    assert_eq!(told["error"], "no answer within 10 s");
    receiver.is(Mood::Takes(Duration::ZERO));
    receiver.has("the event", |story| story.taken.len() == 1).await;
    let story = receiver.story();
    assert_eq!(story.connections, 2, "an answer that comes late must not be taken for another's");
    assert_eq!(story.asked[0].body, story.asked[1].body);
    client.leave().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_leaves_a_gap() {
    let receiver = Receiver::open(Mood::Silent).await;
    let natpulse = start(&receiver, "queue = 5").await;
    let open = async || RawWs::open(natpulse.addr("echo"), "/").await.unwrap().leave().await;
    open().await;
    receiver.is_asked(1).await;
    for _ in 2..=8 {
        open().await;
    }
    reaches(&natpulse, DROPPED, 3.0).await;
    assert_eq!(natpulse.metrics().await[QUEUED], 5.0);
    receiver.is(Mood::Takes(Duration::ZERO));
    reaches(&natpulse, DELIVERED, 5.0).await;
    open().await;
    reaches(&natpulse, DELIVERED, 6.0).await;
    let story = receiver.story();
    let numbers: Vec<_> = story.taken.iter().flatten().map(|event| parts(event).1).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 9]);
    assert_eq!(natpulse.metrics().await[DROPPED], 3.0);
    natpulse.stop().await;
}
