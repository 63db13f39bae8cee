//! How a connection ended, and why, as far as its network can tell.

use core::time::Duration;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// A beat after this silence stayed unanswered, and so did its repetition.
    Lost {
        /// From the last packet that left from behind the NAT to the first of the two beats.
        silence: Duration,
    },
    /// The first packet after this silence was answered by a reset.
    Reset {
        /// As above.
        silence: Duration,
    },
    /// Anything that says nothing about the NAT.
    Goodbye,
}

/// What ended a connection, as far as can be told at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The NAT: the silence was longer than what is proven, or others of the network were forgotten just before.
    Nat,
    /// Somebody answered with a reset.
    Reset,
    /// Anything; the client's quick return may still tell.
    Unclear,
}

impl Cause {
    /// What it is called wherever it is written: in metrics, events and answers.
    pub fn label(self) -> &'static str {
        match self {
            Cause::Nat => "nat",
            Cause::Reset => "reset",
            Cause::Unclear => "unclear",
        }
    }
}
