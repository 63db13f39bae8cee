//! Answers that are owed to peers that beat by themselves.

use std::time::Duration;

use super::Session;
use super::side::{Flow, Side};
use crate::close::Party;

/// An answer to a beat of a peer that beats by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debt {
    /// There is none to give.
    None,
    /// It is given when the other end of the session has answered a beat in its own way.
    Later,
    /// It is given at the next boundary between two messages.
    Due,
}

/// A peer that answers our answers would have us beat back and forth as fast as the path allows; no protocol beats
/// more often than this.
const ANSWER_LEAST: Duration = Duration::from_secs(1);

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Side {
    /// Writes the answer to a beat of the peer's own that is due, between two messages.
    pub(super) fn answer_beat(&mut self, now: Duration) -> bool {
        let is_between = self.encoder.is_between_messages() && self.output == Flow::Open;
        let Some(vigil) = self.vigil.as_mut().filter(|vigil| vigil.debt == Debt::Due && is_between) else {
            return false;
        };
        vigil.debt = Debt::None;
        vigil.next_ms = ms(now + ANSWER_LEAST);
        self.encoder.beat(&mut self.unsent);
        true
    }
}

impl Session {
    /// A peer beat by itself: it is answered by us, or when the other end has answered in its own way.
    pub(super) fn on_beat(&mut self, party: Party, now: Duration) {
        let is_ours = self.settings.upkeep(party).answer || !self.side(party.other()).is_asked();
        let side = self.side(party);
        let Some(vigil) = side.vigil.as_mut().filter(|vigil| ms(now) >= vigil.next_ms) else {
            return;
        };
        vigil.debt = if is_ours { Debt::Due } else { Debt::Later };
        if !is_ours {
            self.side(party.other()).hurry();
        }
    }
}
