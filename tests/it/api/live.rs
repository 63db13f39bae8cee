//! What is told as it happens.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::local;
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::RawWs;

const ECHO: &str = "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n";

/// Somebody who looks on.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(natpulse: &Natpulse) -> Events {
        let mut stream = TcpStream::connect(natpulse.admin()).await.unwrap();
        stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut events = Events(BufReader::new(stream));
        assert_eq!(events.line().await, "HTTP/1.1 200 OK");
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            head += &(events.line().await.to_lowercase() + "\n");
        }
        assert!(head.contains("content-type: text/event-stream\n"), "{head}");
        assert!(head.contains("cache-control: no-store\n"), "{head}");
        events
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line", self.0.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// The next event: its name, and what it tells.
    async fn next(&mut self) -> (String, Value) {
        let mut name = None;
        loop {
            // Lines between events are the sizes of HTTP's chunks, and empty.
            let line = self.line().await;
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name.unwrap(), serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next status.
    async fn status(&mut self) -> Value {
        let (name, status) = self.next().await;
        assert_eq!(name, "status");
        status
    }
}

#[tokio::test]
async fn whoever_looks_on_is_told_the_past_and_then_every_change() {
    let natpulse = Natpulse::start(ECHO).await;
    let mut events = Events::open(&natpulse).await;
    let (name, history) = events.next().await;
    assert_eq!(name, "history");
    let first = &history[0];
    assert!(first["at"].as_f64().unwrap() > 1.7e9, "{first}");
    let counters = ["active", "opened", "closed", "beats_sent", "beats_answered", "beats_missed", "deaths"];
    for name in counters {
        assert_eq!(first[name], 0, "{first}");
    }
    let before = events.status().await;
    assert_eq!(before["sessions"]["active"], 0);

    let client = RawWs::open(natpulse.addr("b"), "/").await.unwrap();
    while events.status().await["sessions"]["active"] != 1 {}
    client.leave().await;
    let mut after = events.status().await;
    while after["sessions"]["closed"] != 1 {
        after = events.status().await;
    }
    assert!(after["now"].as_f64() > before["now"].as_f64());

    // A sample is kept now and then, for whoever comes later.
    let mut opened = 0;
    while opened != 1 {
        // Once a second, so that those who have gone make room.
        events.status().await;
        let (_, history) = Events::open(&natpulse).await.next().await;
        let samples = history.as_array().unwrap();
        assert!(samples.windows(2).all(|pair| pair[0]["at"].as_f64() < pair[1]["at"].as_f64()), "{history}");
        opened = samples.last().unwrap()["opened"].as_u64().unwrap();
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn those_who_look_on_leave_room_for_others() {
    let natpulse = Natpulse::start(ECHO).await;
    let mut onlookers = Vec::new();
    for _ in 0..32 {
        onlookers.push(Events::open(&natpulse).await);
    }
    assert_eq!(local(&natpulse, "GET", "/api/events").await.status, 503);
    assert_eq!(local(&natpulse, "GET", "/healthz").await.status, 200);
    // Who has gone makes room, as soon as that is noticed.
    onlookers.pop();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(natpulse.admin()).await.unwrap();
            stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.unwrap();
            if line.contains(" 200 ") {
                return;
            }
        }
    };
    within("a place", again).await;
    natpulse.stop().await;
}
