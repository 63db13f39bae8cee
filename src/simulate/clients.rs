//! The users' connections: when they beat, how they end, and who comes back.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use rand::RngExt;

use super::Contender;
use super::nat::{Fate, Mapping};
use super::probes::Probes;
use super::tally::Loss;
use super::world::{Event, REPLY, World};
use crate::heartbeat::{Departure, NetworkKey, Policy, Seat, Wake};

/// One connection of a user.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) network: usize,
    pub(super) address: u8,
    pub(super) seat: Seat,
    pub(super) mapping: Mapping,
    /// When the silence began that the next beat ends.
    pub(super) silent_since: Duration,
    /// How long it was when the first of two beats was sent.
    pub(super) silence: Duration,
    /// Which plan its timers belong to; older ones are ignored.
    pub(super) plan: u32,
    /// Until when its share of the optimum is counted.
    pub(super) counted: Duration,
    /// Whether the NAT had forgotten it when a beat came.
    pub(super) is_forgotten: bool,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Quiet,
    AwaitsReply,
    /// It left and said nothing.
    Gone,
    Closed,
}

impl World<'_> {
    pub(super) fn on_arrive(&mut self, network: usize, address: u8) {
        let number = u32::try_from(network).expect("networks are numbered in 32 bits");
        let key = NetworkKey::of(Ipv4Addr::from_bits(number << 8).into(), 24, 48);
        let peer = IpAddr::V4(Ipv4Addr::from_bits((number << 8) | u32::from(address)));
        let (seat, wake) = self.networks.join(key, peer, self.now);
        self.ids[network] = Some(self.networks.network(seat));
        if let Contender::Learns { probes: true, .. } = self.scenario.contender {
            self.networks.probe(self.networks.network(seat));
        }
        let client = self.clients.len();
        self.clients.push(Client {
            network,
            address,
            seat,
            mapping: Mapping { used: self.now },
            silent_since: self.now,
            silence: Duration::ZERO,
            plan: 0,
            counted: self.now,
            is_forgotten: false,
            state: State::Quiet,
        });
        self.by_seat.insert(seat, client);
        self.plan(client);
        if let Some(stays) = self.scenario.clients.stays {
            let at = self.now + self.exponential(stays);
            self.schedule(at, Event::Leave { client });
        }
        self.wake(wake);
        self.pump(network);
    }

    fn plan(&mut self, client: usize) {
        let it = &self.clients[client];
        let interval = match self.scenario.contender {
            // The answer's mapping must still be there.
            Contender::Oracle => self.nat(it.network).timeout_at(self.now) - Duration::from_millis(1),
            Contender::Learns { .. } => {
                let plan = self.networks.plan(it.seat, self.now);
                let is_exact = plan.is_trial || plan.interval == Duration::MAX;
                let jitter = if is_exact { 0.0 } else { self.rng.random_range(0.0..0.025) };
                if is_exact { plan.interval } else { plan.interval.mul_f64(1.0 - jitter) }
            }
        };
        let late = self.lateness();
        let it = &mut self.clients[client];
        it.plan += 1;
        it.state = State::Quiet;
        let (at, plan) = ((it.silent_since + late).saturating_add(interval), it.plan);
        self.schedule(at, Event::Beat { client, plan, is_second: false });
    }

    pub(super) fn on_beat(&mut self, client: usize, is_second: bool) {
        self.counted.beats += 1;
        let network = self.clients[client].network;
        let (nat, mishap) = (self.nat(network), self.mishap());
        let by_device = self.is_sent_by_device();
        let it = &mut self.clients[client];
        if !is_second {
            it.silence = self.now - it.silent_since;
        }
        let forgotten_at = nat.forgets_at(it.mapping.used);
        let fate = if it.state == State::Gone {
            Fate::Dropped
        } else if self.restarted.is_some_and(|at| it.mapping.used < at) {
            Fate::Reset
        } else {
            it.mapping.beat(nat, by_device, mishap, self.now)
        };
        it.is_forgotten |= fate != Fate::Answered && forgotten_at <= self.now;
        let silence = it.silence;
        match fate {
            Fate::Answered => {
                // A mapping made anew: nobody noticed, but nobody could have been reached either.
                self.counted.unreachable += self.now.saturating_sub(forgotten_at);
                it.silent_since = self.now;
                self.networks.survived(it.seat, silence, self.now);
                self.note(network);
                self.plan(client);
            }
            Fate::Reset => self.close(client, Departure::Reset { silence }),
            Fate::Dropped => {
                if it.state == State::Quiet {
                    it.state = State::AwaitsReply;
                }
                let plan = it.plan;
                let event = if is_second {
                    Event::Verdict { client, plan }
                } else {
                    Event::Beat { client, plan, is_second: true }
                };
                self.schedule(self.now + REPLY, event);
            }
        }
    }

    /// Published policies run on the device; ours run wherever natpulse stands, and that is the server here.
    fn is_sent_by_device(&self) -> bool {
        match &self.scenario.contender {
            Contender::Oracle => false,
            Contender::Learns { settings, .. } => settings.policy != Policy::Smart,
        }
    }

    /// A connection is found dead. Whoever is still there comes back.
    pub(super) fn close(&mut self, client: usize, departure: Departure) {
        self.count_optimum(client);
        let it = &mut self.clients[client];
        let (network, address) = (it.network, it.address);
        let is_there = it.state != State::Gone;
        let knows_server = self.restarted.is_none_or(|at| it.mapping.used >= at);
        it.state = State::Closed;
        let forgotten_at = self.scenario.nats[network].forgets_at(it.mapping.used);
        let (seat, it_was_forgotten) = (it.seat, it.is_forgotten);
        if is_there {
            let is_late = self.rng.random_range(0..100) < self.scenario.clients.late_percent;
            let pause = if is_late {
                self.exponential(Duration::from_secs(3600))
            } else {
                Duration::from_secs_f64(self.rng.random_range(0.2..20.0))
            };
            self.schedule(self.now + pause, Event::Arrive { network, address });
            if knows_server && it_was_forgotten {
                self.counted.lost += 1;
                self.counted.unreachable += self.now + pause - forgotten_at;
                self.report.lost_per_network[network] += 1;
                self.report.losses[network].push(Loss { forgotten: forgotten_at, found: self.now });
            } else if knows_server {
                self.counted.mistaken += 1;
            }
        }
        self.by_seat.remove(&seat);
        let wake = self.networks.leave(seat, departure, self.now);
        self.after_leaving(network, wake);
    }

    fn after_leaving(&mut self, network: usize, wake: Wake) {
        if self.ids[network].is_some_and(|id| self.networks.seats(id).next().is_none()) {
            self.ids[network] = None;
            self.probes[network] = Probes::default();
        }
        self.wake(wake);
        self.note(network);
        self.pump(network);
    }

    pub(super) fn on_leave(&mut self, client: usize) {
        if matches!(self.clients[client].state, State::Gone | State::Closed) {
            return;
        }
        self.count_optimum(client);
        let (network, address) = (self.clients[client].network, self.clients[client].address);
        let pause = self.exponential(Duration::from_secs(1800));
        self.schedule(self.now + pause, Event::Arrive { network, address });
        if self.rng.random_range(0..100) < self.scenario.clients.silent_percent {
            self.clients[client].state = State::Gone;
            return;
        }
        let seat = self.clients[client].seat;
        self.clients[client].state = State::Closed;
        self.by_seat.remove(&seat);
        let wake = self.networks.leave(seat, Departure::Goodbye, self.now);
        self.after_leaving(network, wake);
    }

    pub(super) fn wake(&mut self, wake: Wake) {
        let Wake::Network(id) = wake else {
            return;
        };
        let seats: Vec<Seat> = self.networks.seats(id).collect();
        for seat in seats {
            let client = self.by_seat[&seat];
            let it = &mut self.clients[client];
            // Who came this moment has nothing to tell, and who awaits an answer is being asked already.
            if it.state != State::AwaitsReply && it.silent_since < self.now {
                it.plan += 1;
                let plan = it.plan;
                self.schedule(self.now, Event::Beat { client, plan, is_second: false });
            }
        }
    }
}
