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
use crate::drain::{Drain, Schedule};
use crate::metrics::Count;
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
    drain: Option<Leaving>,
    sessions: Total,
    uplink: Crossed,
    downlink: Crossed,
    beats: Beats,
    deaths: Ends<u64>,
    networks: Known,
}

/// How natpulse leaves.
#[derive(Debug, Serialize)]
pub(super) struct Leaving {
    /// When it was asked to.
    begun: Seconds,
    /// When listeners close.
    closing: Seconds,
    /// When whoever is left is cut off.
    deadline: Seconds,
    /// Whether nobody is left to be waited for.
    is_over: bool,
}

impl Leaving {
    /// What there is to say, once somebody has asked for it.
    pub(super) fn of(drain: &Drain) -> Option<Leaving> {
        let Schedule { begun, closing, deadline } = drain.schedule()?;
        let [begun, closing, deadline] = [begun, closing, deadline].map(Seconds);
        Some(Leaving { begun, closing, deadline, is_over: drain.is_over() })
    }
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
        let Count { bridge: count, sides: [client, backend] } = counted.metrics.count();
        let mut beats = Beats::default();
        beats.add(&client);
        beats.add(&backend);
        let [uplink, downlink] = [0, 1]
            .map(|direction| Crossed { messages: count.messages[direction], bytes: count.bytes[direction] });
        Sums {
            sessions: Total {
                active: count.active,
                opened: count.opened,
                closed: count.closed,
                limit: counted.metrics.limit(),
            },
            crossed: [uplink, downlink],
            beats,
            deaths: Ends { client: client.deaths, backend: backend.deaths },
        }
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
        let drain = Leaving::of(&counted.drain);
        let mut survey = Survey::default();
        counted.sessions.networks().iter().for_each(|(_, networks)| networks.survey(&mut survey));
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: Seconds(counted.started),
            now: Seconds(now()),
            is_draining: drain.is_some(),
            drain,
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
