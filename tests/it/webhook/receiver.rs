//! A receiver of events with moods.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::PATIENCE;
use crate::process::within_time;
use crate::tools::free_addr;

/// What it does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes it, after this time.
    Takes(Duration),
    /// Takes it, and hangs up instead of answering.
    HangsUp,
    /// Says nothing, until the mood changes.
    Silent,
    /// Answers this, and takes nothing.
    Refuses(StatusCode),
    /// Sends it elsewhere, and takes nothing.
    Redirects(String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub start: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What has happened to a receiver so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub connections: usize,
    pub asked: Vec<Asked>,
    /// The events of each request that was taken.
    pub taken: Vec<Vec<Value>>,
}

#[derive(Debug)]
struct State {
    mood: watch::Sender<Mood>,
    story: watch::Sender<Story>,
}

pub struct Receiver {
    pub addr: SocketAddr,
    state: Arc<State>,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    /// One at an address of its own, which is closed so far.
    pub fn closed(mood: Mood) -> Receiver {
        let state = State { mood: watch::Sender::new(mood), story: watch::Sender::default() };
        Receiver { addr: free_addr(), state: Arc::new(state), serving: None }
    }

    pub async fn open(mood: Mood) -> Receiver {
        let mut receiver = Receiver::closed(mood);
        receiver.listen().await;
        receiver
    }

    /// Opens the port.
    pub async fn listen(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        let state = self.state.clone();
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = state.clone();
                state.story.send_modify(|story| story.connections += 1);
                connections.spawn(async move {
                    let service = service_fn(|request| state.answer(request));
                    // Ends with an error where the mood is to hang up.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
    }

    /// Closes the port, and every connection.
    pub async fn close(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
    }

    pub fn is(&self, mood: Mood) {
        self.state.mood.send_replace(mood);
    }

    pub fn story(&self) -> Story {
        self.state.story.borrow().clone()
    }

    /// Waits until something has happened.
    pub async fn has(&self, what: &str, mut happened: impl FnMut(&Story) -> bool) {
        let mut story = self.state.story.subscribe();
        within_time(PATIENCE, what, story.wait_for(|story| happened(story))).await.unwrap();
    }

    /// Waits until so many more requests have come.
    pub async fn is_asked(&self, more: usize) {
        let wanted = self.story().asked.len() + more;
        self.has("more requests", |story| story.asked.len() >= wanted).await;
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let start = format!("{} {} {:?}", head.method, head.uri, head.version);
        let asked = Asked { start, headers: head.headers, body: body.clone() };
        self.story.send_modify(|story| story.asked.push(asked));
        let mut moods = self.mood.subscribe();
        let mood = moods.wait_for(|mood| *mood != Mood::Silent).await.unwrap().clone();
        let mut response = Response::new(Full::default());
        match mood {
            Mood::Silent => unreachable!("it was waited for another mood"),
            Mood::Takes(time) => {
                tokio::time::sleep(time).await;
                self.take(&body);
            }
            Mood::HangsUp => {
                self.take(&body);
                return Err(io::Error::other("the mood is to hang up"));
            }
            Mood::Refuses(status) => *response.status_mut() = status,
            Mood::Redirects(target) => {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                response.headers_mut().insert(LOCATION, target.parse().unwrap());
            }
        }
        Ok(response)
    }

    fn take(&self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap();
        let events = body["events"].as_array().unwrap().clone();
        self.story.send_modify(|story| story.taken.push(events));
    }
}
