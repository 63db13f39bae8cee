//! What happens to sessions, told to whoever the operator names: one POST for up to a hundred events.
//!
//! Whoever has something to tell pushes it to the [`Queue`] and goes on. What is delivered when, and what to do when it
//! was not, is decided by the pure `courier`; `sender` does what it says.

mod body;
mod courier;
mod queue;
mod sender;

pub use queue::Queue;
pub use sender::Sender;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::close::Party;
use crate::heartbeat::Cause;

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it was.
    pub what: What,
    /// When, since the UNIX epoch.
    pub at: Duration,
    /// The name of the session's bridge.
    pub bridge: Arc<str>,
    /// The session's number, as in the log.
    pub session: u64,
    /// The end that it happened to.
    pub side: Party,
    /// The client's address, unless it came by a Unix socket.
    pub client: Option<SocketAddr>,
    /// The network of the end that it happened to, where it has one.
    pub network: Option<Arc<str>>,
    /// When a message last crossed, since the UNIX epoch; `None` before the first.
    pub last_message: Option<Duration>,
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It opened.
    Opened,
    /// One of its ends was found dead.
    Died {
        /// What caused it, as far as could be told.
        cause: Cause,
        /// The silence before the beat that was not answered.
        silence: Duration,
    },
    /// A client came back whose end had died, or the backend was dialled anew.
    Returned {
        /// The session that the end died in.
        died_session: u64,
    },
}
