//! Who has taken what, and whether there is more for them.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use super::Block;
use super::rates::Rates;

/// How much anyone may take, over all bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Sessions, in all.
    pub sessions: usize,
    /// Sessions of one address.
    pub sessions_per_address: usize,
    /// Sessions of one network.
    pub sessions_per_network: usize,
    /// Handshakes in progress, in all.
    pub handshakes: usize,
    /// Handshakes in progress of one address.
    pub handshakes_per_address: usize,
    /// Handshakes that one address may begin in a second, in the long run.
    pub handshake_rate: u32,
    /// Handshakes that it may begin at once after it was quiet.
    pub handshake_burst: u32,
    /// How many bits of an IPv4 and of an IPv6 address name a network.
    pub prefixes: (u8, u8),
}

/// How much anyone may take of one bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfBridge {
    /// Sessions, in all.
    pub sessions: Option<usize>,
    /// Sessions of one address.
    pub sessions_per_address: Option<usize>,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Too many sessions.
    All,
    /// Too many sessions of this address.
    Address,
    /// Too many sessions of its network.
    Network,
    /// Too many sessions of the bridge.
    Bridge,
    /// Too many sessions of this address on the bridge.
    BridgeAddress,
    /// Too many handshakes of this address in too short a time.
    Rate,
}

impl Ceilings {
    fn network(&self, address: IpAddr) -> Block {
        let (v4, v6) = self.prefixes;
        Block::of(address, v4, v6)
    }
}

impl Excess {
    /// The key that sets the limit.
    pub fn key(self) -> &'static str {
        match self {
            Excess::All => "server.max_sessions",
            Excess::Address => "limits.sessions_per_address",
            Excess::Network => "limits.sessions_per_network",
            Excess::Bridge => "limits.sessions of the bridge",
            Excess::BridgeAddress => "limits.sessions_per_address of the bridge",
            Excess::Rate => "limits.handshake_rate",
        }
    }
}

/// What is taken. Every entry belongs to a handshake in progress or to a session, of which there are only so many; the
/// buckets are bounded by themselves.
#[derive(Debug)]
pub struct Ledger {
    ceilings: Ceilings,
    rates: Rates,
    explanations: Rates,
    /// Handshakes in progress, oldest first, with whose they are, as far as that is known.
    handshakes: BTreeMap<u64, Option<Block>>,
    next: u64,
    addresses: HashMap<Block, Taken>,
    networks: HashMap<Block, usize>,
    sessions: usize,
    /// By the numbers they were given.
    bridges: HashMap<usize, Bridge>,
    next_bridge: usize,
}

/// How often in a second, and how often at once, an address is told that it comes too often.
const EXPLAINED: (u32, u32) = (1, 5);

/// What an address has taken.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    sessions: usize,
    handshakes: usize,
}

/// What is taken of a bridge.
#[derive(Debug)]
struct Bridge {
    ceilings: OfBridge,
    sessions: usize,
    /// Only where there is a limit for each.
    addresses: HashMap<Block, usize>,
}

impl Ledger {
    /// Nothing is taken yet, and there are no bridges.
    pub fn new(ceilings: Ceilings) -> Ledger {
        Ledger {
            rates: Rates::new(ceilings.handshake_rate, ceilings.handshake_burst),
            explanations: Rates::new(EXPLAINED.0, EXPLAINED.1),
            ceilings,
            handshakes: BTreeMap::new(),
            next: 0,
            addresses: HashMap::new(),
            networks: HashMap::new(),
            sessions: 0,
            bridges: HashMap::new(),
            next_bridge: 0,
        }
    }

    /// Goes by other ceilings from now on; what is taken stays taken. The prefixes must be what they were.
    pub fn set(&mut self, ceilings: Ceilings) {
        let rate = |ceilings: &Ceilings| (ceilings.handshake_rate, ceilings.handshake_burst);
        if rate(&ceilings) != rate(&self.ceilings) {
            self.rates = Rates::new(ceilings.handshake_rate, ceilings.handshake_burst);
        }
        self.ceilings = ceilings;
    }

    /// Takes note of a bridge, of which nothing is taken yet; returns its number.
    pub fn add(&mut self, ceilings: OfBridge) -> usize {
        let number = self.next_bridge;
        self.next_bridge += 1;
        self.bridges.insert(number, Bridge { ceilings, sessions: 0, addresses: HashMap::new() });
        number
    }

    /// Forgets a bridge.
    pub fn remove(&mut self, bridge: usize) {
        self.bridges.remove(&bridge);
    }

    /// Whether an address may begin a handshake now, as far as its rate goes.
    ///
    /// # Errors
    /// It has begun too many of late.
    pub fn knock(&mut self, address: IpAddr, now: Duration) -> Result<(), Excess> {
        self.rates.take(Block::subscriber(address), now).then_some(()).ok_or(Excess::Rate)
    }

