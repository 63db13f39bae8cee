//! Every way a session can end, in one table: what it is called, what each WebSocket peer is told, and
//! how loudly it is logged. A new way to end is a new variant, and the compiler asks for its row.

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Who connected to us.
    Client,
    /// Whom we dialled.
    Backend,
}

impl Party {
    /// The one at the other end.
    pub fn other(self) -> Party {
        match self {
            Party::Client => Party::Backend,
            Party::Backend => Party::Client,
        }
    }

    /// What it is called wherever it is written: in metrics, events and answers.
    pub fn label(self) -> &'static str {
        match self {
            Party::Client => "client",
            Party::Backend => "backend",
        }
    }
}

/// Why a session ended. The party is the one that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It said goodbye: a close frame, or the end of its stream between two messages.
    Closed(Party),
    /// Its connection was reset.
    Reset(Party),
    /// Its WebSocket connection ended without a close frame.
    Vanished(Party),
    /// It broke a rule of its framing or of RFC 6455.
    BrokeProtocol(Party),
    /// It sent text that is not UTF-8.
    InvalidText(Party),
    /// It sent a message that the other end's framing cannot carry.
    Unframeable(Party),
    /// It sent or announced a message over the limit.
    TooLong(Party),
    /// Its stream ended inside a message.
    Truncated(Party),
    /// It did not answer a beat.
    Dead(Party),
    /// natpulse is restarting, and asked the client to come back.
    Drained,
    /// An operator wanted it closed.
    Dismissed,
    /// What let its client in is no longer valid.
    Expired,
    /// It lasted as long as it may.
    Aged,
    /// No message crossed it for as long as it may be without.
    Idle,
    /// Its peers left too much waiting, while others did too.
    Overloaded,
}

/// How much attention an ending deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Everyday life.
    Info,
    /// Something an operator may have to fix.
    Warn,
}

/// A row of the table.
struct Row {
    label: &'static str,
    /// Close code towards a WebSocket client, and towards a WebSocket backend (RFC 6455 section 7.4.1
    /// and the IANA registry behind it).
    codes: (u16, u16),
    severity: Severity,
}

const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const INVALID_PAYLOAD: u16 = 1007;
const POLICY_VIOLATION: u16 = 1008;
const TOO_BIG: u16 = 1009;
const INTERNAL_ERROR: u16 = 1011;
const SERVICE_RESTART: u16 = 1012;
const TRY_AGAIN_LATER: u16 = 1013;

impl CloseReason {
    /// Every reason, for tables and metrics.
    pub const ALL: [CloseReason; 24] = {
        use Party::{Backend, Client};
        [
            CloseReason::Closed(Client),
            CloseReason::Closed(Backend),
            CloseReason::Reset(Client),
            CloseReason::Reset(Backend),
            CloseReason::Vanished(Client),
            CloseReason::Vanished(Backend),
            CloseReason::BrokeProtocol(Client),
            CloseReason::BrokeProtocol(Backend),
            CloseReason::InvalidText(Client),
            CloseReason::InvalidText(Backend),
            CloseReason::Unframeable(Client),
            CloseReason::Unframeable(Backend),
            CloseReason::TooLong(Client),
            CloseReason::TooLong(Backend),
            CloseReason::Truncated(Client),
            CloseReason::Truncated(Backend),
            CloseReason::Dead(Client),
            CloseReason::Dead(Backend),
            CloseReason::Drained,
            CloseReason::Dismissed,
            CloseReason::Expired,
            CloseReason::Aged,
            CloseReason::Idle,
            CloseReason::Overloaded,
        ]
    };

    fn row(self) -> Row {
        use Party::{Backend, Client};
        use Severity::{Info, Warn};
        let row =
            |label, to_client, to_backend, severity| Row { label, codes: (to_client, to_backend), severity };
        match self {
            CloseReason::Closed(Client) => row("client_closed", NORMAL, NORMAL, Info),
            CloseReason::Closed(Backend) => row("backend_closed", NORMAL, NORMAL, Info),
            CloseReason::Reset(Client) => row("client_reset", NORMAL, GOING_AWAY, Info),
            CloseReason::Reset(Backend) => row("backend_reset", INTERNAL_ERROR, NORMAL, Warn),
            CloseReason::Vanished(Client) => row("client_vanished", NORMAL, GOING_AWAY, Info),
            CloseReason::Vanished(Backend) => row("backend_vanished", INTERNAL_ERROR, NORMAL, Warn),
            CloseReason::BrokeProtocol(Client) => {
                row("client_broke_protocol", PROTOCOL_ERROR, GOING_AWAY, Info)
            }
            CloseReason::BrokeProtocol(Backend) => {
                row("backend_broke_protocol", INTERNAL_ERROR, PROTOCOL_ERROR, Warn)
            }
            CloseReason::InvalidText(Client) => row("client_invalid_text", INVALID_PAYLOAD, GOING_AWAY, Info),
            CloseReason::InvalidText(Backend) => {
                row("backend_invalid_text", INTERNAL_ERROR, INVALID_PAYLOAD, Warn)
            }
            CloseReason::Unframeable(Client) => row("client_unframeable", UNSUPPORTED, GOING_AWAY, Info),
            CloseReason::Unframeable(Backend) => {
                row("backend_unframeable", INTERNAL_ERROR, UNSUPPORTED, Warn)
            }
            CloseReason::TooLong(Client) => row("client_too_long", TOO_BIG, GOING_AWAY, Info),
            CloseReason::TooLong(Backend) => row("backend_too_long", TOO_BIG, TOO_BIG, Warn),
            CloseReason::Truncated(Client) => row("client_truncated", PROTOCOL_ERROR, GOING_AWAY, Info),
            CloseReason::Truncated(Backend) => row("backend_truncated", INTERNAL_ERROR, PROTOCOL_ERROR, Warn),
            CloseReason::Dead(Client) => row("client_dead", GOING_AWAY, GOING_AWAY, Info),
            CloseReason::Dead(Backend) => row("backend_dead", INTERNAL_ERROR, GOING_AWAY, Warn),
            CloseReason::Drained => row("drained", SERVICE_RESTART, GOING_AWAY, Info),
            CloseReason::Dismissed => row("dismissed", GOING_AWAY, GOING_AWAY, Info),
            CloseReason::Expired => row("token_expired", POLICY_VIOLATION, GOING_AWAY, Info),
            // Whoever is told so comes back at once, as after a restart, and is welcome.
            CloseReason::Aged => row("aged", SERVICE_RESTART, GOING_AWAY, Info),
            CloseReason::Idle => row("idle", GOING_AWAY, GOING_AWAY, Info),
            CloseReason::Overloaded => row("overloaded", TRY_AGAIN_LATER, GOING_AWAY, Warn),
        }
    }

    /// The label in logs and metrics.
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// The close code that `party` is told, where it speaks WebSocket.
    pub fn code_for(self, party: Party) -> u16 {
        match party {
            Party::Client => self.row().codes.0,
            Party::Backend => self.row().codes.1,
        }
    }

    /// How loudly it is logged.
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// Its place in [`CloseReason::ALL`].
    pub fn index(self) -> usize {
        let is_self = |reason: &CloseReason| *reason == self;
        CloseReason::ALL.iter().position(is_self).expect("ALL lists every reason")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct_and_codes_may_be_sent() {
        let labels: HashSet<_> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), CloseReason::ALL.len());
        for reason in CloseReason::ALL {
            for party in [Party::Client, Party::Backend] {
                let code = reason.code_for(party);
                assert!((1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code), "{reason:?}");
            }
            assert_eq!(CloseReason::ALL[reason.index()], reason);
        }
    }
}
