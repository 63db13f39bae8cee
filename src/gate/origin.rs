//! Which pages may come in.
//!
//! A browser lets any page open a WebSocket to any server, and says in the Origin header whose page it is (RFC 6455
//! section 10.2, RFC 6454): nothing else keeps a foreign page from speaking with what its visitor can reach. A client
//! without that header is no browser, and could say what it likes.

use std::net::{IpAddr, Ipv6Addr};

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Pages that may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those that came from where they connect to.
    #[default]
    Same,
    /// All there are.
    Any,
    /// These, as browsers write them.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a client with these headers may come in, over TLS or not.
    pub(super) fn admit(&self, headers: &HeaderMap, is_tls: bool) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (origin, other) = (origins.next(), origins.next());
        let Some(origin) = origin else {
            return true;
        };
        let Some(origin) = origin.to_str().ok().filter(|_| other.is_none()) else {
            return matches!(self, Origins::Any);
        };
        match self {
            Origins::Any => true,
            Origins::Listed(listed) => listed.iter().any(|known| known == origin),
            Origins::Same => only(headers).is_some_and(|host| is_same(origin, host, is_tls)),
        }
    }
}

/// The one Host header.
fn only(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether a page of `origin` came from the `host` that it asked for. Without TLS a page can have its own name lead to
/// our address (DNS rebinding) and then calls us by that name: there the host must be an address, or localhost, which
/// nobody can have lead elsewhere.
fn is_same(origin: &str, host: &str, is_tls: bool) -> bool {
    let Some((scheme, site)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        // In front of a listener without TLS somebody else may add it.
        "https" => HTTPS,
        "http" if !is_tls => HTTP,
        _ => return false,
    };
    let (page, ours) = (Site::parse(site, port), Site::parse(host, if is_tls { HTTPS } else { HTTP }));
    page.is_some() && page == ours && (is_tls || page.is_some_and(|site| site.cannot_be_rebound()))
}

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// A host and a port.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    host: String,
    port: u16,
}

impl Site {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address is in brackets.
    fn parse(text: &str, default: u16) -> Option<Site> {
        let end = text.find(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].find(':') {
            Some(colon) => (&text[..end + colon], port(&text[end + colon + 1..])?),
            None => (text, default),
        };
        is_host(host).then(|| Site { host: host.to_ascii_lowercase(), port })
    }

    fn cannot_be_rebound(&self) -> bool {
        self.host == "localhost" || self.host.starts_with('[') || self.host.parse::<IpAddr>().is_ok()
    }
}

/// A port in digits, and nothing else.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let is_name_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.bytes().all(is_name_char)
        }
    }
}

