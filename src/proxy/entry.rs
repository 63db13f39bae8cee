//! The way into a bridge: asks its gate, and tells the log whom it turned away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::ORIGIN;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::config::{self, Access};
use crate::gate::{Bearer, Denial, Gate, Visitor, without_tokens};
use crate::link::{Caller, Refusal, Wanted};
use crate::networks::now;
use crate::watched::Watched;

/// How often the log says at most that a page was turned away: whoever asks can ask a thousand times a second.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// As much of an Origin header as is worth a log line, in bytes.
const LONGEST_ORIGIN: usize = 200;

/// A bridge's gate.
#[derive(Debug)]
pub(super) struct Entry {
    bridge: String,
    gate: Gate,
    tokens: Option<Arc<Tokens>>,
    begun: Instant,
    /// When the log may say again that a page was turned away, in seconds since the beginning.
    quiet_until: AtomicU64,
}

/// Which tokens are asked for, in files of tokens and keys that can be read again.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: config::Bearer,
    read: Watched<Bearer>,
}

impl Entry {
    /// Reads the files of tokens and keys. Blocks.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(bridge: &str, access: &Access) -> Result<Entry, String> {
        let Access { origins, addresses, bearer } = access.clone();
        Ok(Entry {
            bridge: bridge.to_owned(),
            gate: Gate::new(origins, addresses),
            tokens: bearer.map(Tokens::new).transpose()?.map(Arc::new),
            begun: Instant::now(),
            quiet_until: AtomicU64::new(0),
        })
    }

    /// Which tokens are asked for, if any.
    pub(super) fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.tokens.as_ref()
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
        let bearer = self.tokens.as_ref().map(|tokens| tokens.read.current());
        let now = now();
        let until = self.gate.look(&visitor, bearer.as_deref(), now);
        let until = until.map_err(|denial| self.turn_away(denial, wanted, caller))?;
        // What lasts longer than can be counted has no end.
        Ok(until.and_then(|until| Instant::now().checked_add(until.saturating_sub(now))))
    }

    /// What a client offers beside its token, and what it is to be answered if nobody chooses any of that.
    pub(super) fn offered(&self, offered: Vec<String>) -> (Vec<String>, Option<String>) {
        if self.tokens.is_some() { without_tokens(offered) } else { (offered, None) }
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

impl Tokens {
    fn new(settings: config::Bearer) -> Result<Tokens, String> {
        let read = Watched::new(settings.files().map(Path::to_owned).collect(), || settings.load())?;
        Ok(Tokens { settings, read })
    }

    /// Whether the files were of no use when they were last read.
    pub(super) fn is_stale(&self) -> bool {
        self.read.is_stale()
    }

    /// Reads the files again if they have changed, or at once; returns whether it did. Blocks.
    ///
    /// # Errors
    /// What is wrong with them; then what was read before holds.
    pub(super) fn reload(&self, at_once: bool) -> Result<bool, String> {
        self.read.reload(at_once, || self.settings.load())
    }
}
