//! Where to listen and whom to dial, as URLs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hyper::Uri;

/// The transport below an end that is a byte stream, or the address that WebSockets share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenUrl {
    /// `ws://ADDRESS:PORT/path`, or `wss:`
    Ws {
        /// The address to bind.
        address: SocketAddr,
        /// The path that clients must ask for.
        path: String,
        /// Whether it is `wss:`.
        is_tls: bool,
    },
    /// `tcp://ADDRESS:PORT`, or `tls:`
    Tcp {
        /// The address to bind.
        address: SocketAddr,
        /// Whether it is `tls:`.
        is_tls: bool,
    },
    /// `unix:///path`
    Unix(PathBuf),
}

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendUrl {
    /// `ws://HOST:PORT/path?query`, or `wss:`
    Ws {
        /// Host and port; the host is resolved at each dial.
        authority: Authority,
        /// What to ask for.
        path_and_query: String,
        /// Whether it is `wss:`.
        is_tls: bool,
    },
    /// `tcp://HOST:PORT`, or `tls:`
    Tcp {
        /// Host and port; the host is resolved at each dial.
        authority: Authority,
        /// Whether it is `tls:`.
        is_tls: bool,
    },
    /// `unix:///path`
    Unix(PathBuf),
    /// `echo:`, the built-in echo service.
    Echo,
}

/// Whom to tell what happens: `http://HOST:PORT/path?query`, or `https:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Host and port; the host is resolved at each dial.
    pub authority: Authority,
    /// What to post to.
    pub path_and_query: String,
    /// Whether it is `https:`.
    pub is_tls: bool,
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What a listen URL must look like.
const LISTEN_RULE: &str = "ws://ADDRESS:PORT/path, wss://ADDRESS:PORT/path, tcp://ADDRESS:PORT, tls://ADDRESS:PORT or \
                           unix:///path, where ADDRESS is an IP address or localhost";
/// What a backend URL must look like.
const BACKEND_RULE: &str =
    "tcp://HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/path, wss://HOST:PORT/path, unix:///path or echo:";

/// What a webhook's URL must look like.
const WEBHOOK_RULE: &str = "http://HOST:PORT/path or https://HOST:PORT/path";

impl ListenUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<ListenUrl, String> {
        if let Some(path) = unix_path(text) {
            return path.map(ListenUrl::Unix);
        }
        let rule = || LISTEN_RULE.to_owned();
        let uri: Uri = text.parse().map_err(|_| rule())?;
        let address = address(&uri).ok_or_else(rule)?;
        match uri.scheme_str() {
            Some(scheme @ ("ws" | "wss")) if uri.query().is_none() => {
                Ok(ListenUrl::Ws { address, path: uri.path().to_owned(), is_tls: scheme == "wss" })
            }
            Some(scheme @ ("tcp" | "tls")) if is_bare(&uri) => {
                Ok(ListenUrl::Tcp { address, is_tls: scheme == "tls" })
            }
            _ => Err(rule()),
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        match self {
            ListenUrl::Ws { is_tls, .. } | ListenUrl::Tcp { is_tls, .. } => *is_tls,
            ListenUrl::Unix(_) => false,
        }
    }
}

impl BackendUrl {
    /// The host and port of a backend that speaks TLS.
    pub fn tls_authority(&self) -> Option<&Authority> {
        match self {
            BackendUrl::Ws { authority, is_tls: true, .. } | BackendUrl::Tcp { authority, is_tls: true } => {
                Some(authority)
            }
            BackendUrl::Ws { .. } | BackendUrl::Tcp { .. } | BackendUrl::Unix(_) | BackendUrl::Echo => None,
        }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<BackendUrl, String> {
        if text == "echo:" {
            return Ok(BackendUrl::Echo);
        }
        if let Some(path) = unix_path(text) {
            return path.map(BackendUrl::Unix);
        }
        let rule = || BACKEND_RULE.to_owned();
        let uri: Uri = text.parse().map_err(|_| rule())?;
        let authority = authority(&uri).ok_or_else(rule)?;
        match uri.scheme_str() {
            Some(scheme @ ("ws" | "wss")) => {
                let path_and_query = path_and_query(&uri);
                Ok(BackendUrl::Ws { authority, path_and_query, is_tls: scheme == "wss" })
            }
            Some(scheme @ ("tcp" | "tls")) if is_bare(&uri) => {
                Ok(BackendUrl::Tcp { authority, is_tls: scheme == "tls" })
            }
            _ => Err(rule()),
        }
    }
}

impl BackendUrl {
    /// The host and port, where it has them.
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            BackendUrl::Ws { authority, .. } | BackendUrl::Tcp { authority, .. } => Some(authority),
            BackendUrl::Unix(_) | BackendUrl::Echo => None,
        }
    }
}

impl WebhookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<WebhookUrl, String> {
        let rule = || WEBHOOK_RULE.to_owned();
        let uri: Uri = text.parse().map_err(|_| rule())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(rule()),
        };
        let authority = authority(&uri).ok_or_else(rule)?;
        Ok(WebhookUrl { authority, path_and_query: path_and_query(&uri), is_tls })
    }
}

fn unix_path(text: &str) -> Option<Result<PathBuf, String>> {
    let path = text.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(match path.starts_with('/') && path.len() <= UNIX_PATH_MAX {
        true => Ok(path.into()),
        false => Err(format!("unix:///path with an absolute path of at most {UNIX_PATH_MAX} bytes")),
    })
}

