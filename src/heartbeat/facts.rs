//! What a pulse is told besides the bytes that cross its connection.

use core::time::Duration;

/// What an end's beat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Bytes that the peer must answer, as a WebSocket ping (RFC 6455 section 5.5.2).
    Ping,
    /// Bytes that the peer may answer, but perhaps only sends of its own accord: the beat of a legacy protocol.
    Legacy,
    /// The kernel's own probe (RFC 9293 section 3.8.4), where the stream leaves no room for anything else.
    Keepalive,
}

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

/// How patient a pulse is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a peer may take to answer a beat.
    pub reply: Duration,
    /// How long the reply clock may stand still, counted from the last life.
    pub stall: Duration,
}
