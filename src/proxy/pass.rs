//! What a client has of the limits while it has no session yet.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::admission::{Admission, NoPlace, Place, Ticket};
use crate::link::Caller;

/// Held by a handshake from its connection on.
#[derive(Debug)]
pub(super) struct Pass {
    held: Mutex<Held>,
    displaced: Option<Arc<Notify>>,
    /// Whether its address was known when it connected, and asked for then whether it comes too often.
    has_knocked: bool,
}

#[derive(Debug)]
enum Held {
    /// It comes too often, and is only told so.
    Nothing,
    /// It is in progress.
    Ticket(#[expect(dead_code, reason = "it counts for as long as it is held")] Ticket),
    /// It is let in.
    Place(Place),
}

impl Pass {
    /// For a handshake in progress.
    pub(super) fn new(ticket: Ticket, has_knocked: bool) -> Pass {
        let displaced = Some(ticket.displaced());
        Pass { held: Mutex::new(Held::Ticket(ticket)), displaced, has_knocked }
    }

    /// For one that is to be refused.
    pub(super) fn none() -> Pass {
        Pass { held: Mutex::new(Held::Nothing), displaced: None, has_knocked: true }
    }

    /// Whether the client may try, now that it is known who it is.
    pub(super) fn knock(&self, admission: &Admission, caller: &Caller) -> Result<(), NoPlace> {
        match (&*self.lock(), caller.address) {
            (Held::Nothing, _) => Err(NoPlace::TooMany),
            (Held::Ticket(_) | Held::Place(_), Some(address)) if !self.has_knocked => {
                admission.knock(address.ip())
            }
            (Held::Ticket(_) | Held::Place(_), _) => Ok(()),
        }
    }

    /// Trades the ticket for a place on a bridge.
    pub(super) fn open(
        &self,
        admission: &Arc<Admission>,
        bridge: usize,
        caller: &Caller,
    ) -> Result<(), NoPlace> {
        let place = admission.open(bridge, caller.address.map(|address| address.ip()))?;
        *self.lock() = Held::Place(place);
        Ok(())
    }

    /// The place, if there is one.
    pub(super) fn place(&self) -> Option<Place> {
        match std::mem::replace(&mut *self.lock(), Held::Nothing) {
            Held::Place(place) => Some(place),
            Held::Nothing | Held::Ticket(_) => None,
        }
    }

    /// Waits until the handshake has to make room for another; for ever once it has a place.
    pub(super) async fn displaced(&self) {
        match &self.displaced {
            Some(displaced) => displaced.notified().await,
            None => pending().await,
        }
        if matches!(*self.lock(), Held::Place(_)) {
            pending::<()>().await;
        }
    }

    /// Nothing in here can be left half done.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
