//! Who connected to us.

use std::net::SocketAddr;

use super::Stream;

/// A client, as far as it is known before it has said anything: what decides limits, the network it is of, and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address; `None` where it came by a Unix socket.
    pub address: Option<SocketAddr>,
}

impl Caller {
    /// Whoever is at the other end of a connection.
    pub fn of(stream: &Stream) -> Caller {
        Caller { address: stream.peer() }
    }
}
