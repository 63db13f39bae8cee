//! Who connected to us.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Stream;
use super::proxy_protocol::{Ends, Introduction, Version};

/// A client, as far as it is known before it has said anything: what decides limits, the network it is of, and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address, which is not its connection's where a proxy speaks for it; `None` where it came by a Unix socket.
    pub address: Option<SocketAddr>,
    /// The address that it connected to, where that is known.
    pub reached: Option<SocketAddr>,
    /// The number that its session will have.
    pub number: u64,
    /// How its connection is secured, if it is.
    pub secured: Option<Arc<Secured>>,
}

/// What is known of a client's TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version, as OpenSSL writes it: `TLSv1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The name in the certificate that the client has shown, if it has, and which was found good.
    pub name: Option<String>,
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

impl Caller {
    /// Whoever is at the other end of a connection, and whose session will have this number.
    pub fn of(stream: &Stream, number: u64) -> Caller {
        Caller { address: stream.peer(), reached: stream.reached(), number, secured: stream.secured() }
    }

    /// The PROXY header that introduces it to a backend; `instance` tells this process from others.
    pub fn introduction(&self, version: Version, instance: impl std::fmt::Display) -> Vec<u8> {
        let ends = self.address.zip(self.reached).map(|(client, reached)| Ends { client, reached });
        let unique_id = format!("{instance}-{}", self.number);
        version.introduce(&Introduction { ends, unique_id: &unique_id, secured: self.secured.as_deref() })
    }
}
