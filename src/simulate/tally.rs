//! What a run costs.

use core::time::Duration;

/// Counts over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Beats on users' connections, repetitions included.
    pub beats: u64,
    /// What probes and canaries cost: a packet to open a connection, one for each beat after a silence.
    pub probe_packets: u64,
    /// Beats that somebody who knows the timeout needs: one per timeout.
    pub optimum: f64,
    /// Users' connections that the NAT forgot.
    pub lost: u64,
    /// Connections closed although the NAT kept them, because a beat and its repetition got lost.
    pub mistaken: u64,
    /// How long users' connections were forgotten and not yet replaced, in all.
    pub unreachable: Duration,
}

impl Tally {
    /// Beats on users' connections for each that is needed.
    pub fn beats_ratio(&self) -> f64 {
        self.beats as f64 / self.optimum
    }

    /// The same with probes and canaries.
    pub fn total_ratio(&self) -> f64 {
        (self.beats + self.probe_packets) as f64 / self.optimum
    }

    /// What has been added since an earlier count.
    pub(super) fn since(&self, earlier: &Tally) -> Tally {
        Tally {
            beats: self.beats - earlier.beats,
            probe_packets: self.probe_packets - earlier.probe_packets,
            optimum: self.optimum - earlier.optimum,
            lost: self.lost - earlier.lost,
            mistaken: self.mistaken - earlier.mistaken,
            unreachable: self.unreachable - earlier.unreachable,
        }
    }
}

/// How a run went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// From beginning to end.
    pub total: Tally,
    /// From [`super::Scenario::settled_after`] to the end.
    pub settled: Tally,
    /// For each network: connections that the NAT forgot.
    pub lost_per_network: Vec<u64>,
    /// For each network: when the interval in use first cost no more than 15% more beats than the best, without being
    /// longer; 10% where probes search a timeout of 100 s or more. `None` if it never did.
    pub converged: Vec<Option<Duration>>,
    /// For each network: the interval in use at the end.
    pub interval: Vec<Duration>,
    /// For each network: the connections lost to the NAT.
    pub losses: Vec<Vec<Loss>>,
    /// For each network: the shortest interval in use after it had converged.
    pub shortest: Vec<Option<Duration>>,
}

/// A connection that the NAT forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the NAT forgot it.
    pub forgotten: Duration,
    /// When that was found.
    pub found: Duration,
}
