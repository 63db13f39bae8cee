//! Who may begin a handshake, and who gets a session: the limits at work.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::config::Limits;
use crate::limits::{Ceilings, Excess, Ledger, OfBridge};
use crate::metrics::PlacesMetrics;

/// Places for sessions, and what each address has of them.
#[derive(Debug)]
pub(super) struct Admission {
    inner: Mutex<Inner>,
    places: PlacesMetrics,
    begun: Instant,
    /// When the log may speak of a limit again, in seconds since the beginning.
    quiet_until: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    /// How to tell handshakes in progress that they have to make room.
    in_progress: HashMap<u64, Arc<Notify>>,
}

/// A handshake that is counted as in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Arc<Admission>,
    number: u64,
    displaced: Arc<Notify>,
}

/// A session's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    bridge: usize,
    address: Option<IpAddr>,
}

/// Why a client gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// There is none for anybody.
    Full,
    /// There is none for it.
    TooMany,
}

/// One address and one network may have this part of all places, and so many in any case: a small installation may have
/// few users, all of them in one office.
const PART_OF_ADDRESS: (usize, usize) = (1, 2);
const PART_OF_NETWORK: (usize, usize) = (3, 4);
const LEAST: usize = 1000;

/// Handshakes in progress unless the operator says otherwise: one for so many descriptors, within these bounds.
const DESCRIPTORS_PER_HANDSHAKE: u64 = 16;
const HANDSHAKES: (u64, u64) = (16, 4096);

/// How often the log says at most that a limit was reached: who is limited can try a thousand times a second.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How many handshakes may be in progress at once, of so many descriptors.
pub(super) fn handshakes(limits: &Limits, descriptors: u64) -> usize {
    let usual = (descriptors / DESCRIPTORS_PER_HANDSHAKE).clamp(HANDSHAKES.0, HANDSHAKES.1);
    limits.handshakes.unwrap_or(usual as usize)
}

/// So many places for sessions and for handshakes, and what anyone may have of them; `prefixes` are the bits of an IPv4 and
/// of an IPv6 address that name a network.
pub(super) fn ceilings(limits: &Limits, sessions: usize, handshakes: usize, prefixes: (u8, u8)) -> Ceilings {
    let part = |(of, from): (usize, usize)| (sessions / from * of).max(LEAST);
    Ceilings {
        sessions,
        sessions_per_address: limits.sessions_per_address.unwrap_or_else(|| part(PART_OF_ADDRESS)),
        sessions_per_network: limits.sessions_per_network.unwrap_or_else(|| part(PART_OF_NETWORK)),
        handshakes,
        handshakes_per_address: limits.handshakes_per_address.unwrap_or(handshakes.div_ceil(2)),
        handshake_rate: limits.handshake_rate,
        handshake_burst: limits.handshake_burst,
        prefixes,
    }
}

impl Admission {
    /// Nothing is taken yet; what is will be told to `places`.
    pub(super) fn new(ceilings: Ceilings, places: PlacesMetrics) -> Arc<Admission> {
        places.limit(ceilings.sessions);
        Arc::new(Admission {
            inner: Mutex::new(Inner { ledger: Ledger::new(ceilings), in_progress: HashMap::new() }),
            places,
            begun: Instant::now(),
            quiet_until: AtomicU64::new(0),
        })
    }

    /// Goes by other ceilings from now on; who has more keeps it.
    pub(super) fn set(&self, ceilings: Ceilings) {
        self.places.limit(ceilings.sessions);
        self.lock().ledger.set(ceilings);
    }

    /// Takes note of a bridge; returns its number.
    pub(super) fn add(&self, ceilings: OfBridge) -> usize {
        self.lock().ledger.add(ceilings)
    }

    /// Forgets a bridge.
    pub(super) fn remove(&self, bridge: usize) {
        self.lock().ledger.remove(bridge);
    }

    /// Whether an address may try, as far as it has not tried too often.
    pub(super) fn knock(&self, address: IpAddr) -> Result<(), NoPlace> {
        let now = self.begun.elapsed();
        let knocked = self.lock().ledger.knock(address, now);
        knocked.map_err(|excess| self.turned_away(excess, Some(address)))
    }

    /// Whether an address that has tried too often is told so.
    pub(super) fn explains(&self, address: IpAddr) -> bool {
        let now = self.begun.elapsed();
        self.lock().ledger.explains(address, now)
    }

    /// Counts a handshake as in progress, of this address if it is known.
    pub(super) fn begin(self: &Arc<Self>, address: Option<IpAddr>) -> Ticket {
        let displaced = Arc::new(Notify::new());
        let mut inner = self.lock();
        let (number, oldest) = inner.ledger.begin(address);
        inner.in_progress.insert(number, displaced.clone());
        if let Some(oldest) = oldest.and_then(|oldest| inner.in_progress.remove(&oldest)) {
            oldest.notify_one();
        }
        drop(inner);
        Ticket { admission: self.clone(), number, displaced }
    }

    /// A place on a bridge for a session of this address.
    pub(super) fn open(self: &Arc<Self>, bridge: usize, address: Option<IpAddr>) -> Result<Place, NoPlace> {
        let opened = self.lock().ledger.open(bridge, address);
        opened.map_err(|excess| self.turned_away(excess, address))?;
        self.places.taken();
        Ok(Place { admission: self.clone(), bridge, address })
    }

    /// Says in the log that a limit was reached, but not to everybody's weariness.
    fn turned_away(&self, excess: Excess, address: Option<IpAddr>) -> NoPlace {
        debug!(?address, limit = excess.key(), "turned away");
        let now = self.begun.elapsed().as_secs();
        let is_time = |until: u64| (now >= until).then_some(now + WARN_EVERY.as_secs());
        if self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time).is_ok() {
            warn!(
                limit = excess.key(),
                "clients are turned away by a limit; a proxy in front must say who they are"
            );
        }
        match excess {
            Excess::All | Excess::Bridge => NoPlace::Full,
            Excess::Address | Excess::Network | Excess::BridgeAddress | Excess::Rate => NoPlace::TooMany,
        }
    }

    /// Nothing in here can be left half done by a panic that would be worse than what the panic left.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// What tells that the handshake has to make room for another.
    pub(super) fn displaced(&self) -> Arc<Notify> {
        self.displaced.clone()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.admission.lock();
        inner.ledger.end(self.number);
        inner.in_progress.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.lock().ledger.close(self.bridge, self.address);
        self.admission.places.left();
    }
}
