//! Who may come in: decided by a client's address, the page that it is and the token that it carries, before anything is
//! dialled for it.
//!
//! No socket, clock, file or log: time is an argument, and so is the text of files. What may be asked of a client is in the config; who says no is in `proxy/entry.rs`.

mod addresses;
mod carried;
mod jwt;
mod keys;
mod origin;
mod tokens;

pub use addresses::Addresses;
pub use carried::{Places, without_tokens};
pub use jwt::{Claims, Jwt};
pub use keys::{Algorithm, KeyKind};
pub use origin::{Origins, is_origin};
pub use tokens::Tokens;

use std::net::IpAddr;
use std::time::Duration;

use carried::Carried;
use hyper::HeaderMap;

/// A client that wants a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Where it comes from; `None` where that is no network.
    pub address: Option<IpAddr>,
    /// The header fields of its request.
    pub headers: &'a HeaderMap,
    /// What stands behind the `?` of its request, undecoded.
    pub query: Option<&'a str>,
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
    /// It carries no token.
    NoToken,
    /// It carries one that is not valid, and why.
    BadToken(&'static str),
}

/// Which tokens let a client in, and where it may carry one.
#[derive(Debug)]
pub struct Bearer {
    /// Where.
    pub places: Places,
    /// Those that are listed.
    pub tokens: Option<Tokens>,
    /// Those that are signed.
    pub jwt: Option<Jwt>,
}

impl Bearer {
    /// Until when the token of a client is valid, since the UNIX epoch, as `now` is; `None` for ever.
    fn check(&self, visitor: &Visitor<'_>, now: Duration) -> Result<Option<Duration>, Denial> {
        let token = match self.places.find(visitor.headers, visitor.query) {
            Carried::Nothing => return Err(Denial::NoToken),
            Carried::Several => return Err(Denial::BadToken("there is more than one")),
            Carried::Token(token) => token,
        };
        if self.tokens.as_ref().is_some_and(|tokens| tokens.has(&token)) {
            return Ok(None);
        }
        let unlisted = Denial::BadToken("it is not listed");
        let jwt = self.jwt.as_ref().ok_or(unlisted)?;
        jwt.check(&token, now).map(Some).map_err(Denial::BadToken)
    }
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

    /// Whether a client may come in at `now`, and until when, both since the UNIX epoch. `bearer` is asked of it, if
    /// anything is.
    ///
    /// # Errors
    /// The first thing that is against it.
    pub fn look(
        &self,
        visitor: &Visitor<'_>,
        bearer: Option<&Bearer>,
        now: Duration,
    ) -> Result<Option<Duration>, Denial> {
        if !self.admits(visitor.address) {
            return Err(Denial::Address);
        }
        if !self.origins.admit(visitor.headers, visitor.is_tls) {
            return Err(Denial::Origin);
        }
        bearer.map_or(Ok(None), |bearer| bearer.check(visitor, now))
    }
}
