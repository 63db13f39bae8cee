//! Who may come in: decided by a client's address and the page that it is, before anything is dialled for it.
//!
//! No socket, clock, file or log. What may be asked of a client is in the config; who says no is in `proxy/entry.rs`.

mod addresses;
mod origin;

pub use addresses::Addresses;
pub use origin::{Origins, is_origin};

use std::net::IpAddr;

use hyper::HeaderMap;

/// A client that wants a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Where it comes from; `None` where that is no network.
    pub address: Option<IpAddr>,
    /// The header fields of its request.
    pub headers: &'a HeaderMap,
    /// Whether the connection is encrypted up to here.
    pub is_tls: bool,
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Its address is not one that may.
    Address,
    /// It is a page of an origin that may not.
    Origin,
}

/// What is asked of the clients of one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    origins: Origins,
    addresses: Addresses,
}

impl Gate {
    /// Asks for this.
    pub fn new(origins: Origins, addresses: Addresses) -> Gate {
        Gate { origins, addresses }
    }

    /// Whether a client with this address may come in, as far as that decides.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.addresses.admit(address)
    }

    /// Whether a client may come in.
    ///
    /// # Errors
    /// The first thing that is against it.
    pub fn look(&self, visitor: &Visitor<'_>) -> Result<(), Denial> {
        if !self.admits(visitor.address) {
            return Err(Denial::Address);
        }
        if !self.origins.admit(visitor.headers, visitor.is_tls) {
            return Err(Denial::Origin);
        }
        Ok(())
    }
}
