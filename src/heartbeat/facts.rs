//! What is known of a connection besides the bytes that cross it.

use core::time::Duration;

/// What a pulse must know about its connection to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether a beat could be handed to the kernel now: nothing waits in front of it, and no message is half
    /// written.
    pub can_write: bool,
    /// Whether what the peer sends is being read; it is not while the other end of the session takes nothing.
    pub is_reading: bool,
    /// What the kernel knows about the path; `None` where it has no TCP.
    pub path: Option<Path>,
}

/// What TCP knows about the way to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Time since the peer's kernel last acknowledged anything.
    pub ack_age: Duration,
    /// Whether bytes are on their way that have not been acknowledged.
    pub in_flight: bool,
    /// Whether bytes wait in our kernel that have not been sent.
    pub unsent: bool,
    /// Bytes that the peer's kernel has room for.
    pub window: u32,
    /// How many probes of a closed window the peer's kernel has left unanswered in a row (RFC 9293 section 3.8.6.1).
    pub window_probes: u8,
}
