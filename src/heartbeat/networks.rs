//! The table of networks, and of the connections that sit in them. Bounded: a network without connections is
//! forgotten when room is needed, the one that was left longest ago first. Everything asked per beat is done in
//! constant time.

use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use super::crowd::Crowd;
use super::network::{Learned, Network, Plan, Seat, Sitter, Wake};
use super::probe::{Outcome, ProbeId, Prober, Step};
use super::{Cause, Departure, NetworkKey, Settings};

/// A network's place in the table. It holds for as long as somebody sits in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(u32);

/// What is known of a network.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What it is called.
    pub key: &'a NetworkKey,
    /// What it has shown.
    pub learned: &'a Learned,
    /// Connections that are part of it now.
    pub connections: usize,
    /// Whether there is no longer silence to try for the time being.
    pub is_settled: bool,
    /// The interval in use; `None` without beats.
    pub interval: Option<Duration>,
}

/// Everything that one end has learned.
#[derive(Debug)]
pub struct Networks {
    settings: Settings,
    capacity: usize,
    ids: HashMap<NetworkKey, NetworkId>,
    networks: Vec<Network>,
    sitters: Vec<Sitter>,
    free: Vec<Seat>,
    /// Networks without connections, by when the last one left.
    idle: BTreeSet<(u64, NetworkId)>,
    /// For each network, its key in `idle`.
    left_at: Vec<u64>,
    clock: u64,
    crowd: Crowd,
}

impl Networks {
    /// How many networks are remembered where nothing else is said: 27 MB if all are.
    pub const CAPACITY: usize = 100_000;

    /// An empty table that remembers up to `capacity` networks, and more only while all of them have connections.
    pub fn new(settings: Settings, capacity: usize) -> Networks {
        Networks {
            settings,
            capacity,
            ids: HashMap::new(),
            networks: Vec::new(),
            sitters: Vec::new(),
            free: Vec::new(),
            idle: BTreeSet::new(),
            left_at: Vec::new(),
            clock: 0,
            crowd: Crowd::default(),
        }
    }

    /// A connection from `peer` opened in a network. Its return may explain a death, and then the others are woken.
    pub fn join(&mut self, key: NetworkKey, peer: IpAddr, now: Duration) -> (Seat, Wake) {
        let id = self.enter(key);
        let is_crowd = self.crowd.is_here(now);
        let network = &mut self.networks[id.0 as usize];
        if network.seats.is_empty() {
            self.idle.remove(&(self.left_at[id.0 as usize], id));
            if let Learned::Smart(bracket) = &mut network.learned {
                bracket.on_age(now);
            }
        }
        let wakes = network.on_joined(peer, is_crowd, now);
        call(wakes, network, &mut self.sitters);
        let place = u32::try_from(network.seats.len()).expect("fewer connections than descriptors");
        let sitter = Sitter { network: id, peer, place, planned_ms: 0, good: 0, is_asked: false };
        let seat = self.free.pop().unwrap_or_else(|| {
            self.sitters.push(sitter);
            Seat(u32::try_from(self.sitters.len() - 1).expect("fewer connections than descriptors"))
        });
        self.sitters[seat.0 as usize] = sitter;
        network.seats.push(seat);
        (seat, wake(wakes, id))
    }

    /// How long this connection may be silent before its next beat. To be asked after every silence that ended, and
    /// when woken.
    pub fn plan(&mut self, seat: Seat, now: Duration) -> Plan {
        let sitter = &mut self.sitters[seat.0 as usize];
        self.networks[sitter.network.0 as usize].plan(seat, sitter, &self.settings, now)
    }

    /// A beat after this silence was answered. On the listening side, only for silences that we ended ourselves.
    pub fn survived(&mut self, seat: Seat, silence: Duration, now: Duration) {
        let sitter = &mut self.sitters[seat.0 as usize];
        let network = &mut self.networks[sitter.network.0 as usize];
        network.on_survived(seat, sitter, silence, &self.settings, now);
    }

    /// A connection ended. Its seat is free from then on.
    pub fn leave(&mut self, seat: Seat, departure: Departure, now: Duration) -> Wake {
        let sitter = self.sitters[seat.0 as usize];
        let id = sitter.network;
        if departure != Departure::Goodbye {
            let inhabited = self.networks.len() - self.idle.len();
            self.crowd.on_death(id, inhabited, now);
        }
        let network = &mut self.networks[id.0 as usize];
        network.seats.swap_remove(sitter.place as usize);
        if let Some(moved) = network.seats.get(sitter.place as usize) {
            self.sitters[moved.0 as usize].place = sitter.place;
        }
        self.free.push(seat);
        let is_crowd = self.crowd.is_here(now);
        let wakes = network.on_left(seat, &sitter, departure, is_crowd, &self.settings, now);
        call(wakes, network, &mut self.sitters);
        if network.seats.is_empty() {
            network.prober = None;
            self.set_idle(id);
        }
        wake(wakes, id)
    }

