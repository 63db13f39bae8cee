//! The certificates in use, which are read again when their files change.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::BindError;
use crate::config::Bridge;
use crate::link::tls::{Acceptor, Connector, HTTP, Reloaded};
use crate::link::{BackendUrl, ListenUrl};

/// How often the files are looked at. One that was replaced is in use after twice that time, because it must be found
/// unchanged once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who does TLS handshakes, by the bridge that is named when something is wrong.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    acceptors: Vec<(String, Arc<Acceptor>)>,
    connectors: Vec<(String, Arc<Connector>)>,
}

impl Keyring {
    /// Who meets the clients of a bridge, and of all that share its address; `None` where that is without TLS.
    pub(super) fn acceptor(&mut self, bridge: &Bridge) -> Result<Option<Arc<Acceptor>>, BindError> {
        let Some(settings) = &bridge.listen.tls else {
            return Ok(None);
        };
        let alpn = matches!(bridge.listen.url, ListenUrl::Ws { .. }).then_some(HTTP);
        let acceptor = Acceptor::new(settings, alpn);
        let acceptor = Arc::new(acceptor.map_err(|error| unusable(&bridge.listen.url.to_string(), error))?);
        self.acceptors.push((bridge.name.clone(), acceptor.clone()));
        Ok(Some(acceptor))
    }

    /// Who meets the backend of a bridge; `None` where that is without TLS.
    pub(super) fn connector(&mut self, bridge: &Bridge) -> Result<Option<Arc<Connector>>, BindError> {
        let (url, settings) = (&bridge.backend.url, &bridge.backend.tls);
        let (Some(authority), Some(settings)) = (url.tls_authority(), settings) else {
            return Ok(None);
        };
        let alpn = matches!(url, BackendUrl::Ws { .. }).then_some(HTTP);
        let connector = Connector::new(settings, &authority.host, alpn);
        let connector = Arc::new(connector.map_err(|error| unusable(&url.to_string(), error))?);
        self.connectors.push((bridge.name.clone(), connector.clone()));
        Ok(Some(connector))
    }

    /// Reads files again when they have changed, and all of them on SIGHUP, until the drain begins. Connections that are
    /// open keep what they agreed on.
    pub(super) async fn watch(self, drain: CancellationToken) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = Instant::now() + LOOK_EVERY;
        let keyring = Arc::new(self);
        loop {
            let is_told = tokio::select! {
                () = drain.cancelled() => return Ok(()),
                _ = hangup.recv() => true,
                () = sleep_until(look) => false,
            };
            let keyring = keyring.clone();
            let reloaded = tokio::task::spawn_blocking(move || keyring.reload(is_told)).await;
            if let (Ok(replaced), true) = (reloaded, is_told) {
                info!(replaced, "told to read certificates again");
            }
            look = Instant::now() + LOOK_EVERY;
        }
    }

    /// Returns how many were replaced.
    fn reload(&self, at_once: bool) -> usize {
        let acceptors =
            self.acceptors.iter().map(|(name, acceptor)| (name, "listen", acceptor.reload(at_once)));
        let connectors =
            self.connectors.iter().map(|(name, connector)| (name, "backend", connector.reload(at_once)));
        let mut replaced = 0;
        for (bridge, end, reloaded) in acceptors.chain(connectors) {
            match reloaded {
                Reloaded::Unchanged => {}
                Reloaded::Replaced => {
                    info!(bridge, end, "certificates replaced");
                    replaced += 1;
                }
                Reloaded::Failed(error) => {
                    warn!(bridge, end, %error, "cannot use the new certificates; going on with the old ones");
                }
            }
        }
        replaced
    }
}

fn unusable(url: &str, error: impl std::error::Error + Send + Sync + 'static) -> BindError {
    BindError { url: url.to_owned(), error: io::Error::other(error) }
}