    /// Whether an address that has begun too many is told so, which costs more than being hung up on.
    pub fn explains(&mut self, address: IpAddr, now: Duration) -> bool {
        self.explanations.take(Block::subscriber(address), now)
    }

    /// Counts a handshake as in progress, of this address if it is known; returns its number, and that of an older one
    /// which has to make room for it: of the same address if that has too many, else of anyone's if there are. What has
    /// taken longest is the least likely to come to an end.
    pub fn begin(&mut self, address: Option<IpAddr>) -> (u64, Option<u64>) {
        let whose = address.map(Block::subscriber);
        let theirs = whose.and_then(|whose| self.addresses.get(&whose)).map_or(0, |taken| taken.handshakes);
        let oldest = if theirs >= self.ceilings.handshakes_per_address.max(1) {
            self.handshakes.iter().find(|(_, other)| **other == whose).map(|(number, _)| *number)
        } else if self.handshakes.len() >= self.ceilings.handshakes.max(1) {
            self.handshakes.keys().next().copied()
        } else {
            None
        };
        if let Some(oldest) = oldest {
            self.end(oldest);
        }
        let number = self.next;
        self.next += 1;
        self.handshakes.insert(number, whose);
        if let Some(whose) = whose {
            self.addresses.entry(whose).or_default().handshakes += 1;
        }
        (number, oldest)
    }

    /// A handshake is no longer in progress. Once is enough.
    pub fn end(&mut self, number: u64) {
        if let Some(Some(whose)) = self.handshakes.remove(&number) {
            self.give_back(whose, |taken| &mut taken.handshakes);
        }
    }

    /// Counts a session of this address, if it has one, on a bridge.
    ///
    /// # Errors
    /// The limit that is reached; then nothing is counted.
    pub fn open(&mut self, bridge: usize, address: Option<IpAddr>) -> Result<(), Excess> {
        let is_over = |limit: Option<usize>, taken: usize| limit.is_some_and(|limit| taken >= limit);
        if self.sessions >= self.ceilings.sessions {
            return Err(Excess::All);
        }
        let Some(of_bridge) = self.bridges.get_mut(&bridge) else {
            return Err(Excess::Bridge);
        };
        if is_over(of_bridge.ceilings.sessions, of_bridge.sessions) {
            return Err(Excess::Bridge);
        }
        if let Some(address) = address {
            let (whose, network) = (Block::subscriber(address), self.ceilings.network(address));
            let count = |map: &HashMap<Block, usize>, key| map.get(&key).copied().unwrap_or(0);
            if is_over(of_bridge.ceilings.sessions_per_address, count(&of_bridge.addresses, whose)) {
                return Err(Excess::BridgeAddress);
            }
            let taken = self.addresses.get(&whose).map_or(0, |taken| taken.sessions);
            if taken >= self.ceilings.sessions_per_address {
                return Err(Excess::Address);
            }
            if count(&self.networks, network) >= self.ceilings.sessions_per_network {
                return Err(Excess::Network);
            }
            self.addresses.entry(whose).or_default().sessions += 1;
            *self.networks.entry(network).or_default() += 1;
            if of_bridge.ceilings.sessions_per_address.is_some() {
                *of_bridge.addresses.entry(whose).or_default() += 1;
            }
        }
        of_bridge.sessions += 1;
        self.sessions += 1;
        Ok(())
    }

    /// A session that was counted is over.
    pub fn close(&mut self, bridge: usize, address: Option<IpAddr>) {
        if let Some(address) = address {
            let (whose, network) = (Block::subscriber(address), self.ceilings.network(address));
            self.give_back(whose, |taken| &mut taken.sessions);
            give_one_back(&mut self.networks, network);
            if let Some(of_bridge) = self.bridges.get_mut(&bridge) {
                give_one_back(&mut of_bridge.addresses, whose);
            }
        }
        if let Some(of_bridge) = self.bridges.get_mut(&bridge) {
            of_bridge.sessions -= 1;
        }
        self.sessions -= 1;
    }

    fn give_back(&mut self, whose: Block, which: impl Fn(&mut Taken) -> &mut usize) {
        if let Some(taken) = self.addresses.get_mut(&whose) {
            *which(taken) -= 1;
            if taken.sessions == 0 && taken.handshakes == 0 {
                self.addresses.remove(&whose);
            }
        }
    }

    /// How much is remembered of anybody: handshakes, addresses, networks and buckets.
    #[cfg(test)]
    pub(super) fn len(&self) -> [usize; 4] {
        [self.handshakes.len(), self.addresses.len(), self.networks.len(), self.rates.len()]
    }
}

fn give_one_back(counts: &mut HashMap<Block, usize>, key: Block) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
