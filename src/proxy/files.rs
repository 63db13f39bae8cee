//! The files that belong to bridges: certificates, keys and tokens, which are read again when they change.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::entry::Tokens;
use crate::link::tls::{Acceptor, Connector, TlsError};
use crate::metrics::Metrics;
use crate::networks::now;

/// How often the files are looked at. One that was replaced is in use after twice that time, because it must be found
/// unchanged once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// All of them.
#[derive(Debug)]
pub(super) struct Files {
    metrics: Metrics,
    kept: Mutex<Vec<Kept>>,
    /// Whether the config was of no use when it was last read.
    is_config_stale: AtomicBool,
}

/// What was made of some of them, for as long as a bridge or a session needs it, with the bridge that is named when
/// something is wrong.
#[derive(Clone, Debug)]
struct Kept {
    bridge: String,
    what: Made,
}

/// What is made of files.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// How clients are met with TLS.
    Acceptor(Weak<Acceptor>),
    /// How a backend is.
    Connector(Weak<Connector>),
    /// Who has a valid token.
    Tokens(Weak<Tokens>),
}

impl Files {
    pub(super) fn new(metrics: Metrics) -> Files {
        Files { metrics, kept: Mutex::default(), is_config_stale: AtomicBool::new(false) }
    }

    /// Sees to something being made anew when its files change.
    pub(super) fn keep(&self, bridge: &str, what: Made) {
        self.lock().push(Kept { bridge: bridge.to_owned(), what });
    }

    /// Looks at the files now and then, for ever.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            sleep(LOOK_EVERY).await;
            let files = self.clone();
            // Disks block, and a network's longer than others. What is wrong was logged.
            let _ = tokio::task::spawn_blocking(move || files.look()).await;
        }
    }

    /// The config was read again, and was of use or not: all files are read again as well. Blocks.
    pub(super) fn config_read(&self, is_of_use: bool) {
        self.is_config_stale.store(!is_of_use, Ordering::Relaxed);
        self.reload(true);
        self.tell();
    }

    /// Whether the config was of no use when it was last read.
    pub(super) fn is_config_stale(&self) -> bool {
        self.is_config_stale.load(Ordering::Relaxed)
    }

    /// Reads those files again that have changed. Blocks.
    fn look(&self) {
        if self.reload(false) {
            self.tell();
        }
    }

    /// Reads files again when they have changed, or all of them at once; returns whether any was new. Blocks.
    fn reload(&self, at_once: bool) -> bool {
        let all = self.lock().clone();
        let mut is_news = false;
        for Kept { bridge, what } in &all {
            match what.reload(at_once) {
                Ok(false) => continue,
                Ok(true) => info!(bridge, files = %what, "files read again"),
                Err(error) => {
                    warn!(bridge, files = %what, error, "cannot use the new files; going on with the old ones");
                }
            }
            is_news = true;
        }
        self.lock().retain(|kept| kept.what.is_needed());
        is_news
    }

    /// Tells the metrics whether all is in use that was last read.
    fn tell(&self) {
        let is_stale = self.is_config_stale() || self.lock().iter().any(|kept| kept.what.is_stale());
        self.metrics.reloaded((!is_stale).then(now));
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// Returns whether it is new, or what is wrong with the files.
    fn reload(&self, at_once: bool) -> Result<bool, String> {
        let told = |error: TlsError| error.to_string();
        match self {
            Made::Acceptor(made) => {
                made.upgrade().map_or(Ok(false), |made| made.reload(at_once).map_err(told))
            }
            Made::Connector(made) => {
                made.upgrade().map_or(Ok(false), |made| made.reload(at_once).map_err(told))
            }
            Made::Tokens(made) => made.upgrade().map_or(Ok(false), |made| made.reload(at_once)),
        }
    }

    fn is_stale(&self) -> bool {
        match self {
            Made::Acceptor(made) => made.upgrade().is_some_and(|made| made.is_stale()),
            Made::Connector(made) => made.upgrade().is_some_and(|made| made.is_stale()),
            Made::Tokens(made) => made.upgrade().is_some_and(|made| made.is_stale()),
        }
    }

    fn is_needed(&self) -> bool {
        match self {
            Made::Acceptor(made) => made.strong_count() > 0,
            Made::Connector(made) => made.strong_count() > 0,
            Made::Tokens(made) => made.strong_count() > 0,
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Made::Acceptor(_) => "certificates of the listener",
            Made::Connector(_) => "certificates for the backend",
            Made::Tokens(_) => "tokens and keys",
        })
    }
}
