//! Accepting: from a listening socket to whoever has its door at that moment.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::door::Door;
use crate::link::Listener;

/// How long accepting rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// As many are accepted at most when the drain begins: all that the kernel holds for us.
const WAITING: usize = 4096;

/// Accepts clients for whoever has the door at that moment, until it is told to close; the last of them are those that the
/// kernel has accepted by then.
pub(super) async fn accept(listener: Listener, door: watch::Receiver<Arc<Door>>, closing: CancellationToken) {
    let mut is_paused = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let door = door.borrow().clone();
        match accepted {
            Ok(stream) => {
                is_paused = false;
                door.admit(stream);
            }
            // The client was gone before we came to it.
            Err(error) if is_about_the_client(&error) => debug!(%error, "accept"),
            Err(error) => {
                door.routes[0].metrics().accept_error();
                if !std::mem::replace(&mut is_paused, true) {
                    warn!(%error, "cannot accept; trying again");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let door = door.borrow().clone();
    for _ in 0..WAITING {
        tokio::select! {
            biased;
            Ok(stream) = unconstrained(listener.accept()) => door.clone().admit(stream),
            () = ready(()) => return,
        }
    }
}

/// Errors of accept(2) that concern one connection only.
fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
