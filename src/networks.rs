//! What the ends of one kind have learned about their networks: shared by their sessions.
//!
//! A session holds a [`Seat`]. It asks for a plan after each silence that a beat has ended, and is woken when another
//! connection of its network has died so that it beats at once. The lock is taken once per beat, never per message.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::heartbeat::{self, Departure, NetworkKey, Plan, Settings, Wake};

/// A table of networks and of who sits in them.
#[derive(Debug)]
pub struct Networks {
    inner: Mutex<Inner>,
    /// How often anyone was called, so that a session can see without a lock that it was not.
    calls: AtomicU32,
}

#[derive(Debug)]
struct Inner {
    table: heartbeat::Networks,
    /// By seat.
    sitters: Vec<Sitter>,
}

#[derive(Debug, Default)]
struct Sitter {
    waker: Option<Waker>,
    is_called: bool,
}

/// A connection's place in the table, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    /// The table, until the seat is left.
    networks: Option<Arc<Networks>>,
    seat: heartbeat::Seat,
    /// The calls that this connection has looked at.
    calls: u32,
}

impl Networks {
    /// An empty table for ends with these settings, which remembers up to `capacity` networks.
    pub fn new(settings: Settings, capacity: usize) -> Arc<Networks> {
        let table = heartbeat::Networks::new(settings, capacity);
        let inner = Mutex::new(Inner { table, sitters: Vec::new() });
        Arc::new(Networks { inner, calls: AtomicU32::new(0) })
    }

    /// A connection from `peer` was made in a network.
    pub fn join(self: &Arc<Self>, key: NetworkKey, peer: IpAddr) -> Seat {
        let calls = self.calls.load(Ordering::Relaxed);
        let mut inner = self.lock();
        let (seat, wake) = inner.table.join(key, peer, now());
        if inner.sitters.len() <= seat.index() {
            inner.sitters.resize_with(seat.index() + 1, Sitter::default);
        }
        inner.sitters[seat.index()] = Sitter::default();
        self.call(inner, wake);
        Seat { networks: Some(self.clone()), seat, calls }
    }

    /// Nothing in here can be left half done by a panic that would be worse than what the panic left.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who must beat at once.
    fn call(&self, mut inner: MutexGuard<'_, Inner>, wake: Wake) {
        let Wake::Network(network) = wake else {
            return;
        };
        let Inner { table, sitters } = &mut *inner;
        let mut wakers = Vec::new();
        for seat in table.seats(network) {
            let sitter = &mut sitters[seat.index()];
            sitter.is_called = true;
            wakers.extend(sitter.waker.clone());
        }
        self.calls.fetch_add(1, Ordering::Release);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Seat {
    fn networks(&self) -> &Networks {
        self.networks.as_ref().expect("only who leaves takes it, and is gone then")
    }

    /// Whom to wake when the connection must beat at once.
    pub fn watch(&self, waker: &Waker) {
        self.networks().lock().sitters[self.seat.index()].waker = Some(waker.clone());
    }

    /// Whether the connection was called to beat at once since it was last asked.
    pub fn is_called(&mut self) -> bool {
        let calls = self.networks().calls.load(Ordering::Acquire);
        if std::mem::replace(&mut self.calls, calls) == calls {
            return false;
        }
        std::mem::take(&mut self.networks().lock().sitters[self.seat.index()].is_called)
    }

    /// How long the connection may be silent from now on.
    pub fn plan(&self) -> Plan {
        self.networks().lock().table.plan(self.seat, now())
    }

    /// A beat after this silence was answered.
    pub fn survived(&self, silence: Duration) {
        self.networks().lock().table.survived(self.seat, silence, now());
    }

    /// The connection ended in a way that says something about its network.
    pub fn leave(mut self, departure: Departure) {
        self.depart(departure);
    }

    fn depart(&mut self, departure: Departure) {
        let Some(networks) = self.networks.take() else {
            return;
        };
        let mut inner = networks.lock();
        inner.sitters[self.seat.index()] = Sitter::default();
        let wake = inner.table.leave(self.seat, departure, now());
        networks.call(inner, wake);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.depart(Departure::Goodbye);
    }
}

fn now() -> Duration {
    // A clock before 1970 is a clock that was never set; what is learned by it is old at once.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
