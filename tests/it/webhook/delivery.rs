//! Sessions that open, die and come back, while the receiver of their events has every trouble there is.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::receiver::{Mood, Receiver, Story};
use super::{DELIVERED, DROPPED, ECHO, FAILED, PATIENCE, QUEUED, REFUSED, reaches};
use crate::harness::Natpulse;
use crate::process::{within, within_time};
use crate::raw::{BINARY, FIN, RawWs};

/// How long the receiver is down.
const DOWN: Duration = Duration::from_secs(30);
const CHAINS: u8 = 8;
const BEATS: &str = r#"{ policy = "fixed", every = "600ms", reply_timeout = "500ms" }"#;

/// Clients of one address that answer no beat: each comes when the one before it has been taken for dead. Returns how
/// many there were.
fn chain(natpulse: SocketAddr, number: u8, is_over: Arc<AtomicBool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut clients = 0;
        while !is_over.load(Ordering::Relaxed) {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 2, 0, number], 0))).unwrap();
            let mut client = RawWs::upgrade(socket.connect(natpulse).await.unwrap(), "/dying").await.unwrap();
            within("its death", async { while client.frame().await.is_ok() {} }).await;
            clients += 1;
        }
        clients
    })
}

/// A backend that accepts WebSockets and then answers nothing.
fn silent_backend(listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut sessions = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            sessions.spawn(async move {
                // Natpulse may have gone before it asked for anything.
                if let Ok(mut session) = RawWs::accept(stream).await {
                    while session.frame().await.is_ok() {}
                }
            });
        }
    })
}

async fn start(receiver: &Receiver, backend: SocketAddr) -> Natpulse {
    Natpulse::start(&format!(
        "[events]\nwebhook = \"http://{}/\"\n{ECHO}\
         [[bridge]]\nname = \"dying\"\nbackend = \"echo:\"\n\
         listen = {{ url = \"ws://127.0.0.1:0/dying\", heartbeat = {BEATS} }}\n\
         [[bridge]]\nname = \"device\"\nbackend = {{ url = \"ws://{backend}/\", heartbeat = {BEATS} }}\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\", heartbeat = \"off\" }}\n\
         linger = \"1s\"\n",
        receiver.addr
    ))
    .await
}

/// Messages cross and sessions open, as if nothing else was going on. Returns the number of sessions.
async fn sessions_notice_nothing(natpulse: &Natpulse) -> usize {
    let sessions = 20;
    let crossing = async {
        for session in 0..sessions {
            let mut client = RawWs::open(natpulse.addr("echo"), "/").await.unwrap();
            for message in 0..50_u32 {
                let payload = [session, message].map(u32::to_be_bytes).concat();
                client.send(FIN | BINARY, &payload).await.unwrap();
                assert_eq!(client.message().await.unwrap(), (BINARY, payload));
            }
            client.leave().await;
        }
    };
    within("messages to cross", crossing).await;
    sessions as usize
}

/// Every event, once, in the order in which they came first. What comes twice must be the same.
fn unique(story: &Story) -> Vec<Value> {
    let mut seen: HashMap<String, Value> = HashMap::new();
    let mut unique = Vec::new();
    for event in story.taken.iter().flatten() {
        let id = event["id"].as_str().unwrap().to_owned();
        match seen.get(&id) {
            Some(known) => assert_eq!(known, event),
            None => {
                unique.push(event.clone());
                seen.insert(id, event.clone());
            }
        }
    }
    unique
}

/// The part of an id in front of the number, and the number.
pub fn parts(event: &Value) -> (&str, usize) {
    let (instance, number) = event["id"].as_str().unwrap().split_once('-').unwrap();
    (instance, number.parse().unwrap())
}

fn is(event: &Value, kind: &str, side: &str) -> bool {
    event["type"] == kind && event["side"] == side
}

fn count(events: &[Value], kind: &str, side: &str) -> usize {
    events.iter().filter(|event| is(event, kind, side)).count()
}

/// The sessions of one address: each opens, dies, and is said to be back by the next.
fn check_chain(events: &[&Value], clients: usize) {
    let mut events = events.iter();
    let mut died: Option<&Value> = None;
    for _ in 0..clients {
        let opened = events.next().expect("the opening");
        assert!(is(opened, "opened", "client"), "{opened}");
        if let Some(died) = died {
            let returned = events.next().expect("the return");
            assert!(is(returned, "returned", "client"), "{returned}");
            assert_eq!(returned["session"], opened["session"]);
            assert_eq!(returned["died_session"], died["session"]);
        }
        let death = events.next().expect("the death");
        assert!(is(death, "died", "client"), "{death}");
        assert_eq!((&death["session"], &death["client"]), (&opened["session"], &opened["client"]));
        assert!(death["at"].as_f64() >= opened["at"].as_f64());
        assert!((0.2..30.0).contains(&death["silence_s"].as_f64().unwrap()), "{death}");
        assert!(["nat", "unclear"].contains(&death["cause"].as_str().unwrap()), "{death}");
        assert_eq!(death["last_message"], Value::Null, "there was no message: {death}");
        died = Some(*death);
    }
    assert_eq!(events.next(), None);
}

