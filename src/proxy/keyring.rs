//! The certificates in use, which are read again when their files change.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::BindError;
use crate::config::{Bridge, Speech};
use crate::link::ListenUrl;
use crate::link::tls::{Acceptor, Connector, HTTP, Reloaded};
use crate::metrics::Metrics;
use crate::networks;

/// How often the files are looked at. One that was replaced is in use after twice that time, because it must be found
/// unchanged once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who does TLS handshakes.
#[derive(Debug, Default)]
pub(super) struct Keyring(Vec<Kept>);

/// One of them, with the bridge that is named when something is wrong.
#[derive(Debug)]
struct Kept {
    bridge: String,
    who: Who,
    /// Whether the files were of no use when they were last read.
    is_stale: AtomicBool,
}

#[derive(Debug)]
enum Who {
    Listen(Arc<Acceptor>),
    Backend(Arc<Connector>),
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
        self.keep(bridge, Who::Listen(acceptor.clone()));
        Ok(Some(acceptor))
    }

    /// Who meets the backend of a bridge; `None` where that is without TLS.
    pub(super) fn connector(&mut self, bridge: &Bridge) -> Result<Option<Arc<Connector>>, BindError> {
        let (whom, settings) = (&bridge.backend.whom, &bridge.backend.tls);
        let (Some(host), Some(settings)) = (whom.tls_host(), settings) else {
            return Ok(None);
        };
        let alpn = (whom.speech() == Speech::WebSocket).then_some(HTTP);
        let connector = Connector::new(settings, &host, alpn);
        let connector = Arc::new(connector.map_err(|error| unusable(&whom.to_string(), error))?);
        self.keep(bridge, Who::Backend(connector.clone()));
        Ok(Some(connector))
    }

    fn keep(&mut self, bridge: &Bridge, who: Who) {
        self.0.push(Kept { bridge: bridge.name.clone(), who, is_stale: AtomicBool::new(false) });
    }

    /// Reads files again when they have changed, and all of them on SIGHUP, until the drain begins. Connections that are
    /// open keep what they agreed on.
    pub(super) async fn watch(self, metrics: Metrics, drain: CancellationToken) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let keyring = Arc::new(self);
        loop {
            let is_told = tokio::select! {
                () = drain.cancelled() => return Ok(()),
                _ = hangup.recv() => true,
                () = sleep(LOOK_EVERY) => false,
            };
            let (keyring, metrics) = (keyring.clone(), metrics.clone());
            // Disks block, and a network's longer than others.
            let reloading = tokio::task::spawn_blocking(move || keyring.reload(is_told, &metrics)).await;
            if let (Ok(replaced), true) = (reloading, is_told) {
                info!(replaced, "certificates read again, as told");
            }
        }
    }

    /// Returns how many were replaced.
    fn reload(&self, at_once: bool, metrics: &Metrics) -> usize {
        let (mut replaced, mut failed) = (0, 0);
        for Kept { bridge, who, is_stale } in &self.0 {
            let (end, reloaded) = match who {
                Who::Listen(acceptor) => ("listen", acceptor.reload(at_once)),
                Who::Backend(connector) => ("backend", connector.reload(at_once)),
            };
            match reloaded {
                Reloaded::Unchanged => continue,
                Reloaded::Replaced => {
                    info!(bridge, end, "certificates replaced");
                    is_stale.store(false, Ordering::Relaxed);
                    replaced += 1;
                }
                Reloaded::Failed(error) => {
                    warn!(bridge, end, %error, "cannot use the new certificates; going on with the old ones");
                    is_stale.store(true, Ordering::Relaxed);
                    failed += 1;
                }
            }
        }
        if replaced + failed > 0 {
            let is_stale = self.0.iter().any(|kept| kept.is_stale.load(Ordering::Relaxed));
            metrics.reloaded((!is_stale).then(networks::now));
        }
        replaced
    }
}

fn unusable(url: &str, error: impl std::error::Error + Send + Sync + 'static) -> BindError {
    BindError { url: url.to_owned(), error: io::Error::other(error) }
}
