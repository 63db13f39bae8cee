//! Virtual time: a queue of events, and what is counted while they happen.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clients::{Client, State};
use super::nat::Mishap;
use super::probes::Probes;
use super::tally::{Report, Tally};
use super::{Contender, Nat, Scenario};
use crate::heartbeat::{Departure, Learned, NetworkId, Networks, Policy, Seat, Settings};

/// How many public addresses a NAT has; a user keeps one.
const ADDRESSES: u32 = 4;

/// How long an answer is waited for: the round trip is known.
pub(super) const REPLY: Duration = Duration::from_secs(3);

/// Runs a scenario. The same seed gives the same run.
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    let mut world = World::new(scenario, StdRng::seed_from_u64(seed));
    world.populate();
    let mut early = None;
    while let Some(Reverse(next)) = world.queue.pop() {
        if early.is_none() && next.at >= scenario.settled_after {
            world.now = scenario.settled_after;
            early = Some(world.tally());
        }
        if next.at >= scenario.length {
            break;
        }
        world.now = next.at;
        world.on_event(next.event);
    }
    world.now = scenario.length;
    let total = world.tally();
    world.report(total, total.since(&early.unwrap_or(total)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A client connects from one of the public addresses of the network of this index.
    Arrive { network: usize, address: u8 },
    /// A beat is due on a connection, for the first or the second time.
    Beat { client: usize, plan: u32, is_second: bool },
    /// The second beat stayed unanswered as well.
    Verdict { client: usize, plan: u32 },
    /// The client leaves for reasons of its own.
    Leave { client: usize },
    /// The far side speaks on a probe, for the first or the second time; and the second time was in vain.
    Probe { network: usize, serial: u64, attempt: u8 },
    /// The prober asked to be asked again.
    ProbeRest { network: usize, serial: u64 },
    /// The server dies and is back.
    Restart,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scheduled {
    at: Duration,
    order: u64,
    event: Event,
}

#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) networks: Networks,
    /// The table's names of our networks, while somebody is connected.
    pub(super) ids: Vec<Option<NetworkId>>,
    pub(super) probes: Vec<Probes>,
    pub(super) clients: Vec<Client>,
    pub(super) by_seat: HashMap<Seat, usize>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    pub(super) now: Duration,
    pub(super) rng: StdRng,
    pub(super) counted: Tally,
    pub(super) restarted: Option<Duration>,
    pub(super) report: Report,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, rng: StdRng) -> World<'a> {
        let count = scenario.nats.len();
        let settings = match &scenario.contender {
            Contender::Oracle => Settings { policy: Policy::Off, ..Settings::default() },
            Contender::Learns { settings, .. } => settings.clone(),
        };
        let report = Report {
            total: Tally::default(),
            settled: Tally::default(),
            lost_per_network: vec![0; count],
            converged: vec![None; count],
            interval: vec![Duration::ZERO; count],
            losses: vec![Vec::new(); count],
            shortest: vec![None; count],
        };
        World {
            scenario,
            networks: Networks::new(settings, Networks::CAPACITY),
            ids: vec![None; count],
            probes: (0..count).map(|_| Probes::default()).collect(),
            clients: Vec::new(),
            by_seat: HashMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            now: Duration::ZERO,
            rng,
            counted: Tally::default(),
            restarted: None,
            report,
        }
    }

    fn populate(&mut self) {
        for network in 0..self.scenario.nats.len() {
            for client in 0..self.scenario.clients.count {
                // They do not come at the same moment, and so do not beat in step.
                let first = if client == 0 { 0.0 } else { self.rng.random_range(0.0..1.0) };
                let at = self.nat(network).timeout.mul_f64(first);
                self.schedule(at, Event::Arrive { network, address: (client % ADDRESSES) as u8 });
            }
        }
        for at in &self.scenario.restarts {
            self.schedule(*at, Event::Restart);
        }
    }

    pub(super) fn schedule(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    /// A number that nobody else has.
    pub(super) fn serial(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub(super) fn nat(&self, network: usize) -> &'a Nat {
        &self.scenario.nats[network]
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Arrive { network, address } => self.on_arrive(network, address),
            Event::Beat { client, plan, is_second } => {
                if self.clients[client].plan == plan && self.clients[client].state != State::Closed {
                    self.on_beat(client, is_second);
                }
            }
            Event::Verdict { client, plan } => {
                if self.clients[client].plan == plan && self.clients[client].state != State::Closed {
                    let silence = self.clients[client].silence;
                    self.close(client, Departure::Lost { silence });
                }
            }
            Event::Leave { client } => self.on_leave(client),
            Event::Probe { network, serial, attempt } => self.on_probe(network, serial, attempt),
            Event::ProbeRest { network, serial } => self.on_probe_rest(network, serial),
            Event::Restart => self.restarted = Some(self.now),
        }
    }

    /// How late the next timer fires.
    pub(super) fn lateness(&mut self) -> Duration {
        let dozes = self.rng.random_range(0..100) < self.scenario.clients.doze_percent;
        if dozes { Duration::from_secs_f64(self.rng.random_range(0.0..120.0)) } else { Duration::ZERO }
    }

    pub(super) fn mishap(&mut self) -> Mishap {
        if self.rng.random_range(0..1000) >= self.scenario.clients.loss_permille {
            Mishap::Neither
        } else if self.rng.random_bool(0.5) {
            Mishap::OnTheWayIn
        } else {
            Mishap::OnTheWayOut
        }
    }

    pub(super) fn count_optimum(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if it.state == State::Gone || it.state == State::Closed {
            return;
        }
        let nat = &self.scenario.nats[it.network];
        let change = nat.change.map_or(Duration::MAX, |(at, _)| at).clamp(it.counted, self.now);
        let needed = |from: Duration, to: Duration, at: Duration| {
            (to - from).as_secs_f64() / nat.timeout_at(at).as_secs_f64()
        };
        self.counted.optimum += needed(it.counted, change, it.counted) + needed(change, self.now, self.now);
        it.counted = self.now;
    }

    fn tally(&mut self) -> Tally {
        (0..self.clients.len()).for_each(|client| self.count_optimum(client));
        self.counted
    }

    fn interval(&self, network: usize) -> Option<Duration> {
        let settings = match &self.scenario.contender {
            Contender::Oracle => return Some(self.nat(network).timeout_at(self.now)),
            Contender::Learns { settings, .. } => settings,
        };
        match (self.networks.learned(self.ids[network]?), &settings.policy) {
            (Learned::Smart(bracket), _) => Some(bracket.in_use(settings)),
            (Learned::Wechat(ladder), _) => Some(ladder.interval()),
            (Learned::Nothing, Policy::Fixed { every }) => Some(*every),
            (Learned::Nothing, Policy::Off | Policy::Smart | Policy::Wechat(_)) => None,
        }
    }

    /// Looks how good the interval in use is.
    pub(super) fn note(&mut self, network: usize) {
        let Some(interval) = self.interval(network) else {
            return;
        };
        self.report.interval[network] = interval;
        let timeout = self.nat(network).timeout_at(self.now);
        let is_quick = matches!(self.scenario.contender, Contender::Learns { probes: true, .. });
        let good_enough = if is_quick && timeout >= Duration::from_secs(100) { 1.10 } else { 1.15 };
        let costs = timeout.as_secs_f64() / (interval.as_secs_f64() * 0.9875);
        if self.report.converged[network].is_some() {
            let shortest = self.report.shortest[network].get_or_insert(interval);
            *shortest = interval.min(*shortest);
        } else if interval <= timeout && costs <= good_enough {
            self.report.converged[network] = Some(self.now);
        }
    }

    fn report(mut self, total: Tally, settled: Tally) -> Report {
        (self.report.total, self.report.settled) = (total, settled);
        self.report
    }

    pub(super) fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-self.rng.random_range(f64::MIN_POSITIVE..1.0).ln())
    }

    /// Whether the server has died since.
    pub(super) fn has_restarted_since(&self, at: Duration) -> bool {
        self.restarted.is_some_and(|restarted| restarted > at)
    }
}