/// What is counted under a name, over all its labels but for those that are given.
async fn counted(natpulse: &Natpulse, name: &str, label: &str) -> usize {
    let metrics = natpulse.metrics().await;
    let series = metrics.iter().filter(|(series, _)| series.starts_with(name) && series.contains(label));
    series.map(|(_, count)| *count as usize).sum()
}

#[tokio::test]
async fn every_event_arrives_once_and_in_order_whatever_the_receiver_does() {
    let mut receiver = Receiver::open(Mood::Takes(Duration::from_millis(300))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start(&receiver, listener.local_addr().unwrap()).await;
    let backend = silent_backend(listener);
    let device = TcpStream::connect(natpulse.addr("device")).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let chains: Vec<_> =
        (1..=CHAINS).map(|number| chain(natpulse.addr("dying"), number, is_over.clone())).collect();

    // It is slow.
    receiver.is_asked(5).await;
    // It answers nothing, and then hangs up on what it has taken.
    receiver.is(Mood::Silent);
    receiver.is_asked(1).await;
    let taken = receiver.story().taken.len();
    let mut echoing = sessions_notice_nothing(&natpulse).await;
    assert_eq!(receiver.story().taken.len(), taken, "all of that while a request waited for its answer");
    receiver.is(Mood::HangsUp);
    receiver.has("the same batch twice", |story| story.taken.len() >= taken + 2).await;
    receiver.is(Mood::Takes(Duration::ZERO));
    receiver.is_asked(3).await;
    // It is down.
    receiver.close().await;
    reaches(&natpulse, FAILED, natpulse.metrics().await[FAILED] + 1.0).await;
    let down = tokio::time::sleep(DOWN);
    echoing += sessions_notice_nothing(&natpulse).await;
    down.await;
    assert!(natpulse.metrics().await[QUEUED] > 100.0, "more than fit into one request");
    // It is back, but has an error; and then none.
    receiver.is(Mood::Refuses(StatusCode::INTERNAL_SERVER_ERROR));
    receiver.listen().await;
    reaches(&natpulse, REFUSED, 1.0).await;
    echoing += sessions_notice_nothing(&natpulse).await;
    receiver.is(Mood::Takes(Duration::ZERO));
    reaches(&natpulse, DELIVERED, 1.0 + natpulse.metrics().await[DELIVERED]).await;

    is_over.store(true, Ordering::Relaxed);
    let mut clients = Vec::new();
    for chain in chains {
        clients.push(within("the last death", chain).await.unwrap());
    }
    drop(device);
    natpulse.closed_sessions(natpulse.opened().await).await;
    within_time(PATIENCE, "all to be delivered", async { while natpulse.metrics().await[QUEUED] > 0.0 {} })
        .await;

    let story = receiver.story();
    let events = unique(&story);
    let first = parts(&events[0]).0.to_owned();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(parts(event), (&first[..], place + 1), "in order, without a gap");
    }
    let metrics = natpulse.metrics().await;
    assert_eq!((metrics[DELIVERED] as usize, metrics[DROPPED] as usize), (events.len(), 0));
    assert!(story.taken.iter().map(Vec::len).sum::<usize>() > events.len(), "some came twice");
    assert_eq!(story.taken.iter().map(Vec::len).max(), Some(100));
    assert_eq!(count(&events, "opened", "client"), natpulse.opened().await);
    for side in ["client", "backend"] {
        let deaths = counted(&natpulse, "natpulse_deaths_total", &format!("side=\"{side}\"")).await;
        assert_eq!(count(&events, "died", side), deaths);
    }
    let resumed = counted(&natpulse, "natpulse_reconnects_total", "result=\"resumed\"").await;
    assert_eq!(count(&events, "returned", "backend"), resumed);
    assert!(resumed > 2, "the backend was dialled anew now and then: {resumed}");

    let mut by_address: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["bridge"] == "dying") {
        let client = event["client"].as_str().unwrap();
        by_address.entry(client.rsplit_once(':').unwrap().0).or_default().push(event);
    }
    for (number, clients) in (1..=CHAINS).zip(&clients) {
        assert!(*clients > 10, "{clients}");
        check_chain(&by_address[&format!("127.2.0.{number}")[..]], *clients);
    }
    let of_device: Vec<_> = events.iter().filter(|event| event["bridge"] == "device").collect();
    assert!(is(of_device[0], "opened", "client"));
    for (place, event) in of_device[1..].iter().enumerate() {
        assert!(is(event, if place % 2 == 0 { "died" } else { "returned" }, "backend"), "{event}");
        assert_eq!(event["session"], of_device[0]["session"]);
    }
    let echoed = events.iter().filter(|event| event["bridge"] == "echo").count();
    assert_eq!(echoed, echoing, "they open, and never die");
    println!("{} events in {} requests, {echoing} sessions meanwhile", events.len(), story.asked.len());
    backend.abort();
    natpulse.stop().await;
}