    /// What a departure that is about to be told was caused by.
    pub fn cause(&self, seat: Seat, departure: Departure) -> Cause {
        let sitter = &self.sitters[seat.0 as usize];
        self.networks[sitter.network.0 as usize].cause(seat, sitter, departure, &self.settings)
    }

    /// The network of a connection.
    pub fn network(&self, seat: Seat) -> NetworkId {
        self.sitters[seat.0 as usize].network
    }

    /// The connections of a network: whom to wake.
    pub fn seats(&self, network: NetworkId) -> impl Iterator<Item = Seat> + '_ {
        self.networks[network.0 as usize].seats.iter().copied()
    }

    /// What a network is called.
    pub fn key(&self, network: NetworkId) -> &NetworkKey {
        &self.networks[network.0 as usize].key
    }

    /// What a network has shown.
    pub fn learned(&self, network: NetworkId) -> &Learned {
        &self.networks[network.0 as usize].learned
    }

    /// The far end is natpulse: connections that carry nothing will be left silent on this network, and users'
    /// connections are not used to try anything. It ends with the network's last connection. Returns whether it is so.
    pub fn probe(&mut self, network: NetworkId) -> bool {
        let network = &mut self.networks[network.0 as usize];
        if self.settings.probes > 0 && matches!(network.learned, Learned::Smart(_)) {
            network.prober.get_or_insert_with(|| Box::new(Prober::default()));
        }
        network.prober.is_some()
    }

    /// What to do with the probes of a network; see [`Prober`].
    pub fn probe_step(&mut self, network: NetworkId, now: Duration) -> Step {
        self.networks[network.0 as usize].probe_step(&self.settings, now)
    }

    /// A probe ended.
    pub fn probed(&mut self, network: NetworkId, probe: ProbeId, outcome: Outcome, now: Duration) -> Wake {
        let it = &mut self.networks[network.0 as usize];
        let wakes = it.on_probed(probe, outcome, now);
        call(wakes, it, &mut self.sitters);
        wake(wakes, network)
    }

    /// The networks in these places of the table, of which there are [`Networks::len`].
    pub fn look(&self, places: Range<usize>, now: Duration) -> impl Iterator<Item = Known<'_>> {
        let end = places.end.min(self.networks.len());
        self.networks[places.start.min(end)..end].iter().map(move |network| {
            let (is_settled, interval) = match &network.learned {
                Learned::Smart(bracket) => {
                    (bracket.is_settled(&self.settings, now), Some(bracket.in_use(&self.settings)))
                }
                Learned::Wechat(ladder) => (ladder.is_settled, Some(ladder.interval())),
                Learned::Nothing => (true, self.settings.shortest()),
            };
            let (key, learned, connections) = (&network.key, &network.learned, network.seats.len());
            Known { key, learned, connections, is_settled, interval }
        })
    }

    /// How many networks are remembered.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// What the policy is told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every network, those left longest ago first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&NetworkKey, &Learned)> {
        let idle = self.idle.iter().map(|(_, id)| &self.networks[id.0 as usize]);
        let inhabited = self.networks.iter().filter(|network| !network.seats.is_empty());
        idle.chain(inhabited).map(|network| (&network.key, &network.learned))
    }

    /// Takes in what was learned earlier, unless somebody sits in the network and knows better.
    pub(super) fn remember(&mut self, key: NetworkKey, learned: Learned) {
        let id = self.enter(key);
        let network = &mut self.networks[id.0 as usize];
        if network.seats.is_empty() {
            network.learned = learned;
        }
    }

    /// The place of a network. Room is made for one that is not known yet.
    fn enter(&mut self, key: NetworkKey) -> NetworkId {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let network = Network::new(key.clone(), Learned::new(&self.settings.policy));
        let oldest = if self.networks.len() < self.capacity { None } else { self.idle.pop_first() };
        let id = if let Some((_, id)) = oldest {
            let forgotten = std::mem::replace(&mut self.networks[id.0 as usize], network);
            self.ids.remove(&forgotten.key);
            id
        } else {
            self.networks.push(network);
            self.left_at.push(0);
            NetworkId(u32::try_from(self.networks.len() - 1).expect("fewer networks than connections"))
        };
        self.set_idle(id);
        self.ids.insert(key, id);
        id
    }

    fn set_idle(&mut self, id: NetworkId) {
        self.clock += 1;
        self.left_at[id.0 as usize] = self.clock;
        self.idle.insert((self.clock, id));
    }
}

/// Notes whose answer is awaited.
fn call(wakes: bool, network: &Network, sitters: &mut [Sitter]) {
    if wakes {
        network.seats.iter().for_each(|seat| sitters[seat.0 as usize].is_asked = true);
    }
}

fn wake(wakes: bool, network: NetworkId) -> Wake {
    if wakes { Wake::Network(network) } else { Wake::Nobody }
}

#[cfg(test)]
mod tests;
