//! `[admin]`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::reader::Reader;
use super::source::Node;
use super::{ConfigError, Secret};

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the port listens.
    pub listen: SocketAddr,
    /// What whoever is not on this machine must know, and whoever wants to change something.
    pub token: Option<Secret>,
}

/// Port 9464 is what Prometheus' registry of exporter ports gives to OpenTelemetry's own exporter, and
/// so is free on machines that run none.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

impl Admin {
    pub(super) fn read(node: Option<Node>, errors: &mut Vec<ConfigError>) -> Admin {
        let default = Admin { listen: LISTEN, token: None };
        let Some(node) = node else {
            return default;
        };
        let mut reader = Reader::new("admin", node, errors);
        let listen = reader.parsed("listen", "an address and a port such as \"127.0.0.1:9464\"", |value| {
            value.as_str()?.parse().ok()
        });
        let token = Secret::read("token_file", &mut reader);
        reader.finish();
        Admin { listen: listen.unwrap_or(default.listen), token }
    }
}
