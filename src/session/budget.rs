//! What all sessions together may hold for peers that do not take it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Session;
use crate::close::{CloseReason, Party};

/// Bytes that wait for peers, over all sessions.
#[derive(Debug)]
pub struct Budget {
    most: AtomicU64,
    held: AtomicUsize,
}

/// What any session may hold however much the others do: what is read at once for a slow peer.
const SPARED: usize = 64 * 1024;

/// What both ends are told.
const OVERLOADED: &str = "too much waits to be taken";

impl Budget {
    /// Nothing is held yet, and `most` bytes may be.
    pub fn new(most: u64) -> Budget {
        Budget { most: AtomicU64::new(most), held: AtomicUsize::new(0) }
    }

    /// So many bytes may be held from now on.
    pub fn set(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A session held `before` bytes and holds `now`; returns how many times the budget is used up by all of them.
    pub(super) fn change(&self, before: usize, now: usize) -> u64 {
        let held = match now >= before {
            true => self.held.fetch_add(now - before, Ordering::Relaxed) + (now - before),
            false => self.held.fetch_sub(before - now, Ordering::Relaxed) - (before - now),
        };
        held as u64 / self.most.load(Ordering::Relaxed).max(1)
    }
}

impl Session {
    /// Lets go of a session that holds more than it did, where all of them hold too much; returns whether it did.
    pub(super) fn relieve(&mut self, before: usize, times: u64) -> bool {
        if times == 0 || self.buffered <= before.max(SPARED) || self.is_ending() && times < 2 {
            return false;
        }
        self.dismiss(CloseReason::Overloaded, OVERLOADED);
        // Who may hold twice as much while goodbyes are said has had enough.
        for party in [Party::Client, Party::Backend] {
            let side = self.side(party);
            if times > 1 && side.backlog() > 0 {
                side.close(true);
            }
        }
        true
    }
}
