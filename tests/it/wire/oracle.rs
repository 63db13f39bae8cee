//! What must come of messages that are sent from one end to another.

use natpulse::wire::{Kind, WireError};

use super::end::{End, Message};

/// What must arrive, and why nothing more does.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub messages: Vec<Message>,
    pub error: Option<Refused>,
}

/// Why the other end cannot be sent a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Unframeable,
    InvalidUtf8,
}

impl Refused {
    pub fn from_error(error: &WireError) -> Refused {
        match error {
            WireError::Unframeable(_) => Refused::Unframeable,
            WireError::InvalidUtf8 => Refused::InvalidUtf8,
            error => panic!("nothing was wrong with what was sent: {error}"),
        }
    }
}

/// What arrives at `to` of messages that `from` can send, where records are called `record_kind`.
pub fn expected(from: &End, to: &End, record_kind: Kind, messages: &[Message]) -> Expected {
    let has_kinds = matches!(from, End::WebSocket { .. });
    let shows_kinds = matches!(to, End::WebSocket { .. });
    let mut arrived = Vec::new();
    for message in messages {
        let kind = if has_kinds { message.kind } else { record_kind };
        let is_text = shows_kinds && kind == Kind::Text;
        if is_text && std::str::from_utf8(&message.payload).is_err() {
            return Expected { messages: arrived, error: Some(Refused::InvalidUtf8) };
        }
        if !to.carries(&message.payload) {
            return Expected { messages: arrived, error: Some(Refused::Unframeable) };
        }
        let kind = if is_text { Kind::Text } else { Kind::Binary };
        arrived.push(Message { kind, payload: message.payload.clone() });
    }
    Expected { messages: arrived, error: None }
}
