//! Finding a backend again whose WebSocket died under a client that is still there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::route::Route;
use crate::link::{BackendUrl, Dialled};
use crate::session::Session;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(64);

/// A connection that lasted as long as this was a success; one that did not is one more failed attempt, so that a
/// backend which accepts and dies is not dialled in a loop.
const LASTING: Duration = Duration::from_secs(1);

/// How often a client that is not being read is asked whether it is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Dials one session's backend again: at once, then after 1, 2, 4 … 64 s, each pause a random part of that ("full
/// jitter"), so that the clients of a backend that was gone do not come back as a crowd.
#[derive(Debug)]
pub(super) struct Redial {
    pause: Duration,
    since: Instant,
}

impl Redial {
    /// For a connection that was made at `since`.
    pub(super) fn new(since: Instant) -> Redial {
        Redial { pause: Duration::ZERO, since }
    }

    /// Dials `own`, and others where there are several, with the first connection's introduction, until a backend answers;
    /// `None` when the client has left, its bridge is draining or somebody wants the session closed.
    pub(super) async fn dial(
        &mut self,
        route: &Route,
        own: &Option<Arc<BackendUrl>>,
        introduction: &[u8],
        session: &Session,
    ) -> Option<Dialled> {
        if self.since.elapsed() >= LASTING {
            self.pause = Duration::ZERO;
        }
        let gone = async {
            while !session.is_client_gone() {
                sleep(LOOK).await;
            }
        };
        let dialling = async {
            loop {
                sleep(self.pause.mul_f32(rand::random())).await;
                self.pause = (self.pause * 2).clamp(Duration::from_secs(1), LONGEST);
                let dialled = route.dial(own.clone(), &route.bridge.subprotocols, introduction);
                if let Ok(dialled) = dialled.await {
                    return dialled;
                }
            }
        };
        let dialled = tokio::select! {
            dialled = dialling => Some(dialled),
            () = gone => None,
            () = session.dismissed() => None,
            () = route.drain.cancelled() => None,
        };
        self.since = Instant::now();
        dialled
    }
}
