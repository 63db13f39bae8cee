//! The way into a bridge: asks its gate, and tells the log whom it turned away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::ORIGIN;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::config::Access;
use crate::gate::{Denial, Gate, Visitor};
use crate::link::{Caller, Refusal, Wanted};

/// How often the log says at most that a page was turned away: whoever asks can ask a thousand times a second.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// As much of an Origin header as is worth a log line, in bytes.
const LONGEST_ORIGIN: usize = 200;

/// A bridge's gate.
#[derive(Debug)]
pub(super) struct Entry {
    bridge: String,
    gate: Gate,
    begun: Instant,
    /// When the log may say again that a page was turned away, in seconds since the beginning.
    quiet_until: AtomicU64,
}

impl Entry {
    pub(super) fn new(bridge: &str, access: &Access) -> Entry {
        let Access { origins, addresses } = access.clone();
        Entry {
            bridge: bridge.to_owned(),
            gate: Gate::new(origins, addresses),
            begun: Instant::now(),
            quiet_until: AtomicU64::new(0),
        }
    }

    /// Whether a client with this address may come in, as far as that decides.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        self.gate.admits(caller.address.map(|address| address.ip()))
    }

    /// Whether a client may have what it wants.
    pub(super) fn look(&self, wanted: &Wanted, caller: &Caller) -> Result<(), Refusal> {
        let address = caller.address.map(|address| address.ip());
        let visitor = Visitor { address, headers: &wanted.headers, is_tls: false };
        self.gate.look(&visitor).map_err(|denial| match denial {
            Denial::Address => {
                debug!(bridge = self.bridge, client = ?caller.address, "an address that may not connect");
                Refusal::AddressDenied
            }
            Denial::Origin => {
                self.warn_of_origin(wanted);
                Refusal::OriginDenied
            }
        })
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
