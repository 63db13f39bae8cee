//! NATs as they are: how long a mapping is kept, and what happens to a packet for one that is not.

use core::time::Duration;

/// How one NAT behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Nat {
    /// How long it keeps a mapping that nobody uses.
    pub timeout: Duration,
    /// From when on it keeps mappings for another while, as far as they are used again.
    pub change: Option<(Duration, Duration)>,
    /// Whether a packet from outside refreshes a mapping too. RFC 4787 REQ-6 asks it of no NAT, and of a packet from
    /// inside only.
    pub refreshes_inbound: bool,
    /// Whether a packet for a forgotten mapping is answered by a reset. Otherwise it is dropped.
    pub resets: bool,
    /// Whether a packet from inside makes a forgotten mapping anew, as if nothing had been.
    pub recreates: bool,
    /// How often it looks for old mappings: it forgets up to this much late. Zero: at once.
    pub sweep: Duration,
}

impl Nat {
    /// The plainest of all: a fixed timeout, refreshed from inside only, silent about what it has forgotten.
    pub fn fixed(timeout: Duration) -> Nat {
        let (change, sweep) = (None, Duration::ZERO);
        Nat { timeout, change, refreshes_inbound: false, resets: false, recreates: false, sweep }
    }

    /// The timeout of a mapping that is used at `at`.
    pub fn timeout_at(&self, at: Duration) -> Duration {
        match self.change {
            Some((from, timeout)) if at >= from => timeout,
            Some(_) | None => self.timeout,
        }
    }

    /// When a mapping that was last used at `used` is forgotten.
    pub(super) fn forgets_at(&self, used: Duration) -> Duration {
        let due = used + self.timeout_at(used);
        if self.sweep.is_zero() {
            return due;
        }
        let sweeps = due.as_nanos().div_ceil(self.sweep.as_nanos());
        Duration::from_nanos(u64::try_from(sweeps * self.sweep.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered.
    Answered,
    /// Nobody answers.
    Dropped,
    /// A reset came back.
    Reset,
}

/// One connection's mapping in a NAT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    /// When it was last refreshed.
    pub(super) used: Duration,
}

/// Which of a beat and its answer gets lost, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Neither,
    OnTheWayIn,
    OnTheWayOut,
}

impl Mapping {
    /// A beat at `now`, sent by the server or by the device, and its answer.
    pub(super) fn beat(&mut self, nat: &Nat, by_device: bool, mishap: Mishap, now: Duration) -> Fate {
        let is_kept = now < nat.forgets_at(self.used);
        let is_made_anew = nat.recreates && by_device;
        if !is_kept && !is_made_anew {
            return if nat.resets && mishap == Mishap::Neither { Fate::Reset } else { Fate::Dropped };
        }
        // The device's packet, be it beat or answer, passes the NAT from inside.
        let passes_outward = by_device || mishap != Mishap::OnTheWayIn;
        let passes_inward = mishap == Mishap::Neither || (mishap == Mishap::OnTheWayOut && !by_device);
        if passes_outward || (passes_inward && nat.refreshes_inbound) {
            self.used = now;
        }
        if mishap == Mishap::Neither { Fate::Answered } else { Fate::Dropped }
    }
}
