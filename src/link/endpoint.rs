//! Where to listen and whom to dial, as URLs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hyper::Uri;

/// The transport below an end that is a byte stream, or the address that WebSockets share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenUrl {
    /// `ws://ADDRESS:PORT/path`
    Ws {
        /// The address to bind.
        address: SocketAddr,
        /// The path that clients must ask for.
        path: String,
    },
    /// `tcp://ADDRESS:PORT`
    Tcp(SocketAddr),
    /// `unix:///path`
    Unix(PathBuf),
}

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendUrl {
    /// `ws://HOST:PORT/path?query`
    Ws {
        /// Host and port; the host is resolved at each dial.
        authority: Authority,
        /// What to ask for.
        path_and_query: String,
    },
    /// `tcp://HOST:PORT`
    Tcp(Authority),
    /// `unix:///path`
    Unix(PathBuf),
    /// `echo:`, the built-in echo service.
    Echo,
}

/// Whom to tell what happens: `http://HOST:PORT/path?query`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Host and port; the host is resolved at each dial.
    pub authority: Authority,
    /// What to post to.
    pub path_and_query: String,
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
const LISTEN_RULE: &str = "ws://ADDRESS:PORT/path, tcp://ADDRESS:PORT or unix:///path, where ADDRESS is an IP \
                           address or localhost";
/// What a backend URL must look like.
const BACKEND_RULE: &str = "tcp://HOST:PORT, ws://HOST:PORT/path, unix:///path or echo:";

/// What a webhook's URL must look like.
const WEBHOOK_RULE: &str = "http://HOST:PORT/path";

impl ListenUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<ListenUrl, String> {
        refuse_tls(text)?;
        if let Some(path) = unix_path(text) {
            return path.map(ListenUrl::Unix);
        }
        let rule = || LISTEN_RULE.to_owned();
        let uri: Uri = text.parse().map_err(|_| rule())?;
        let address = address(&uri).ok_or_else(rule)?;
        match uri.scheme_str() {
            Some("ws") if uri.query().is_none() => Ok(ListenUrl::Ws { address, path: uri.path().to_owned() }),
            Some("tcp") if is_bare(&uri) => Ok(ListenUrl::Tcp(address)),
            _ => Err(rule()),
        }
    }
}

impl BackendUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<BackendUrl, String> {
        refuse_tls(text)?;
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
            Some("ws") => Ok(BackendUrl::Ws { authority, path_and_query: path_and_query(&uri) }),
            Some("tcp") if is_bare(&uri) => Ok(BackendUrl::Tcp(authority)),
            _ => Err(rule()),
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
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                let advice = "TLS is not part of this release, so send to a proxy that adds it";
                return Err(format!("{WEBHOOK_RULE}: {advice}"));
            }
            _ => return Err(rule()),
        }
        let authority = authority(&uri).ok_or_else(rule)?;
        Ok(WebhookUrl { authority, path_and_query: path_and_query(&uri) })
    }
}

fn refuse_tls(text: &str) -> Result<(), String> {
    match text.starts_with("wss:") || text.starts_with("tls:") {
        true => {
            Err("ws, tcp or unix: TLS is not part of this release, so end it in front of natpulse".into())
        }
        false => Ok(()),
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
    let default = (matches!(uri.scheme_str(), Some("ws" | "http")) && text == written).then_some(80);
    let port = uri.port_u16().or(default)?;
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

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenUrl::Ws { address, path } => write!(f, "ws://{address}{path}"),
            ListenUrl::Tcp(address) => write!(f, "tcp://{address}"),
            ListenUrl::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendUrl::Ws { authority, path_and_query } => write!(f, "ws://{authority}{path_and_query}"),
            BackendUrl::Tcp(authority) => write!(f, "tcp://{authority}"),
            BackendUrl::Unix(path) => write!(f, "unix://{}", path.display()),
            BackendUrl::Echo => f.write_str("echo:"),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path_and_query)
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
            "wss://1.2.3.4:5/",
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
            "tls://host:1",
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
        assert!(WebhookUrl::parse("https://host/").unwrap_err().contains("TLS"));
    }
}
