//! For whom an HTTP proxy speaks: X-Forwarded-For, and Forwarded (RFC 7239). Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::FORWARDED;
use ipnet::IpNet;

/// The header that is older than its RFC, and that most proxies write.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// What a request is told that names two clients, or none that could be read.
const MALFORMED: &str = "the Forwarded header cannot be read\n";
const CONTRADICTORY: &str = "X-Forwarded-For and Forwarded name different clients\n";

/// Who sent a hop its request; `None` where that does not say, or not as an address.
type Hop = Option<SocketAddr>;

/// The client that a request comes from: `peer`, unless that is one of the proxies that are trusted. Then it is whom the
/// proxies name, read from the right, where the nearest has written, up to the first that is not trusted. A proxy that
/// names nobody is itself the client. The port is 0 where none is told.
///
/// # Errors
/// What is wrong with the headers of a trusted proxy, in words for the client: if a proxy writes one of the two headers
/// and passes the other on as it came, whoever sends both could pass for anybody.
pub fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> Result<SocketAddr, &'static str> {
    let is_trusted = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        trusted.iter().any(|network| network.contains(&ip))
    };
    if !is_trusted(&peer) {
        return Ok(peer);
    }
    let mut forwarded = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let hops = line.to_str().ok().and_then(elements).ok_or(MALFORMED)?;
        forwarded.extend(hops);
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let listed = lines.flat_map(|line| match line.to_str() {
        Ok(line) => line.split(',').map(str::trim).filter(|name| !name.is_empty()).map(node).collect(),
        Err(_) => vec![None],
    });
    let listed: Vec<Hop> = listed.collect();
    let walk = |hops: &[Hop]| {
        let mut known = peer;
        for hop in hops.iter().rev() {
            match hop {
                Some(named) if is_trusted(&known) => known = *named,
                Some(_) | None => break,
            }
        }
        known
    };
    let both = !listed.is_empty() && !forwarded.is_empty();
    let (listed, forwarded) = (walk(&listed), walk(&forwarded));
    match both {
        true if listed.ip() != forwarded.ip() => Err(CONTRADICTORY),
        true => Ok(listed),
        // One of them is the peer.
        false => Ok(if listed == peer { forwarded } else { listed }),
    }
}

/// A node as RFC 7239 section 6 and X-Forwarded-For have it: an address, with a port or without.
fn node(text: &str) -> Hop {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip.to_canonical(), 0));
    }
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']')?;
            let ip = IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?);
            (ip, if rest.is_empty() { "0" } else { rest.strip_prefix(':')? })
        }
        None => {
            let (ip, port) = text.split_once(':')?;
            (IpAddr::V4(ip.parse().ok()?), port)
        }
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match is_number {
        true => port.parse().ok()?,
        // An obfuscated one is as good as none.
        false => port.strip_prefix('_').map(|_| 0)?,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// The elements of a Forwarded header (RFC 7239 section 4); `None` where it is none.
fn elements(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = line.trim_start_matches(BLANK);
    while !rest.is_empty() {
        // Lists may have empty elements (RFC 9110 section 5.6.1.2).
        if let Some(next) = rest.strip_prefix(',') {
            rest = next.trim_start_matches(BLANK);
            continue;
        }
        let (hop, next) = element(rest)?;
        hops.push(hop);
        rest = next;
    }
    Some(hops)
}

const BLANK: [char; 2] = [' ', '\t'];

/// One element, and what follows it: nothing, or a comma.
fn element(text: &str) -> Option<(Hop, &str)> {
    let mut named: Option<Hop> = None;
    // Pairs may be missing, so that semicolons stand alone.
    let separators = [';', ' ', '\t'];
    let mut rest = text.trim_start_matches(separators);
    while !rest.is_empty() && !rest.starts_with(',') {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") && named.replace(node(&value)).is_some() {
            return None;
        }
        rest = after.trim_start_matches(BLANK);
        if !(rest.is_empty() || rest.starts_with([',', ';'])) {
            return None;
        }
        rest = rest.trim_start_matches(separators);
    }
    Some((named.flatten(), rest))
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        // Some proxies leave out the quotes that ports and brackets need.
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_token_char = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !name.is_empty() && name.bytes().all(is_token_char)
}

#[cfg(test)]
mod tests;
