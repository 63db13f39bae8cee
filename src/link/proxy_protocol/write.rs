//! Writing a header.

use std::net::{IpAddr, SocketAddr};

use super::{
    AUTHORITY, Ends, FIXED, LOCAL, PROXY, SIGNATURE, SSL, SSL_CIPHER, SSL_CN, SSL_VERSION, TCP_OVER_IPV4,
    TCP_OVER_IPV6, UNIQUE_ID, UNSPECIFIED, Version,
};
use crate::link::Secured;

/// What a backend is told of a client.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// Where the connection comes from and what it had reached; `None` where that is no IP address.
    pub ends: Option<Ends>,
    /// What the session is called, for version 2: at most 128 bytes.
    pub unique_id: &'a str,
    /// How the client's connection is secured, if it is.
    pub secured: Option<&'a Secured>,
}

/// What may become an entry, in bytes: a name that is longer is left out, since a part of it would be another name.
const LONGEST_ENTRY: usize = 1024;

/// Bits of an SSL entry's first byte (section 2.2.6): TLS was used; a certificate was shown.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT: u8 = 2 | 4;

impl Version {
    /// The header that introduces a client.
    pub fn introduce(self, who: &Introduction<'_>) -> Vec<u8> {
        let ends = who.ends.map(|Ends { client, reached }| alike(client, reached));
        match self {
            Version::V1 => line(ends),
            Version::V2 => binary(PROXY, ends, who),
        }
    }

    /// The header of a connection that is nobody's but our own.
    pub fn local(self) -> Vec<u8> {
        match self {
            Version::V1 => line(None),
            Version::V2 => binary(LOCAL, None, &Introduction { ends: None, unique_id: "", secured: None }),
        }
    }
}

/// Both in one family, as the header wants them.
fn alike(client: SocketAddr, reached: SocketAddr) -> [SocketAddr; 2] {
    let both = [client, reached].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    let is_mixed = both[0].is_ipv4() != both[1].is_ipv4();
    both.map(|end| match end.ip() {
        IpAddr::V4(ip) if is_mixed => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => end,
    })
}

fn line(ends: Option<[SocketAddr; 2]>) -> Vec<u8> {
    let Some([client, reached]) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.port(), reached.port());
    format!("PROXY {family} {} {} {from} {to}\r\n", client.ip(), reached.ip()).into_bytes()
}

fn binary(command: u8, ends: Option<[SocketAddr; 2]>, who: &Introduction<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match ends {
        None => UNSPECIFIED,
        Some([client, _]) if client.is_ipv4() => TCP_OVER_IPV4,
        Some(_) => TCP_OVER_IPV6,
    };
    for end in ends.iter().flatten() {
        match end.ip() {
            IpAddr::V4(ip) => body.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => body.extend_from_slice(&ip.octets()),
        }
    }
    for end in ends.iter().flatten() {
        body.extend_from_slice(&end.port().to_be_bytes());
    }
    if let Some(name) = who.secured.and_then(|secured| secured.server_name.as_deref()) {
        entry(&mut body, AUTHORITY, name.as_bytes());
    }
    if !who.unique_id.is_empty() {
        entry(&mut body, UNIQUE_ID, who.unique_id.as_bytes());
    }
    if let Some(secured) = who.secured {
        entry(&mut body, SSL, &ssl(secured));
    }
    let mut header = Vec::with_capacity(FIXED + body.len());
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&(body.len() as u16).to_be_bytes());
    header.append(&mut body);
    header
}

/// Section 2.2.6; `verify` is 0 only where a certificate was shown and found good, and no other gets a connection.
fn ssl(secured: &Secured) -> Vec<u8> {
    let has_shown = secured.name.is_some();
    let bits = if has_shown { CLIENT_SSL | CLIENT_CERT } else { CLIENT_SSL };
    let mut value = vec![bits];
    value.extend_from_slice(&u32::from(!has_shown).to_be_bytes());
    entry(&mut value, SSL_VERSION, secured.version.as_bytes());
    if let Some(name) = &secured.name {
        entry(&mut value, SSL_CN, name.as_bytes());
    }
    entry(&mut value, SSL_CIPHER, secured.cipher.as_bytes());
    value
}

fn entry(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let most = if kind == SSL { 4 * LONGEST_ENTRY } else { LONGEST_ENTRY };
    if value.len() <= most {
        body.push(kind);
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
    }
}
