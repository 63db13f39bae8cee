//! The table of networks, and of the connections that sit in them. Bounded: a network without connections is
//! forgotten when room is needed, the one that was left longest ago first. Everything asked per beat is done in
//! constant time.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use super::crowd::Crowd;
use super::network::{Departure, Learned, Network, Plan, Seat, Sitter, Wake};
use super::probe::{Outcome, ProbeId, Prober, Step};
use super::{NetworkKey, Settings};

/// A network's place in the table. It holds for as long as somebody sits in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(u32);

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
    /// connections are not used to try anything. It ends with the network's last connection.
    pub fn probe(&mut self, network: NetworkId) {
        let network = &mut self.networks[network.0 as usize];
        if self.settings.probes > 0 && matches!(network.learned, Learned::Smart(_)) {
            network.prober.get_or_insert_with(|| Box::new(Prober::default()));
        }
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
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::heartbeat::Policy;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn key(number: u32) -> NetworkKey {
        NetworkKey::of(Ipv4Addr::from_bits(number << 8).into(), 24, 48)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn bracket(networks: &Networks, seat: Seat) -> super::super::Bracket {
        match networks.learned(networks.network(seat)) {
            Learned::Smart(bracket) => *bracket,
            Learned::Nothing | Learned::Wechat(_) => panic!("the policy is smart"),
        }
    }

    fn table() -> Networks {
        Networks::new(Settings::default(), 10)
    }

    #[test]
    fn a_network_is_remembered_in_at_most_64_bytes() {
        assert!(size_of::<Learned>() <= 64, "{} bytes", size_of::<Learned>());
    }

    #[test]
    fn the_network_left_longest_ago_makes_room() {
        let mut networks = Networks::new(Settings::default(), 3);
        let seats: Vec<Seat> = (0..3).map(|number| networks.join(key(number), PEER, at(0)).0).collect();
        networks.survived(seats[1], at(100), at(100));
        let _ = networks.leave(seats[1], Departure::Goodbye, at(101));
        let _ = networks.leave(seats[0], Departure::Goodbye, at(102));
        let _ = networks.join(key(3), PEER, at(103));
        assert_eq!(networks.len(), 3);
        let again = networks.join(key(1), PEER, at(104)).0;
        assert_eq!(bracket(&networks, again).proven(), at(0), "network 1 was left first, and is forgotten");
        let _ = networks.join(key(4), PEER, at(105));
        assert_eq!(networks.len(), 4, "nobody who is connected is forgotten");
    }

    #[test]
    fn one_connection_of_a_network_tries_a_longer_silence() {
        let mut networks = table();
        let seats: Vec<Seat> = (0..20).map(|_| networks.join(key(1), PEER, at(0)).0).collect();
        let trials = |networks: &mut Networks, now| {
            seats.iter().filter(|seat| networks.plan(**seat, now).is_trial).count()
        };
        assert_eq!(trials(&mut networks, at(0)), 1);
        assert_eq!(networks.plan(seats[19], at(1)), Plan { interval: at(15), is_trial: false });
        assert!(!networks.plan(seats[0], at(2)).is_trial, "its trial was cut short by traffic");
        assert!(networks.plan(seats[7], at(3)).is_trial, "so a quieter one goes next");
    }

    #[test]
    fn without_exploring_nobody_waits_longer_than_what_is_proven() {
        let mut networks = Networks::new(Settings { explore: false, ..Settings::default() }, 10);
        let seat = networks.join(key(1), PEER, at(0)).0;
        for minute in 0..100 {
            let plan = networks.plan(seat, at(minute * 60));
            assert!(!plan.is_trial && plan.interval <= at(15).max(bracket(&networks, seat).proven()));
        }
    }

    #[test]
    fn what_one_connection_proved_serves_all() {
        let mut networks = table();
        let first = networks.join(key(1), PEER, at(0)).0;
        networks.survived(first, at(300), at(300));
        let second = networks.join(key(1), PEER, at(301)).0;
        let _ = networks.plan(first, at(301));
        assert_eq!(networks.plan(second, at(301)).interval, at(288), "300 s less 4%");
    }

    fn in_use_for_300_s() -> (Networks, Vec<Seat>) {
        let mut networks = table();
        let seats: Vec<Seat> =
            (0..4).map(|n| networks.join(key(1), Ipv4Addr::from_bits(n).into(), at(0)).0).collect();
        networks.survived(seats[0], at(300), at(300));
        (networks, seats)
    }

    #[test]
    fn a_client_that_is_back_at_once_tells_that_the_nat_forgot_it() {
        let (mut networks, seats) = in_use_for_300_s();
        let lost = Departure::Lost { silence: at(288) };
        assert_eq!(networks.leave(seats[1], lost, at(600)), Wake::Nobody, "nobody knows yet");
        let (back, wake) = networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(610));
        assert_eq!(wake, Wake::Network(networks.network(back)));
        assert_eq!(networks.seats(networks.network(back)).count(), 4);
        assert!(networks.plan(seats[2], at(610)).interval <= at(17), "back to the floor");
    }

    #[test]
    fn a_closed_laptop_shortens_nothing() {
        let (mut networks, seats) = in_use_for_300_s();
        let before = bracket(&networks, seats[0]);
        for seat in &seats[1..] {
            assert_eq!(networks.leave(*seat, Departure::Lost { silence: at(288) }, at(600)), Wake::Nobody);
        }
        assert_eq!(
            networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(700)).1,
            Wake::Nobody,
            "not prompt"
        );
        assert_eq!(
            networks.join(key(1), Ipv4Addr::from_bits(9).into(), at(601)).1,
            Wake::Nobody,
            "a stranger"
        );
        assert_eq!(bracket(&networks, seats[0]), before);
    }

    #[test]
    fn whoever_survives_as_long_acquits_the_nat() {
        let (mut networks, seats) = in_use_for_300_s();
        let _ = networks.leave(seats[1], Departure::Lost { silence: at(288) }, at(600));
        networks.survived(seats[2], at(288), at(605));
        assert_eq!(networks.join(key(1), Ipv4Addr::from_bits(1).into(), at(610)).1, Wake::Nobody);
    }

    #[test]
    fn a_reset_after_a_silence_needs_no_witness() {
        let (mut networks, seats) = in_use_for_300_s();
        let reset = Departure::Reset { silence: at(280) };
        assert_eq!(networks.leave(seats[1], reset, at(600)), Wake::Network(networks.network(seats[0])));
    }

    #[test]
    fn when_many_networks_lose_connections_at_once_no_nat_is_blamed() {
        let mut networks = Networks::new(Settings::default(), 100);
        let seats: Vec<Seat> = (0..40).map(|n| networks.join(key(n), PEER, at(0)).0).collect();
        for seat in &seats {
            networks.survived(*seat, at(300), at(300));
        }
        for number in 0..20_u8 {
            let seat = seats[usize::from(number)];
            let _ = networks.leave(seat, Departure::Lost { silence: at(288) }, at(600));
            assert_eq!(networks.join(key(number.into()), PEER, at(601)).1, Wake::Nobody);
        }
        let doubted = (0..20).map(|n| networks.join(key(n), PEER, at(602)).0);
        let doubted: Vec<Seat> = doubted.collect();
        let count = doubted.iter().filter(|seat| bracket(&networks, **seat).is_in_doubt()).count();
        assert!(count < 5, "{count} networks in doubt");
    }

    #[test]
    fn old_knowledge_is_doubted() {
        let (mut networks, seats) = in_use_for_300_s();
        for seat in seats {
            let _ = networks.leave(seat, Departure::Goodbye, at(400));
        }
        let back = networks.join(key(1), PEER, at(8 * 24 * 3600)).0;
        assert_eq!(bracket(&networks, back).in_use(networks.settings()), at(15));
        networks.survived(back, at(300), at(8 * 24 * 3600 + 300));
        assert_eq!(bracket(&networks, back).in_use(networks.settings()), at(288));
    }

    #[test]
    fn the_other_policies_plan_what_they_are_told() {
        let fixed = Settings { policy: Policy::Fixed { every: at(30) }, ..Settings::default() };
        let mut networks = Networks::new(fixed, 10);
        let seat = networks.join(key(1), PEER, at(0)).0;
        assert_eq!(networks.plan(seat, at(0)).interval, at(30));
        let mut networks = Networks::new(Settings { policy: Policy::Off, ..Settings::default() }, 10);
        let seat = networks.join(key(1), PEER, at(0)).0;
        assert_eq!(networks.plan(seat, at(0)).interval, Duration::MAX);
    }
}
