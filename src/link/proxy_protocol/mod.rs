//! The PROXY protocol, versions 1 and 2: what a proxy says of the client that it speaks for, before the client's own
//! first byte (<https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>). Reading and writing are pure.

mod crc32c;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Header, parse};
pub use write::Introduction;

use std::net::SocketAddr;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary, with room for more than addresses.
    V2,
}

/// The two ends of the connection that a proxy passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// What it connected to.
    pub reached: SocketAddr,
}

/// Longest header in bytes that is read: what is taken of a request's head, too. A peer could announce 64 KiB.
pub const LONGEST: usize = 8 * 1024;

/// What version 2 begins with (section 2.2): bytes that no text protocol takes for a beginning of its own.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (section 2.1).
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, its CR LF included (section 2.1).
const LONGEST_LINE: usize = 107;
/// Bytes of version 2 in front of the addresses: signature, version and command, family, length.
const FIXED: usize = 16;

/// Commands of version 2, with the version's number in the upper four bits.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Families of version 2, with the transport in the lower four bits.
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Types of what may stand behind the addresses of version 2 (section 2.2.1 and those below).
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