/// Whether this is how a browser writes an origin (RFC 6454 section 6.2): `null`, or a scheme, a host and a port that is
/// not the scheme's own; all in lower case, and nothing behind it.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, site)) = text.split_once("://") else {
        return text == "null";
    };
    let is_scheme_char =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.bytes().all(is_scheme_char);
    let default = match scheme {
        "http" | "ws" => HTTP,
        "https" | "wss" => HTTPS,
        _ => 0,
    };
    let Some(parsed) = Site::parse(site, default) else {
        return false;
    };
    let says_default = parsed.port == default && site.len() > parsed.host.len();
    is_scheme && site == site.to_ascii_lowercase() && !says_default
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(host: &str, origins: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn only_pages_of_the_same_origin_come_in_unless_told_otherwise() {
        for (origin, host, plain, tls) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true, false),
            ("http://127.0.0.1", "127.0.0.1", true, false),
            ("http://127.0.0.1", "127.0.0.1:80", true, false),
            ("http://localhost:8080", "localhost:8080", true, false),
            ("http://localhost:8080", "LOCALHOST:8080", true, false),
            ("http://[::1]:8080", "[::1]:8080", true, false),
            ("https://192.0.2.7:8443", "192.0.2.7:8443", true, true),
            ("https://192.0.2.7", "192.0.2.7", false, true),
            ("https://192.0.2.7", "192.0.2.7:443", true, true),
            ("https://app.example", "app.example", false, true),
            ("https://app.example:8443", "app.example:8443", false, true),
            // A page's own name for our address: with TLS it would have no certificate for it.
            ("http://app.example:8080", "app.example:8080", false, false),
            ("http://localhost.example:8080", "localhost.example:8080", false, false),
            ("http://127.0.0.1.example:80", "127.0.0.1.example:80", false, false),
            ("http://localhost.:8080", "localhost.:8080", false, false),
            // Over TLS, but a page that anyone on the way could have written.
            ("http://app.example:8443", "app.example:8443", false, false),
            ("https://app.example", "app.example.", false, false),
            ("https://app.example", "other.example", false, false),
            ("https://app.example.evil", "app.example", false, false),
            ("https://evil.app.example", "app.example", false, false),
            ("https://app.example:444", "app.example", false, false),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false, false),
            ("http://127.0.0.2:8080", "127.0.0.1:8080", false, false),
            ("http://localhost:8080", "127.0.0.1:8080", false, false),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", false, false),
            ("http://user@127.0.0.1:8080", "127.0.0.1:8080", false, false),
            ("http://127.0.0.1:+8080", "127.0.0.1:8080", false, false),
            ("http://127.0.0.1:", "127.0.0.1:", false, false),
            ("http://[::1", "[::1", false, false),
            ("ftp://127.0.0.1:8080", "127.0.0.1:8080", false, false),
            ("null", "127.0.0.1:8080", false, false),
            ("", "127.0.0.1:8080", false, false),
            ("*", "127.0.0.1:8080", false, false),
            ("http://127.0.0.1:8080 http://127.0.0.1:8080", "127.0.0.1:8080", false, false),
            ("http://ä:8080", "127.0.0.1:8080", false, false),
        ] {
            let headers = headers(host, &[origin]);
            assert_eq!(Origins::Same.admit(&headers, false), plain, "{origin} to {host}, plain");
            assert_eq!(Origins::Same.admit(&headers, true), tls, "{origin} to {host}, TLS");
            assert!(Origins::Any.admit(&headers, false));
        }
        assert!(Origins::Same.admit(&headers("127.0.0.1:8080", &[]), false), "no browser");
        let twice = headers("127.0.0.1:8080", &["http://127.0.0.1:8080", "http://127.0.0.1:8080"]);
        assert!(!Origins::Same.admit(&twice, false));
        let mut two_hosts = headers("127.0.0.1:8080", &["http://127.0.0.1:8080"]);
        two_hosts.append(HOST, HeaderValue::from_static("127.0.0.1:8080"));
        assert!(!Origins::Same.admit(&two_hosts, false));
    }

    #[test]
    fn a_list_is_meant_to_the_letter() {
        let listed = Origins::Listed(vec!["https://app.example".into(), "null".into()]);
        let small = Origins::Listed(vec!["https://app.example".into()]);
        for (origin, is_in) in [
            ("https://app.example", true),
            ("null", true),
            ("https://app.example:443", false),
            ("https://app.example/", false),
            ("https://APP.example", false),
            ("http://app.example", false),
            ("https://app.example.evil", false),
            ("http://127.0.0.1:8080", false),
        ] {
            let headers = headers("127.0.0.1:8080", &[origin]);
            assert_eq!(listed.admit(&headers, false), is_in, "{origin}");
            assert_eq!(small.admit(&headers, false), is_in && origin != "null", "{origin}");
        }
        assert!(listed.admit(&headers("app.example", &[]), false), "no browser");
        assert!(!listed.admit(&headers("app.example", &["null", "null"]), false));
    }

    #[test]
    fn an_origin_is_what_a_browser_writes() {
        for text in [
            "null",
            "https://app.example",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnop",
            "http://localhost:443",
        ] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "",
            "*",
            "app.example",
            "https://",
            "https://*.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example:443",
            "http://app.example:80",
            "https://App.example",
            "HTTPS://app.example",
            "https://user@app.example",
            "https://bücher.example",
            "https://app.example:99999",
            "https://app.example:0",
            "http://[::1",
            "://x",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
