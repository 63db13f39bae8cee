//! Reading a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::crc32c::crc32c;
use super::{
    CRC32C, Ends, FIXED, LOCAL, LONGEST, LONGEST_LINE, PROXY, SIGNATURE, TCP_OVER_IPV4, TCP_OVER_IPV6,
    UNSPECIFIED, WORD,
};

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes; what follows is the client's.
    pub length: usize,
    /// Whom the proxy speaks for; `None` where it speaks for itself, or for somebody without an IP address.
    pub ends: Option<Ends>,
}

/// Reads the header that these bytes begin with; `None` while more bytes are needed, all of which are the header's.
///
/// # Errors
/// The rule that it breaks.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(found, wanted)| found == wanted);
    if begins(&SIGNATURE) {
        return binary(bytes);
    }
    if begins(WORD) { line(bytes) } else { Err("it does not begin with a PROXY header") }
}

/// Version 1 (section 2.1).
fn line(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let window = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE {
            Ok(None)
        } else {
            Err("a PROXY line of more than 107 bytes")
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).ok().and_then(|line| line.strip_suffix('\r'));
    let line = line.ok_or("a PROXY line that does not end with CR LF")?;
    let fields: Vec<&str> = line.split(' ').collect();
    let ends = match fields[1..] {
        // Whatever it says behind that is of no meaning.
        ["UNKNOWN", ..] => None,
        ["TCP4", client, reached, from, to] => Some(ends::<Ipv4Addr>([client, reached], [from, to])?),
        ["TCP6", client, reached, from, to] => Some(ends::<Ipv6Addr>([client, reached], [from, to])?),
        _ => return Err("a PROXY line that is neither TCP4, TCP6 nor UNKNOWN with its fields"),
    };
    Ok(Some(Header { length: end + 1, ends }))
}

fn ends<A: FromStr + Into<IpAddr>>(addresses: [&str; 2], ports: [&str; 2]) -> Result<Ends, &'static str> {
    let place = |address: &str, port: &str| {
        let address: IpAddr = address.parse::<A>().ok()?.into();
        Some(SocketAddr::new(address.to_canonical(), decimal(port)?))
    };
    let [client, reached] = [0, 1].map(|end| place(addresses[end], ports[end]));
    let rule = "a PROXY line with a wrong address or port";
    Ok(Ends { client: client.ok_or(rule)?, reached: reached.ok_or(rule)? })
}

/// A port as the specification has it: digits, and no zero in front.
fn decimal(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(None);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if command != LOCAL && command != PROXY {
        return Err("a PROXY header of an unknown version or command");
    }
    if length > LONGEST {
        return Err("a PROXY header of more than 8 KiB");
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(None);
    };
    let ends = match command {
        PROXY => proxied(header, family)?,
        // The proxy itself is calling, and whatever else it says is to be dropped.
        _ => None,
    };
    Ok(Some(Header { length, ends }))
}

/// Whom a header of version 2 is about, where that has an IP address and came by TCP.
fn proxied(header: &[u8], family: u8) -> Result<Option<Ends>, &'static str> {
    let body = &header[FIXED..];
    let addresses = match (family >> 4, family & 0xf) {
        _ if family == UNSPECIFIED => return Ok(None),
        (1, 0..=2) => 12,
        (2, 0..=2) => 36,
        // Unix sockets: two paths of 108 bytes.
        (3, 0..=2) => 216,
        _ => return Err("a PROXY header of an unknown family"),
    };
    if body.len() < addresses {
        return Err("a PROXY header too short for its addresses");
    }
    let (addresses, more) = body.split_at(addresses);
    check(header, more)?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let ends = match family {
        TCP_OVER_IPV4 => {
            let ip = |at: usize| <[u8; 4]>::try_from(&addresses[at..at + 4]).map(IpAddr::from);
            ip(0).ok().zip(ip(4).ok()).map(|ips| (ips, [port(8), port(10)]))
        }
        TCP_OVER_IPV6 => {
            let ip = |at: usize| <[u8; 16]>::try_from(&addresses[at..at + 16]).map(IpAddr::from);
            ip(0).ok().zip(ip(16).ok()).map(|ips| (ips, [port(32), port(34)]))
        }
        _ => None,
    };
    Ok(ends.map(|((client, reached), [from, to])| Ends {
        client: SocketAddr::new(client.to_canonical(), from),
        reached: SocketAddr::new(reached.to_canonical(), to),
    }))
}

/// Steps over what stands behind the addresses, and checks the checksum where there is one (section 2.2.3).
fn check(header: &[u8], mut more: &[u8]) -> Result<(), &'static str> {
    while let Some((kind, rest)) = more.split_first() {
        let rule = "a PROXY header with an entry that is longer than the header";
        let (length, rest) = rest.split_first_chunk().ok_or(rule)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let value = rest.get(..length).ok_or(rule)?;
        more = &rest[length..];
        if *kind == CRC32C {
            let sum = value.try_into().map(u32::from_be_bytes).map_err(|_| "a checksum of 4 bytes")?;
            let at = header.len() - more.len() - length..header.len() - more.len();
            // It was made while its own bytes were zero.
            let zeroed = header.iter().enumerate().map(|(i, byte)| if at.contains(&i) { 0 } else { *byte });
            if crc32c(zeroed) != sum {
                return Err("a PROXY header with a wrong checksum");
            }
        }
    }
    Ok(())
}
