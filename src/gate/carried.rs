//! Where a client carries its token.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL};

/// What stands in front of a token among the subprotocols that a client offers: the one header that a page can choose.
const IN_SUBPROTOCOL: &str = "bearer.";
/// The subprotocol that a page offers beside it, and that it is answered. A browser fails a connection for which it
/// offered subprotocols, and of which none was chosen.
const BEARER: &str = "bearer";

/// What a client carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Carried<'a> {
    /// Nothing that looks like a token.
    Nothing,
    /// This one.
    Token(Cow<'a, [u8]>),
    /// More than one in the same place: whoever reads another than we do would let in somebody else.
    Several,
}

/// Where to look beside the Authorization header and the subprotocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The name of a cookie.
    pub cookie: Option<String>,
    /// Whether `access_token` may stand in the query, where logs and histories keep it (RFC 6750 section 2.3).
    pub query: bool,
}

impl Places {
    /// The token of a request: what is found first counts.
    pub(super) fn find<'a>(&'a self, headers: &'a HeaderMap, query: Option<&'a str>) -> Carried<'a> {
        let cookie = || self.cookie.as_deref().map_or(Carried::Nothing, |name| in_cookie(headers, name));
        let query = || query.filter(|_| self.query).map_or(Carried::Nothing, in_query);
        in_authorization(headers).or_else(cookie).or_else(|| in_subprotocols(headers)).or_else(query)
    }
}

impl<'a> Carried<'a> {
    fn or_else(self, other: impl FnOnce() -> Carried<'a>) -> Carried<'a> {
        if self == Carried::Nothing { other() } else { self }
    }

    fn of(mut tokens: impl Iterator<Item = Cow<'a, [u8]>>) -> Carried<'a> {
        match (tokens.next(), tokens.next()) {
            (None, _) => Carried::Nothing,
            (Some(token), None) => Carried::Token(token),
            (Some(_), Some(_)) => Carried::Several,
        }
    }
}

/// The values of a header; other bytes than ASCII are in none that we look at.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// Behind `Bearer` (RFC 6750 section 2.1); another scheme is for somebody else.
fn in_authorization(headers: &HeaderMap) -> Carried<'_> {
    let bearers = texts(headers, &AUTHORIZATION).filter_map(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Cow::from(token.trim().as_bytes()))
    });
    Carried::of(bearers)
}

/// `name=value` between semicolons (RFC 6265 section 5.4). Other cookies may hold anything.
fn in_cookie<'a>(headers: &'a HeaderMap, name: &'a str) -> Carried<'a> {
    let values =
        headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let tokens = values.filter_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(Cow::from(bare.unwrap_or(value)))
    });
    Carried::of(tokens)
}

fn in_subprotocols(headers: &HeaderMap) -> Carried<'_> {
    let offered = texts(headers, &SEC_WEBSOCKET_PROTOCOL).flat_map(|value| value.split(','));
    let tokens = offered.filter_map(|name| name.trim().strip_prefix(IN_SUBPROTOCOL));
    Carried::of(tokens.map(|token| Cow::from(token.as_bytes())))
}

fn in_query(query: &str) -> Carried<'_> {
    let tokens = query.split('&').filter_map(|pair| pair.strip_prefix("access_token="));
    Carried::of(tokens.map(decoded))
}

/// Undoes percent-encoding; what is none stays as it is, and so is no token.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return text.as_bytes().into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'%').then(|| behind.get(..2)).flatten();
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes.into()
}

/// What a client offers beside its token, and what it is to be answered if nobody chooses any of that: neither the
/// backend nor the client's log is to see a token.
pub fn without_tokens(offered: Vec<String>) -> (Vec<String>, Option<String>) {
    let is_ours = |name: &String| name == BEARER || name.starts_with(IN_SUBPROTOCOL);
    let (ours, others): (Vec<_>, Vec<_>) = offered.into_iter().partition(is_ours);
    (others, ours.into_iter().find(|name| name == BEARER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn find(lines: &[(HeaderName, &str)], query: Option<&str>) -> String {
        let places = Places { cookie: Some("sid".into()), query: true };
        match places.find(&headers(lines), query) {
            Carried::Nothing => "nothing".into(),
            Carried::Several => "several".into(),
            Carried::Token(token) => String::from_utf8_lossy(&token).into_owned(),
        }
    }

    #[test]
    fn a_token_is_where_it_may_be() {
        for (name, value, found) in [
            (AUTHORIZATION, "Bearer abc", "abc"),
            (AUTHORIZATION, "bearer  abc ", "abc"),
            (AUTHORIZATION, "Basic abc", "nothing"),
            (AUTHORIZATION, "Bearer", "nothing"),
            (AUTHORIZATION, "Bearer ", ""),
            (AUTHORIZATION, "Bearerabc", "nothing"),
            (COOKIE, "sid=abc", "abc"),
            (COOKIE, "a=b; sid=abc; c=d", "abc"),
            (COOKIE, "a=b;sid=\"abc\"", "abc"),
            (COOKIE, "xsid=abc; sid2=abc; SID=abc", "nothing"),
            (COOKIE, "a=sid=abc", "nothing"),
            (COOKIE, "sid=abc; sid=abc", "several"),
            (COOKIE, "sid", "nothing"),
            (SEC_WEBSOCKET_PROTOCOL, "bearer.abc", "abc"),
            (SEC_WEBSOCKET_PROTOCOL, "mqtt, bearer.a.b.c", "a.b.c"),
            (SEC_WEBSOCKET_PROTOCOL, "bearer, mqtt", "nothing"),
            (SEC_WEBSOCKET_PROTOCOL, "bearer.abc, bearer.def", "several"),
        ] {
            assert_eq!(find(&[(name, value)], None), found, "{value}");
        }
        for (query, found) in [
            ("access_token=abc", "abc"),
            ("a=b&access_token=a%2Bc%2f", "a+c/"),
            ("access_token=a%zz%", "a%zz%"),
            ("access_token=%ff%00", "\u{fffd}\0"),
            ("xaccess_token=abc&access_token", "nothing"),
            ("access_token=abc&access_token=abc", "several"),
        ] {
            assert_eq!(find(&[], Some(query)), found, "{query}");
        }
        let nowhere = Places::default();
        let cookie = headers(&[(COOKIE, "sid=abc")]);
        assert_eq!(nowhere.find(&cookie, Some("access_token=abc")), Carried::Nothing);
    }

    #[test]
    fn what_is_found_first_counts() {
        let mut lines =
            vec![(SEC_WEBSOCKET_PROTOCOL, "bearer.c"), (COOKIE, "sid=b"), (AUTHORIZATION, "Bearer a")];
        for found in ["a", "b", "c"] {
            assert_eq!(find(&lines, Some("access_token=d")), found);
            lines.pop();
        }
        assert_eq!(find(&lines, Some("access_token=d")), "d");
        let twice = [(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer a"), (COOKIE, "sid=b")];
        assert_eq!(find(&twice, None), "several");
    }

    #[test]
    fn a_token_is_no_subprotocol() {
        for (offered, others, ours) in [
            ("mqtt", "mqtt", None),
            ("bearer.abc", "", None),
            ("bearer bearer.abc", "", Some("bearer")),
            ("bearer.abc mqtt bearer.def bearers", "mqtt bearers", None),
        ] {
            let offered = offered.split(' ').map(str::to_owned).collect();
            let (left, answer) = without_tokens(offered);
            assert_eq!((&left.join(" ")[..], answer.as_deref()), (others, ours));
        }
    }
}
