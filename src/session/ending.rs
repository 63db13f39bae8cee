//! How a session ends: who is told what, and what must not look whole.

use tokio::time::Instant;

use super::side::Flow;
use super::{Outcome, Session};
use crate::close::{CloseReason, Party};
use crate::wire::websocket::CloseFrame;
use crate::wire::{Decoder, Encoder};

/// What both ends are told when somebody wants the session closed.
pub(super) const DISMISSED: &str = "closed by the operator";

/// How long a session may last at most, and what both ends are told then.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Its last moment.
    pub until: Instant,
    /// What it then ends for.
    pub reason: CloseReason,
    /// The same in words.
    pub words: &'static str,
}

impl Session {
    /// A connection is gone without a goodbye.
    pub(super) fn on_broken(&mut self, from: Party, reason: CloseReason) {
        let side = self.side(from);
        let is_dead = reason == CloseReason::Dead(from);
        let was_reset =
            matches!(side.decoder, Decoder::Raw) && (is_dead || reason == CloseReason::Reset(from));
        let was_cut = was_reset || !side.decoder.is_between_messages() || !side.unread.is_empty();
        self.lacks_backend = from == Party::Backend && !was_cut && self.may_redial(reason);
        let side = self.side(from);
        // Nobody answers the goodbye of the dead, and the kernel would go on sending it.
        side.close(is_dead);
        self.because(reason, None);
        if self.lacks_backend {
            return;
        }
        match was_cut {
            true => self.cut(from.other(), reason, ""),
            false => self.end(from.other(), reason, ""),
        }
    }

    /// Ends what goes to `party` after everything before it.
    pub(super) fn end(&mut self, party: Party, reason: CloseReason, text: &str) {
        self.because(reason, None);
        self.side(party).end_output(&CloseFrame { code: Some(reason.code_for(party)), reason: text.into() });
    }

    /// Ends what goes to `party`, whose last message may be unfinished: a record that will never be whole
    /// must not look whole, so it is reset; so is a stream without records, which may always be unfinished.
    pub(super) fn cut(&mut self, party: Party, reason: CloseReason, text: &str) {
        let side = self.side(party);
        let is_whole = side.encoder.is_between_messages() && !matches!(side.encoder, Encoder::Raw);
        if side.role.is_none() && !is_whole {
            side.close(true);
        } else {
            self.end(party, reason, text);
        }
    }

    /// Ends the session from outside: both ends are told, unless they have heard the last word already. A record that is
    /// half written must not look whole.
    pub(super) fn dismiss(&mut self, reason: CloseReason, words: &str) {
        if self.client.output != Flow::Open && self.backend.output != Flow::Open {
            return;
        }
        for party in [Party::Client, Party::Backend] {
            match self.side(party).encoder.is_between_messages() {
                true => self.end(party, reason, words),
                false => self.cut(party, reason, words),
            }
        }
        self.last_moved = Instant::now();
    }

    /// Records why the session ends: the first cause is the one that counts.
    pub(super) fn because(&mut self, reason: CloseReason, detail: Option<String>) {
        self.reason.get_or_insert_with(|| Box::new(Outcome { reason, detail }));
    }
}
