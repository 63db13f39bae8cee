//! The sessions that are open, and the ends of late that died: for whoever looks from outside.
//!
//! A session writes what crosses into its [`Record`], without a lock and without a second thought. Opening, a death and
//! closing are told to [`Sessions`], which hands them on as events where somebody wants to hear of them. Whoever lists
//! all sessions takes the lock for a few hundred of them at a time.

mod deaths;
mod record;
mod table;

pub use deaths::Death;
pub use record::{Crossed, Record};

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use serde::Serialize;

use crate::close::Party;
use crate::events::{Event, Queue, What};
use crate::heartbeat::{Cause, NetworkKey};
use crate::networks::{Networks, now};
use deaths::Deaths;
use table::Table;

/// A bridge, as it is known outside.
#[derive(Debug)]
pub struct Bridge {
    /// What the operator calls it.
    pub name: Arc<str>,
    /// The URL it listens on, with the port that was bound.
    pub listen: String,
    /// The URL of its backend.
    pub backend: String,
    /// What is known of its clients' networks and of its backend's, for as long as it or one of its sessions is there.
    pub networks: [Weak<Networks>; 2],
}

/// What another config has changed: bridges by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that serve new clients in another way.
    pub changed: Vec<String>,
    /// Those that are drained.
    pub removed: Vec<String>,
    /// Those that are as they were.
    pub unchanged: Vec<String>,
}

/// All sessions of the process, and the bridges that new ones can open on.
#[derive(Debug)]
pub struct Sessions {
    next: AtomicU64,
    bridges: Mutex<Vec<Arc<Bridge>>>,
    table: Mutex<Table>,
    deaths: Mutex<Deaths>,
    events: Option<Queue>,
}

/// A session's place in the table, until it is dropped.
#[derive(Debug)]
pub struct Listed<'a> {
    sessions: &'a Sessions,
    place: u32,
}

/// So many sessions are looked at before those who wait for the lock get their turn.
const LISTED_AT_ONCE: usize = 512;

impl Sessions {
    /// No sessions yet. What happens to them is pushed to `events`.
    pub fn new(events: Option<Queue>) -> Sessions {
        Sessions {
            next: AtomicU64::new(1),
            bridges: Mutex::default(),
            table: Mutex::default(),
            deaths: Mutex::default(),
            events,
        }
    }

    /// These are the bridges from now on.
    pub fn set_bridges(&self, bridges: Vec<Arc<Bridge>>) {
        *lock(&self.bridges) = bridges;
    }

    /// The bridges, in the order of the config.
    pub fn bridges(&self) -> Vec<Arc<Bridge>> {
        lock(&self.bridges).clone()
    }

    /// Every table of networks there is, once each, with the side that it is about.
    pub fn networks(&self) -> Vec<(Party, Arc<Networks>)> {
        let mut all: Vec<(Party, Arc<Networks>)> = Vec::new();
        for bridge in self.bridges() {
            for (party, networks) in [Party::Client, Party::Backend].into_iter().zip(&bridge.networks) {
                if let Some(networks) = networks.upgrade()
                    && !all.iter().any(|(_, known)| Arc::ptr_eq(known, &networks))
                {
                    all.push((party, networks));
                }
            }
        }
        all
    }

    /// A number that no session of this process has had.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The record of a session that is about to open with this number, and whose task `waker` wakes. It is not listed
    /// yet.
    pub fn record(
        &self,
        number: u64,
        bridge: &Arc<Bridge>,
        client: Option<SocketAddr>,
        waker: Waker,
    ) -> Arc<Record> {
        Arc::new(Record::new(number, bridge.clone(), client, now(), waker))
    }

    /// A session has opened. `network` finds its client's, where such are known, for those who want to hear of it.
    pub fn open(&self, record: &Arc<Record>, network: impl FnOnce() -> Option<NetworkKey>) -> Listed<'_> {
        let place = lock(&self.table).insert(record.clone());
        let who = record.client().map(|client| (record.bridge().name.clone(), client.ip()));
        let died = who.and_then(|who| lock(&self.deaths).client_is_back(&who, now()));
        if self.events.is_some() {
            let network = network();
            self.tell(What::Opened, record, Party::Client, network.as_ref());
            if let Some(died_session) = died {
                self.tell(What::Returned { died_session }, record, Party::Client, network.as_ref());
            }
        }
        Listed { sessions: self, place }
    }

    /// An end of a session was found dead.
    pub fn died(
        &self,
        record: &Record,
        side: Party,
        cause: Cause,
        silence: Duration,
        network: Option<&NetworkKey>,
    ) {
        lock(&self.deaths).add(Death {
            at: now(),
            session: record.number(),
            bridge: record.bridge().clone(),
            side,
            client: record.client(),
            network: network.map(ToString::to_string),
            cause,
            silence,
            last_message: record.last_message(),
            returned: None,
        });
        self.tell(What::Died { cause, silence }, record, side, network);
    }

    /// The backend of a session was dialled anew.
    pub fn backend_is_back(&self, record: &Record, network: Option<&NetworkKey>) {
        lock(&self.deaths).returned(record.number(), Party::Backend, now());
        let died_session = record.number();
        self.tell(What::Returned { died_session }, record, Party::Backend, network);
    }

    /// The latest deaths, newest first.
    pub fn deaths(&self) -> Vec<Death> {
        lock(&self.deaths).latest()
    }

    /// All sessions that are open, in no order.
    pub fn all(&self) -> Vec<Arc<Record>> {
        let mut all = Vec::new();
        self.look(|some| all.extend(some));
        all
    }

    /// How many sessions are open.
    pub fn count(&self) -> usize {
        lock(&self.table).taken()
    }

    /// The session with this number, if it is open.
    pub fn find(&self, number: u64) -> Option<Arc<Record>> {
        let mut found = None;
        self.look(|some| found = found.take().or(some.into_iter().find(|record| record.number() == number)));
        found
    }

    /// Shows all sessions that are open, so many at a time, while nobody is kept from opening or closing one.
    fn look(&self, mut see: impl FnMut(Vec<Arc<Record>>)) {
        let mut places = 0..LISTED_AT_ONCE;
        loop {
            let table = lock(&self.table);
            if places.start >= table.len() {
                return;
            }
            let some = table.look(places.clone()).cloned().collect();
            drop(table);
            see(some);
            places = places.end..places.end + LISTED_AT_ONCE;
        }
    }

    fn tell(&self, what: What, record: &Record, side: Party, network: Option<&NetworkKey>) {
        if let Some(events) = &self.events {
            events.push(Event {
                what,
                at: now(),
                bridge: record.bridge().name.clone(),
                session: record.number(),
                side,
                client: record.client(),
                network: network.map(|network| network.to_string().into()),
                last_message: record.last_message(),
            });
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        // What may be the last reference to the record is dropped without the lock.
        let _record = lock(&self.sessions.table).remove(self.place);
    }
}

/// Nothing in here can be left half done by a panic that would be worse than what the panic left.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
