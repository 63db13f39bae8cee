//! The probes of one network: does what its planner says, and tells it what came of that.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::near::{Connection, ProbeError, Target, Verdict};
use crate::heartbeat::{Bracket, Outcome, ProbeId, Settings, Step};
use crate::metrics::{self, Metrics};
use crate::networks::{Probing, now};

/// The probes of one network. They end when this is dropped.
pub struct Prober {
    probing: Probing,
    target: Arc<Target>,
    settings: Arc<Settings>,
    /// Who counts, if anyone does.
    metrics: Option<Metrics>,
    running: Vec<Running>,
    /// Connections that have just proved to work. Closed when there is no silence for them.
    spare: Vec<Connection>,
    /// How often in a row the far side could not be reached, and when to try again.
    failures: u32,
    retry: Option<Instant>,
    is_resting: bool,
}

struct Running {
    probe: ProbeId,
    silence: Duration,
    begun: Instant,
    counted: Option<metrics::Probe>,
    future: Pin<Box<dyn Future<Output = Verdict> + Send>>,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A silence ended.
    Ended {
        /// What was asked for.
        silence: Duration,
        /// What came of it.
        outcome: Outcome,
        /// Why it is unclear, where it is.
        why: Option<String>,
        /// What the network had shown before.
        before: Bracket,
        /// What it has shown now.
        after: Bracket,
    },
    /// The far side cannot be reached; it will be tried again.
    Unreachable {
        /// Why.
        why: String,
        /// How often in a row.
        failures: u32,
        /// When it is tried again, from now on.
        wait: Duration,
    },
    /// There is nothing left to find out for the time being.
    Settled,
}

/// The longest pause between attempts to reach the far side.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// The longest sleep, because a rest may be endless.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<_> = self.running.iter().map(|running| running.silence).collect();
        f.debug_struct("Prober")
            .field("target", &self.target)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}

impl Prober {
    /// The probes of a network, to a far side in or behind it, which `metrics` are to count.
    pub fn new(probing: Probing, target: Target, metrics: Option<Metrics>) -> Prober {
        let settings = Arc::new(probing.settings());
        Prober {
            probing,
            target: Arc::new(target),
            settings,
            metrics,
            running: Vec::new(),
            spare: Vec::new(),
            failures: 0,
            retry: None,
            is_resting: false,
        }
    }

    /// Opens a first connection, to see whether there is any point.
    ///
    /// # Errors
    /// There is none: the far side is out of reach, or no natpulse.
    pub(super) async fn open(&mut self) -> Result<(), ProbeError> {
        let connection = self.target.open(&self.settings).await?;
        self.spare.push(connection);
        Ok(())
    }

    /// The network's name; `None` once its last connection has gone.
    pub(super) fn network(&self) -> Option<String> {
        self.probing.name()
    }

    /// What the network has shown; `None` as above.
    pub(super) fn bracket(&self) -> Option<Bracket> {
        self.probing.bracket()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The silences that are being tried, and when each of them began.
    pub(super) fn running(&self) -> impl Iterator<Item = (Duration, Instant)> + '_ {
        self.running.iter().map(|running| (running.silence, running.begun))
    }

    /// Goes on until something has happened; `None` once the network's last connection has gone. Nothing is lost if
    /// this is dropped and called again.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let wake = match self.retry.filter(|retry| *retry > Instant::now()) {
                Some(retry) => Some(retry),
                None => {
                    let until = self.follow()?;
                    if until.is_some()
                        && self.running.is_empty()
                        && !std::mem::replace(&mut self.is_resting, true)
                    {
                        return Some(Event::Settled);
                    }
                    until
                }
            };
            let wake = wake.unwrap_or_else(|| Instant::now() + LONGEST_SLEEP);
            tokio::select! {
                (probe, verdict) = ended(&mut self.running) => {
                    return self.on_ended(&probe, verdict);
                }
                () = self.probing.news() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what the planner says, until it says that there is nothing to do before the moment that is returned.
    fn follow(&mut self) -> Option<Option<Instant>> {
        let until = loop {
            match self.probing.step()? {
                Step::Start { probe, silence } => self.start(probe, silence),
                Step::Stop(probe) => self.running.retain(|running| running.probe != probe),
                Step::Wait => break None,
                Step::Rest { until } => {
                    // The clock may be set under way, and never is right to less than a millisecond.
                    let pause = until.saturating_sub(now()).clamp(Duration::from_millis(1), LONGEST_SLEEP);
                    break Some(Instant::now() + pause);
                }
            }
        };
        self.spare.clear();
        Some(until)
    }

    fn start(&mut self, probe: ProbeId, silence: Duration) {
        self.is_resting = false;
        let (target, settings, spare) = (self.target.clone(), self.settings.clone(), self.spare.pop());
        let future = Box::pin(async move { target.probe(spare, silence, &settings).await });
        let counted = self.metrics.as_ref().map(Metrics::probe);
        self.running.push(Running { probe, silence, begun: Instant::now(), counted, future });
    }

    fn on_ended(&mut self, probe: &Running, verdict: Verdict) -> Option<Event> {
        if let Some(counted) = &probe.counted {
            counted.ended(verdict.outcome);
        }
        let before = self.probing.bracket()?;
        self.probing.ended(probe.probe, verdict.outcome)?;
        let after = self.probing.bracket()?;
        self.spare.extend(verdict.spare);
        let why = verdict.why;
        // Whoever hangs up before the shortest silence is over would otherwise be dialled in a loop.
        let is_early = verdict.outcome == Outcome::Unclear && probe.begun.elapsed() < self.settings.min;
        if !verdict.is_unreachable && !is_early {
            (self.failures, self.retry) = (0, None);
            return Some(Event::Ended {
                silence: probe.silence,
                outcome: verdict.outcome,
                why,
                before,
                after,
            });
        }
        // They would be too old when they are needed.
        self.spare.clear();
        // Several probes that fail at once are one failure.
        if self.retry.is_none_or(|retry| retry <= Instant::now()) {
            let longest = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
            self.failures += 1;
            self.retry = Some(Instant::now() + longest.mul_f32(rand::random_range(0.5..1.0)));
        }
        let wait = self.retry.map_or(Duration::ZERO, |retry| retry - Instant::now());
        let why = why.unwrap_or_default();
        Some(Event::Unreachable { why, failures: self.failures, wait })
    }
}

/// The first probe that ends.
async fn ended(running: &mut Vec<Running>) -> (Running, Verdict) {
    poll_fn(|cx| {
        for place in 0..running.len() {
            if let Poll::Ready(verdict) = running[place].future.as_mut().poll(cx) {
                return Poll::Ready((running.swap_remove(place), verdict));
            }
        }
        Poll::Pending
    })
    .await
}
