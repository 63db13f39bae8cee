//! A session whose backend died may go on with another connection, if no message was lost with the old one.

use std::future::poll_fn;
use std::task::Poll;

use super::side::{Flow, Side};
use super::{CloseReason, Session};
use crate::close::Party;

impl Session {
    /// Whether the client, which is not being read, is there no more, as far as the kernel tells.
    pub fn is_client_gone(&self) -> bool {
        self.client.stream.is_gone()
    }

    /// Waits until somebody wants the session closed.
    pub async fn dismissed(&self) {
        // Its task is woken then.
        poll_fn(|_| if self.record.is_dismissed() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Goes on with this connection to the backend, which may be natpulse.
    pub fn resume(&mut self, backend: Side, is_natpulse: bool) {
        self.backend = backend;
        self.lacks_backend = false;
        self.reason = None;
        // The new connection has a place of its own in its network, and is not watched yet.
        self.is_watching = false;
        let age = self.begun.elapsed();
        let theirs = self.address(Party::Backend);
        self.backend.keep_alive(Party::Backend, theirs, age, &self.settings.backend, is_natpulse);
        self.note_intervals();
        let network = self.network(Party::Backend);
        self.settings.sessions.backend_is_back(&self.record, network.as_ref());
    }

    /// There will be no other connection: the client is told that its backend is gone.
    pub fn give_up(&mut self) {
        self.lacks_backend = false;
        if self.record.is_dismissed() {
            // Which is then why it ends.
            self.reason = None;
            return;
        }
        let reason =
            self.reason.as_ref().map_or(CloseReason::Vanished(Party::Backend), |outcome| outcome.reason);
        self.end(Party::Client, reason, "");
    }

    /// Whether the client would not notice if the backend were another connection from now on.
    pub(super) fn may_redial(&self, reason: CloseReason) -> bool {
        let (client, backend) = (&self.client, &self.backend);
        let is_open =
            client.input == Flow::Open && client.output == Flow::Open && backend.output == Flow::Open;
        let is_whole = client.encoder.is_between_messages()
            && client.decoder.is_between_messages()
            && backend.encoder.is_between_messages();
        self.settings.redial
            && is_open
            && is_whole
            && backend.backlog() == 0
            && !backend.may_have_lost(reason)
    }
}

impl Side {
    /// Whether a message may have been on its way when the connection died.
    fn may_have_lost(&self, reason: CloseReason) -> bool {
        let has_unacked = self.vigil.as_ref().is_none_or(|vigil| vigil.pulse.has_unacked());
        if matches!(reason, CloseReason::Vanished(_)) {
            // It said nothing more, but its kernel acknowledged what it was sent, or did not.
            return has_unacked && self.stream.path().is_none_or(|path| path.in_flight || path.unsent);
        }
        has_unacked
    }
}