/// Linux keeps a socket's path in 108 bytes, the last of them 0 (unix(7)).
const UNIX_PATH_MAX: usize = 107;

fn path_and_query(uri: &Uri) -> String {
    let wanted = uri.path_and_query().map_or("", |path| path.as_str());
    format!("{}{wanted}", if wanted.starts_with('/') { "" } else { "/" })
}

fn is_bare(uri: &Uri) -> bool {
    matches!(uri.path(), "" | "/") && uri.query().is_none()
}

fn authority(uri: &Uri) -> Option<Authority> {
    let (text, written) = (uri.authority()?.as_str(), uri.host()?);
    let default = match uri.scheme_str() {
        Some("ws" | "http") => Some(80),
        Some("wss" | "https") => Some(443),
        _ => None,
    };
    let port = uri.port_u16().or(default.filter(|_| text == written))?;
    let host = match written.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok().then_some(host)?,
        None => written,
    };
    let is_plain = !host.is_empty() && !host.contains(['[', ']']) && !text.contains('@');
    is_plain.then(|| Authority { host: host.to_owned(), port })
}

fn address(uri: &Uri) -> Option<SocketAddr> {
    let Authority { host, port } = authority(uri)?;
    match host.as_str() {
        "localhost" => Some((Ipv4Addr::LOCALHOST, port).into()),
        host => Some((host.parse::<std::net::IpAddr>().ok()?, port).into()),
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn ws(is_tls: bool) -> &'static str {
    if is_tls { "wss" } else { "ws" }
}

fn tcp(is_tls: bool) -> &'static str {
    if is_tls { "tls" } else { "tcp" }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenUrl::Ws { address, path, is_tls } => write!(f, "{}://{address}{path}", ws(*is_tls)),
            ListenUrl::Tcp { address, is_tls } => write!(f, "{}://{address}", tcp(*is_tls)),
            ListenUrl::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendUrl::Ws { authority, path_and_query, is_tls } => {
                write!(f, "{}://{authority}{path_and_query}", ws(*is_tls))
            }
            BackendUrl::Tcp { authority, is_tls } => write!(f, "{}://{authority}", tcp(*is_tls)),
            BackendUrl::Unix(path) => write!(f, "unix://{}", path.display()),
            BackendUrl::Echo => f.write_str("echo:"),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_written_as_they_were_read() {
        for url in ["ws://0.0.0.0:8080/im", "ws://[::1]:80/", "tcp://127.0.0.1:9000", "unix:///run/a.sock"] {
            assert_eq!(ListenUrl::parse(url).unwrap().to_string(), url);
        }
        for url in ["ws://db.internal:81/a?b=c", "tcp://[::1]:9000", "unix:///run/a.sock", "echo:"] {
            assert_eq!(BackendUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(BackendUrl::parse("ws://host?x=1").unwrap().to_string(), "ws://host:80/?x=1");
        assert_eq!(BackendUrl::parse("ws://host/x").unwrap().to_string(), "ws://host:80/x");
        assert_eq!(WebhookUrl::parse("http://host?x=1").unwrap().to_string(), "http://host:80/?x=1");
        assert_eq!(WebhookUrl::parse("http://[::1]:8/x").unwrap().to_string(), "http://[::1]:8/x");
        for url in ["wss://0.0.0.0:443/im", "tls://[::1]:80"] {
            assert_eq!(ListenUrl::parse(url).unwrap().to_string(), url);
            assert!(ListenUrl::parse(url).unwrap().is_tls());
        }
        for url in ["wss://db.internal:444/a?b=c", "tls://[::1]:9000"] {
            assert_eq!(BackendUrl::parse(url).unwrap().to_string(), url);
            assert!(BackendUrl::parse(url).unwrap().tls_authority().is_some());
        }
        assert_eq!(BackendUrl::parse("wss://host").unwrap().to_string(), "wss://host:443/");
        assert_eq!(WebhookUrl::parse("https://host").unwrap().to_string(), "https://host:443/");
        assert_eq!(ListenUrl::parse("tcp://localhost:1").unwrap().to_string(), "tcp://127.0.0.1:1");
    }

    #[test]
    fn what_cannot_be_listened_on_or_dialled_is_refused() {
        for url in [
            "",
            "8080",
            "ws://",
            "ws://host:1/",
            "tcp://1.2.3.4",
            "tcp://1.2.3.4:5/path",
            "ws://1.2.3.4:5/?q",
            "udp://1.2.3.4:5",
            "wss://1.2.3.4:5/?q",
            "tls://1.2.3.4:5/path",
            "unix:relative",
            "echo:",
            "tcp://u@127.0.0.1:1",
            "tcp://1.2.3.4:99999",
        ] {
            assert!(ListenUrl::parse(url).is_err(), "{url}");
        }
        for url in [
            "",
            "host:1",
            "tcp://host",
            "ws://host:99999/",
            "tls://host",
            "tls://host:1/path",
            "unix:",
            "echo:x",
            "ws://A[+:]:80/",
            "ws://[host]:80/",
        ] {
            assert!(BackendUrl::parse(url).is_err(), "{url}");
        }
        for url in ["", "host:1", "/path", "http://", "http://host:99999/", "http://u@host/", "ws://host/"] {
            assert_eq!(WebhookUrl::parse(url).unwrap_err(), WEBHOOK_RULE, "{url}");
        }
    }
}
