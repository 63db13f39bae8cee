//! The request for an upgrade: what it must be, and nothing that two parsers could read in two ways.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Version};

use super::Refusal;

/// What a client asks for.
#[derive(Debug)]
pub struct Wanted {
    /// The path, without its query.
    pub path: String,
    /// What stands behind the `?`, undecoded.
    pub query: Option<String>,
    /// Every header field.
    pub headers: HeaderMap,
    /// The subprotocols it offers, best first, if the request is a valid upgrade.
    pub upgrade: Result<Vec<String>, Refusal>,
    /// Whether it is an ordinary request for a page.
    pub is_plain_get: bool,
}

impl Wanted {
    /// Whether a subprotocol is among those that are offered.
    pub fn offers(&self, subprotocol: &str) -> bool {
        self.upgrade.as_ref().is_ok_and(|offered| offered.iter().any(|name| name == subprotocol))
    }
}

/// What may be there once only: a proxy in front that goes by another one than we do would let in somebody else.
const ONCE: [(HeaderName, &str); 5] = [
    (HOST, "there must be one Host header\n"),
    (UPGRADE, "exactly one Upgrade header is needed\n"),
    (SEC_WEBSOCKET_VERSION, "exactly one Sec-WebSocket-Version is needed\n"),
    (SEC_WEBSOCKET_KEY, "exactly one Sec-WebSocket-Key of 16 base64-encoded bytes is needed\n"),
    (ORIGIN, "there may be one Origin header\n"),
];

impl Wanted {
    /// What a request asks for, behind which there may have come more.
    pub(super) fn of<B>(request: &Request<B>, has_more: bool) -> Wanted {
        let is_plain_get = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        Wanted {
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers: request.headers().clone(),
            upgrade: check(request, has_more),
            is_plain_get,
        }
    }
}

/// The server's checks of RFC 6455 section 4.2.1, and those of what must not be there; returns the subprotocols offered.
fn check<B>(request: &Request<B>, has_more: bool) -> Result<Vec<String>, Refusal> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refusal::NotGet);
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(Refusal::UpgradeRequired);
    }
    if request.version() < Version::HTTP_11 {
        return Err(Refusal::BadRequest("HTTP 1.1 or later is needed\n"));
    }
    for (name, rule) in &ONCE {
        if headers.get_all(name).iter().count() > 1 {
            return Err(Refusal::BadRequest(rule));
        }
    }
    if !is_addressed(request) {
        return Err(Refusal::BadRequest(
            "there must be a Host header with a host and a port, those of the request\n",
        ));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::BadRequest("the Connection header must contain the token Upgrade\n"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::UpgradeRequired);
    }
    if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes())) {
        return Err(Refusal::BadRequest(
            "exactly one Sec-WebSocket-Key of 16 base64-encoded bytes is needed\n",
        ));
    }
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::BadRequest("an upgrade has no body, and does not say how long it is\n"));
    }
    // Cookies are other people's, who may have put anything there.
    let is_text = |(name, value): (&HeaderName, &HeaderValue)| *name == COOKIE || value.to_str().is_ok();
    if !headers.iter().all(is_text) {
        return Err(Refusal::BadRequest("header fields must be ASCII\n"));
    }
    if has_more {
        return Err(Refusal::BadRequest("nothing may come behind the request before it is answered\n"));
    }
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let names = offers.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned());
    Ok(names.filter(|name| !name.is_empty()).collect())
}

/// Whether the Host header is a host, with a port or without, and the one that the request line names, if it does (RFC 9112
/// section 3.2).
fn is_addressed<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(host) = host.filter(|host| !host.as_str().contains('@')) else {
        return false;
    };
    request.uri().authority().is_none_or(|named| *named == host)
}

/// 16 bytes in base64 are 22 digits and two signs of padding.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_digit) && &key[22..] == b"=="
}

/// Whether a header's comma-separated values contain a token, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
