//! Keeping an end alive: what its pulse decides, done.

use std::time::Duration;

use tokio::time::Instant;
use tracing::trace;

use super::Session;
use super::side::{Flow, Side};
use crate::close::{CloseReason, Party};
use crate::heartbeat::{Action, Facts, Means, Patience, Pulse, Settings};

/// What keeps one end of a session alive.
#[derive(Debug)]
pub(super) struct Vigil {
    /// Counts from the session's beginning.
    pub(super) pulse: Pulse,
    /// What a pong that was read carried.
    nonce: u32,
    /// Whether anything was read since the pulse was last told.
    pub(super) has_read: bool,
    /// Whether that held a pong.
    has_pong: bool,
}

impl Side {
    /// Keeps the end alive from now on, if it can be: over WebSocket with pings, over any other TCP connection with
    /// the kernel's keepalive.
    fn keep_alive(&mut self, settings: &Settings) {
        let Some(interval) = settings.shortest().filter(|_| self.stream.path().is_some()) else {
            return;
        };
        let means = if self.role.is_some() { Means::Ping } else { Means::Keepalive };
        let pulse = Pulse::new(means, Duration::ZERO, interval);
        if means == Means::Keepalive {
            self.stream.keep_alive(pulse.keepalive_idle(), settings.reply_timeout / 2, settings.max);
        }
        self.vigil = Some(Vigil { pulse, nonce: 0, has_read: false, has_pong: false });
    }

    /// A pong was read.
    pub(super) fn on_pong(&mut self, payload: &[u8]) {
        if let Some(vigil) = &mut self.vigil {
            let nonce = payload.try_into().map(u32::from_be_bytes);
            vigil.has_pong = nonce.is_ok();
            vigil.nonce = nonce.unwrap_or(vigil.nonce);
        }
    }

    /// Tells the pulse what has been read since it was last told.
    pub(super) fn feel(&mut self, now: Duration) {
        let Some(vigil) = self.vigil.as_mut().filter(|vigil| vigil.has_read) else {
            return;
        };
        vigil.has_read = false;
        vigil.pulse.read(now);
        if std::mem::take(&mut vigil.has_pong) {
            vigil.pulse.answered(now, Some(vigil.nonce));
        }
    }

    /// When the pulse has something to do. A connection that is being closed has deadlines of its own.
    pub(super) fn beat_due(&self) -> Option<Duration> {
        let is_open = self.input == Flow::Open && self.output == Flow::Open;
        self.vigil.as_ref().filter(|_| is_open).map(|vigil| vigil.pulse.deadline())
    }
}

impl Session {
    /// Keeps both ends alive from now on.
    pub(super) fn keep_alive(&mut self) {
        self.client.keep_alive(&self.settings.client_heartbeat);
        self.backend.keep_alive(&self.settings.backend_heartbeat);
    }

    /// Does what the pulse of an end wants done now.
    pub(super) fn beat(&mut self, party: Party, now: Instant) {
        let is_reading = self.side(party.other()).backlog() == 0;
        let settings = self.settings.clone();
        let settings = match party {
            Party::Client => &settings.client_heartbeat,
            Party::Backend => &settings.backend_heartbeat,
        };
        let patience = Patience { reply: settings.reply_timeout, stall: settings.max };
        let now = now - self.begun;
        let side = self.side(party);
        let facts = Facts { can_write: side.backlog() == 0, is_reading, path: side.stream.path() };
        let Some(vigil) = &mut side.vigil else {
            return;
        };
        let action = vigil.pulse.poll(now, &facts, &patience);
        trace!(?party, ?facts, ?action, pulse = ?vigil.pulse, "pulse");
        match action {
            Action::Wait(_) | Action::Survived(_) => {}
            Action::Beat => {
                let nonce: u32 = rand::random();
                vigil.pulse.beaten(nonce);
                side.ping(&nonce.to_be_bytes());
            }
            Action::Dead { silence } => {
                let detail = format!("no answer to a beat after a silence of {:.1} s", silence.as_secs_f32());
                self.because(CloseReason::Dead(party), Some(detail));
                self.on_broken(party, CloseReason::Dead(party));
            }
        }
    }
}
