//! The way into a bridge: asks its gate, and tells the log whom it turned away. Its files of tokens and keys are read
//! again when they change.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hyper::header::ORIGIN;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::{self, Access};
use crate::gate::{Bearer, Denial, Gate, Visitor, without_tokens};
use crate::link::{Caller, Refusal, Wanted};
use crate::networks::now;

/// How often the log says at most that a page was turned away: whoever asks can ask a thousand times a second.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// As much of an Origin header as is worth a log line, in bytes.
const LONGEST_ORIGIN: usize = 200;
/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A bridge's gate.
#[derive(Debug)]
pub(super) struct Entry {
    bridge: String,
    gate: Gate,
    bearer: Option<Arc<Kept>>,
    begun: Instant,
    /// When the log may say again that a page was turned away, in seconds since the beginning.
    quiet_until: AtomicU64,
}

/// Which tokens are asked for, and what was last read of that.
#[derive(Debug)]
struct Kept {
    bridge: String,
    files: config::Bearer,
    /// `None` while nothing could be read: then nobody has a token that is valid.
    read: RwLock<Option<Arc<Bearer>>>,
}

/// What tells one version of a file from the next.
type Version = Option<(SystemTime, u64, u64)>;

impl Entry {
    pub(super) fn new(bridge: &str, access: &Access) -> Entry {
        let Access { origins, addresses, bearer } = access.clone();
        let kept = |files| Kept { bridge: bridge.to_owned(), files, read: RwLock::new(None) };
        let bearer = bearer.map(kept).inspect(Kept::read_again);
        Entry {
            bridge: bridge.to_owned(),
            gate: Gate::new(origins, addresses),
            bearer: bearer.map(Arc::new),
            begun: Instant::now(),
            quiet_until: AtomicU64::new(0),
        }
    }

    /// Whether a client with this address may come in, as far as that decides.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        self.gate.admits(caller.address.map(|address| address.ip()))
    }

    /// Whether a client may have what it wants, and until when.
    pub(super) fn look(&self, wanted: &Wanted, caller: &Caller) -> Result<Option<Instant>, Refusal> {
        let visitor = Visitor {
            address: caller.address.map(|address| address.ip()),
            headers: &wanted.headers,
            query: wanted.query.as_deref(),
            is_tls: caller.secured.is_some(),
        };
        let bearer = self.bearer.as_ref().map(|kept| kept.current());
        let now = now();
        let looked = match &bearer {
            None => self.gate.look(&visitor, None, now),
            Some(Some(bearer)) => self.gate.look(&visitor, Some(bearer), now),
            Some(None) => Err(Denial::BadToken("its file could not be read")),
        };
        let until = looked.map_err(|denial| self.turn_away(denial, wanted, caller))?;
        // What lasts longer than can be counted has no end.
        Ok(until.and_then(|until| Instant::now().checked_add(until.saturating_sub(now))))
    }

    /// What a client offers beside its token, and what it is to be answered if nobody chooses any of that.
    pub(super) fn offered(&self, offered: Vec<String>) -> (Vec<String>, Option<String>) {
        if self.bearer.is_some() { without_tokens(offered) } else { (offered, None) }
    }

    /// Reads the files again when they change, until the drain begins; nothing where there are none.
    pub(super) fn watch(&self, drain: CancellationToken) -> Option<impl Future<Output = ()> + 'static> {
        let kept = self.bearer.clone()?;
        Some(async move {
            let mut versions = kept.versions();
            while timeout(LOOK_EVERY, drain.cancelled()).await.is_err() {
                let (kept, seen) = (kept.clone(), versions.clone());
                // Disks block, and a network's longer than others.
                let looking = tokio::task::spawn_blocking(move || {
                    let now = kept.versions();
                    if now != seen {
                        kept.read_again();
                    }
                    now
                });
                versions = looking.await.unwrap_or(versions);
            }
        })
    }

    fn turn_away(&self, denial: Denial, wanted: &Wanted, caller: &Caller) -> Refusal {
        debug!(bridge = self.bridge, client = ?caller.address, ?denial, "a client that may not come in");
        match denial {
            Denial::Address => Refusal::AddressDenied,
            Denial::Origin => {
                self.warn_of_origin(wanted);
                Refusal::OriginDenied
            }
            Denial::NoToken => Refusal::TokenMissing,
            Denial::BadToken(_) => Refusal::TokenInvalid,
        }
    }

    fn warn_of_origin(&self, wanted: &Wanted) {
        let now = self.begun.elapsed().as_secs();
        let is_time = |until: u64| (now >= until).then_some(now + WARN_EVERY.as_secs());
        if self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time).is_err() {
            return;
        }
        let origins = wanted.headers.get_all(ORIGIN).iter();
        let origin = origins.map(|origin| origin.as_bytes().escape_ascii().to_string());
        let mut origin = origin.collect::<Vec<_>>().join(", ");
        origin.truncate(LONGEST_ORIGIN);
        warn!(
            bridge = self.bridge,
            origin,
            "a page of another origin was turned away; if it is yours, add its origin to access.origins of this bridge"
        );
    }
}

impl Kept {
    fn current(&self) -> Option<Arc<Bearer>> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn versions(&self) -> Vec<Version> {
        self.files.files().map(version).collect()
    }

    /// Takes what the files hold now; what is wrong with them is told, and then what was read before holds.
    fn read_again(&self) {
        match self.files.load() {
            Ok(bearer) => {
                let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
                if read.replace(Arc::new(bearer)).is_some() {
                    info!(bridge = self.bridge, "tokens and keys were read again");
                }
            }
            Err(error) => warn!(bridge = self.bridge, error, "tokens and keys stay as they were"),
        }
    }
}

fn version(file: &Path) -> Version {
    let file = metadata(file).ok()?;
    Some((file.modified().ok()?, file.len(), file.ino()))
}
