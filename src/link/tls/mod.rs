//! TLS: who we are, whom we believe, the handshake, and the stream.
//!
//! What the operator wrote is [`ServerTls`] and [`ClientTls`]; a [`Acceptor`] and a [`Connector`] are what it is at work,
//! with files that can be read again.

mod acceptor;
mod connector;
mod engine;
mod files;
mod names;
mod shake;
mod stream;

pub use acceptor::Acceptor;
pub use connector::Connector;
pub use files::{TlsError, is_exposed};
pub use names::name_of;
pub use stream::Tls;

use std::path::PathBuf;

/// The protocol that HTTP/1.1 is to ALPN (RFC 7301 section 6).
pub const HTTP: &[u8] = b"http/1.1";

/// `listen.tls`: how a listener proves who it is, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The file with the certificate and those between it and a root, as PEM.
    pub cert: PathBuf,
    /// The file with its private key, as PEM.
    pub key: PathBuf,
    /// The file with the roots of clients' certificates, where clients must have one.
    pub client_ca: Option<PathBuf>,
    /// The names of clients that may come in; all with a certificate where there are none.
    pub client_names: Vec<String>,
    /// Whether clients may come without TLS on the same port.
    pub optional: bool,
}

/// `backend.tls`: whom we believe, and how we prove who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The file with the roots of the backend's certificate; the system's where there is none.
    pub ca: Option<PathBuf>,
    /// The name that the backend's certificate must have; its host's where there is none.
    pub server_name: Option<String>,
    /// The file with our own certificate, where the backend wants one.
    pub cert: Option<PathBuf>,
    /// The file with its private key.
    pub key: Option<PathBuf>,
    /// Whether any certificate will do, so that anyone in between may read and change everything.
    pub insecure_skip_verify: bool,
}
