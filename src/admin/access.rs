//! Who may look, and who may change anything.
//!
//! On a loopback address whoever can reach the port may look. A page somewhere could have a browser on this machine
//! reach it under a name of the page's own (DNS rebinding), which the Host header gives away. Elsewhere everybody needs
//! the token. To change anything it takes the token everywhere, or what only our own page knows; and no request that a
//! foreign page has begun.

use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;

use data_encoding::BASE64;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};

/// The header in which our own page says what only it was told.
const PAGE: HeaderName = HeaderName::from_static("natpulse-page");

/// What is asked of a request.
pub(super) struct Access {
    token: Option<String>,
    /// What the status page is told, and nobody else: another page cannot read it.
    page: String,
    /// Whether the port can be reached from this machine only.
    is_local: bool,
}

/// Everything but what nobody may see.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("is_local", &self.is_local).finish_non_exhaustive()
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 401: it needs the token.
    Token,
    /// 403, and why.
    Forbidden(&'static str),
}

const NO_TOKEN: Refusal = Refusal::Forbidden(
    "this takes a token, and there is none: set token_file in [admin], and restart natpulse",
);

impl Access {
    /// The rules of a port that asks for this token, if there is one.
    pub(super) fn new(token: Option<String>, is_local: bool) -> Access {
        // 256 bits of what generates keys: nobody guesses it while the process runs.
        let page = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        Access { token, page, is_local }
    }

    /// What our page is told.
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// Whether a request with these headers may be answered.
    pub(super) fn look(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.has_token(headers) {
            return Ok(());
        }
        match self.is_local {
            true if names_this_machine(headers) => Ok(()),
            true => Err(Refusal::Forbidden(
                "the Host header must be localhost or a loopback address, where no token is given",
            )),
            false => Err(self.ask()),
        }
    }

    /// Whether a request that may be answered may also change something.
    pub(super) fn change(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !is_of_this_site(headers) {
            return Err(Refusal::Forbidden("a page of another site has sent this"));
        }
        if self.has_token(headers) {
            return Ok(());
        }
        match headers.get(PAGE) {
            Some(page) if is_same(page.as_bytes(), self.page.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::Forbidden("natpulse has been restarted since the page was loaded")),
            None => Err(self.ask()),
        }
    }

    fn ask(&self) -> Refusal {
        if self.token.is_some() { Refusal::Token } else { NO_TOKEN }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| given(value.to_str().ok()?));
        match (&self.token, given) {
            (Some(token), Some(given)) => is_same(&given, token.as_bytes()),
            (None, _) | (_, None) => false,
        }
    }
}

/// The token in an Authorization header: behind Bearer (RFC 6750 section 2.1), or the password of any user (RFC 7617).
fn given(value: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().into());
    }
    let credentials = BASE64.decode(rest.trim().as_bytes()).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| credentials[colon + 1..].to_vec())
}

/// The one Host header.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether the Host header is a name or an address that means this machine everywhere.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else {
        return false;
    };
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Whether the request comes from no page, or from one of this site (RFC 6454). The scheme may be that of whoever ends
/// TLS in front of us.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        site.is_some() && site == host(headers)
    })
}

/// Whether two secrets are the same, in a time that depends on the length of what was given and on nothing else.
fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let pairs = given.iter().zip(secret.iter().cycle());
    pairs.fold(given.len() ^ secret.len(), |sum, (a, b)| black_box(sum | usize::from(a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_is_the_same() {
        assert!(is_same(b"sesame", b"sesame"));
        for given in [&b""[..], b"s", b"sesam", b"sesame ", b"Sesame", b"sesamf", b"sesamesesame"] {
            assert!(!is_same(given, b"sesame"), "{}", given.escape_ascii());
        }
    }
}
