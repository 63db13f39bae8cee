//! The ends that died of late, and who of those clients came back.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Bridge;
use crate::close::Party;
use crate::heartbeat::Cause;

/// An end that was found dead.
#[derive(Clone, Debug)]
pub struct Death {
    /// When, since the UNIX epoch.
    pub at: Duration,
    /// The number of its session.
    pub session: u64,
    /// The bridge of its session.
    pub bridge: Arc<Bridge>,
    /// Which end.
    pub side: Party,
    /// The session's client, unless it came by a Unix socket.
    pub client: Option<SocketAddr>,
    /// The network of the end, where the policy learns.
    pub network: Option<String>,
    /// What caused it, as far as could be told then.
    pub cause: Cause,
    /// How long nothing had crossed before the beat that was not answered.
    pub silence: Duration,
    /// When a message last crossed, since the UNIX epoch; `None` where none did.
    pub last_message: Option<Duration>,
    /// When the client was back, or the backend dialled anew, since the UNIX epoch.
    pub returned: Option<Duration>,
}

/// How many deaths are shown: more than fit on a screen.
const SHOWN: usize = 100;

/// How many clients are waited for. A network that went down takes no more with it than one natpulse serves.
const AWAITED: usize = 10_000;

/// How long a client is waited for. Who comes a day later comes for another reason.
const WAIT: Duration = Duration::from_secs(24 * 3600);

/// Who may come back: an address, on a bridge.
pub(super) type Who = (Arc<str>, IpAddr);

/// A client that may come back.
#[derive(Debug)]
struct Awaited {
    session: u64,
    since: Duration,
}

/// Deaths, and clients that may come back.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// Oldest first.
    shown: VecDeque<Death>,
    /// Oldest first, of each who.
    awaited: HashMap<Who, VecDeque<Awaited>>,
    /// Every death of a client whose place in `awaited` may still be taken, oldest first, with its session.
    order: VecDeque<(Who, u64)>,
}

impl Deaths {
    /// Takes note of a death.
    pub(super) fn add(&mut self, death: Death) {
        if let (Party::Client, Some(client)) = (death.side, death.client) {
            if self.order.len() >= AWAITED
                && let Some((who, session)) = self.order.pop_front()
            {
                self.forget(&who, session);
            }
            let who = (death.bridge.name.clone(), client.ip());
            let awaited = Awaited { session: death.session, since: death.at };
            self.awaited.entry(who.clone()).or_default().push_back(awaited);
            self.order.push_back((who, death.session));
        }
        if self.shown.len() >= SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(death);
    }

    /// No longer waits for the client of a session, which may have come back since.
    fn forget(&mut self, who: &Who, session: u64) {
        if let Some(awaited) = self.awaited.get_mut(who) {
            awaited.retain(|awaited| awaited.session != session);
            if awaited.is_empty() {
                self.awaited.remove(who);
            }
        }
    }

    /// A client has opened a session. Returns in which session it died before, if it did. Of several that died behind one
    /// address, the first to die is taken for the first to come back.
    pub(super) fn client_is_back(&mut self, who: &Who, now: Duration) -> Option<u64> {
        let awaited = self.awaited.get_mut(who)?;
        awaited.retain(|awaited| now.saturating_sub(awaited.since) <= WAIT);
        let back = awaited.pop_front().map(|awaited| awaited.session);
        if awaited.is_empty() {
            self.awaited.remove(who);
        }
        let session = back?;
        self.returned(session, Party::Client, now);
        Some(session)
    }

    /// An end of a session that may have died is there again.
    pub(super) fn returned(&mut self, session: u64, side: Party, now: Duration) {
        let is_it = |death: &&mut Death| death.session == session && death.side == side;
        if let Some(death) = self.shown.iter_mut().rev().find(is_it) {
            death.returned = Some(now);
        }
    }

    /// The deaths that are shown, newest first.
    pub(super) fn latest(&self) -> Vec<Death> {
        self.shown.iter().rev().cloned().collect()
    }
}
