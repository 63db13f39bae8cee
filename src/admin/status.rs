//! What natpulse is doing, all bridges together: now, and over the last ten minutes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::channel::Sender;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Counted;
use super::answer::{Answer, events, written};
use super::rows::{Beats, Crossed, Ends, Seconds};
use crate::networks::{Survey, now};

/// How often whoever looks on is told.
const EVERY: Duration = Duration::from_secs(1);
/// How many of those lie between two samples that are kept.
const SAMPLED: usize = 5;
/// How many samples are kept: ten minutes of them.
const SAMPLES: usize = 120;
/// How many may look on at once, so that half of the connections are left to those who ask and go.
const ONLOOKERS: usize = 32;

/// The answer of `/api/status`.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    started: Seconds,
    now: Seconds,
    is_draining: bool,
    sessions: Total,
    uplink: Crossed,
    downlink: Crossed,
    beats: Beats,
    deaths: Ends<u64>,
    networks: Known,
}

#[derive(Debug, Serialize)]
struct Total {
    active: u64,
    opened: u64,
    closed: u64,
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Known {
    learning: usize,
    settled: usize,
}

/// What was counted at one moment; all but `active` only grows.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    at: Seconds,
    active: u64,
    opened: u64,
    closed: u64,
    beats_sent: u64,
    beats_answered: u64,
    beats_missed: u64,
    deaths: u64,
}

/// What is told as it happens.
#[derive(Debug)]
pub(super) struct Live {
    /// Oldest first.
    samples: Mutex<VecDeque<Sample>>,
    /// The latest status, as an event; written only while somebody looks on.
    status: watch::Sender<Bytes>,
}

/// What was counted so far, over all bridges.
struct Sums {
    sessions: Total,
    crossed: [Crossed; 2],
    beats: Beats,
    deaths: Ends<u64>,
}

impl Sums {
    fn of(counted: &Counted) -> Sums {
        let mut sums = Sums {
            sessions: Total { active: 0, opened: 0, closed: 0, limit: counted.metrics.limit() },
            crossed: [Crossed::default(); 2],
            beats: Beats::default(),
            deaths: Ends { client: 0, backend: 0 },
        };
        for bridge in &counted.bridges {
            let count = counted.metrics.bridge(&bridge.name).count();
            sums.sessions.active += count.active;
            sums.sessions.opened += count.opened;
            sums.sessions.closed += count.closed;
            let directions = count.messages.iter().zip(count.bytes);
            for (crossed, (messages, bytes)) in sums.crossed.iter_mut().zip(directions) {
                crossed.messages += messages;
                crossed.bytes += bytes;
            }
            let [client, backend] = counted.sides(bridge);
            sums.beats.add(&client);
            sums.beats.add(&backend);
            sums.deaths.client += client.deaths;
            sums.deaths.backend += backend.deaths;
        }
        sums
    }

    fn sample(&self) -> Sample {
        Sample {
            at: Seconds(now()),
            active: self.sessions.active,
            opened: self.sessions.opened,
            closed: self.sessions.closed,
            beats_sent: self.beats.sent,
            beats_answered: self.beats.answered,
            beats_missed: self.beats.missed,
            deaths: self.deaths.client + self.deaths.backend,
        }
    }
}

impl Status {
    /// What is so now. Looks at every network, so it is made for those who ask only.
    pub(super) fn of(counted: &Counted) -> Status {
        let Sums { sessions, crossed: [uplink, downlink], beats, deaths } = Sums::of(counted);
        let mut survey = Survey::default();
        counted.networks.iter().for_each(|(_, networks)| networks.survey(&mut survey));
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: Seconds(counted.started),
            now: Seconds(now()),
            is_draining: counted.drain.is_cancelled(),
            sessions,
            uplink,
            downlink,
            beats,
            deaths,
            networks: Known { learning: survey.learning, settled: survey.settled },
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Bytes {
    let mut event = format!("event: {name}\ndata: ").into_bytes();
    event.extend(written(data));
    event.extend(b"\n\n");
    event.into()
}

impl Live {
    /// Begins with what is so now.
    pub(super) fn new(counted: &Counted) -> Live {
        let live = Live { samples: Mutex::default(), status: watch::Sender::new(Bytes::new()) };
        live.keep(Sums::of(counted).sample());
        live
    }

    /// Takes samples, and tells those who look on.
    pub(super) async fn run(&self, counted: &Counted) {
        let mut clock = interval_at(Instant::now() + EVERY, EVERY);
        // A machine that slept has no past to catch up with.
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            for tick in 1..=SAMPLED {
                clock.tick().await;
                if tick == SAMPLED {
                    self.keep(Sums::of(counted).sample());
                }
                if self.status.receiver_count() > 0 {
                    self.status.send_replace(event("status", &Status::of(counted)));
                }
            }
        }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        // Nothing in here can be left half done by a panic.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, sample: Sample) {
        let mut samples = self.samples();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The answer of `/api/events`; `None` where too many look on already.
    pub(super) fn events(&self, counted: &Arc<Counted>) -> Option<Answer> {
        if self.status.receiver_count() >= ONLOOKERS {
            return None;
        }
        let news = self.status.subscribe();
        let history = event("history", &*self.samples());
        let status = event("status", &Status::of(counted));
        let (sender, answer) = events();
        tokio::spawn(tell(sender, [history, status].concat().into(), news));
        Some(answer)
    }
}

/// Sends events for as long as somebody reads them; who reads slowly misses some.
async fn tell(mut sender: Sender<Bytes>, first: Bytes, mut news: watch::Receiver<Bytes>) {
    let mut next = first;
    while sender.send_data(next).await.is_ok() && news.changed().await.is_ok() {
        next = news.borrow_and_update().clone();
    }
}
