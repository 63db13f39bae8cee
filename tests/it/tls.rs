//! TLS on either end.

pub mod authority;
mod beats;
mod config;
mod cost;
mod real;
mod refusals;
mod replaced;
mod streams;

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{Natpulse, authority as host_and_port};
use authority::{Authority, Named};

/// A client that believes `authority`, and shows a certificate if it has one.
pub fn connector(authority: &Authority, own: Option<&Named>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        Some(own) => builder.with_client_auth_cert(own.chain(), own.private_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// A backend that shows this certificate.
pub fn acceptor(own: &Named) -> TlsAcceptor {
    let config = ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(own.chain(), own.private_key()).unwrap()))
}

/// A TLS connection to a bridge.
pub async fn secured(natpulse: &Natpulse, bridge: &str, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(host_and_port(&natpulse.url(bridge))).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
}
