//! Whether the trouble is ours: an uplink that flaps, a switch that is replaced, a power cut.

use core::time::Duration;

use super::NetworkId;

/// Many unrelated networks that lose connections at once: something near us is broken, and no NAT to blame.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    window: u64,
    /// The networks that lost a connection in this window, as many as are needed.
    hit: Vec<NetworkId>,
    until: Duration,
}

impl Crowd {
    /// Whether nothing is to be believed.
    pub(super) fn is_here(&self, now: Duration) -> bool {
        now < self.until
    }

    /// A connection of a network died without a goodbye, while so many networks had connections.
    pub(super) fn on_death(&mut self, network: NetworkId, inhabited: usize, now: Duration) {
        let window = now.as_secs() / WINDOW.as_secs();
        if window != self.window {
            self.window = window;
            self.hit.clear();
        }
        let enough = (inhabited / SHARE).max(LEAST);
        // A network that is hit twice in a row is one network; the list need not be exact beyond that.
        if self.hit.len() < enough && !self.hit.iter().rev().take(16).any(|hit| *hit == network) {
            self.hit.push(network);
        }
        if self.hit.len() >= enough {
            self.until = now + REST;
        }
    }
}

/// How long the deaths of a crowd are collected, and for how long after one nothing is believed.
const WINDOW: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(60);

/// A crowd is one network in fifty, and at least five: laptops close all day, one here and one there.
const SHARE: usize = 50;
const LEAST: usize = 5;
