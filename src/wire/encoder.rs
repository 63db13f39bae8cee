//! One encoder for every way an end can be spoken to.

use std::sync::Arc;

use super::beat::{self, Beat};
use super::{Batch, Input, Kind, Part, WireError, delimited, length_prefixed, websocket};

/// Writes messages the way one end wants them.
#[derive(Debug)]
pub enum Encoder {
    /// RFC 6455 frames.
    WebSocket(websocket::Encoder),
    /// Records that announce their length.
    LengthPrefixed(length_prefixed::Encoder),
    /// Records between markers.
    Delimited(delimited::Encoder),
    /// A byte stream.
    Raw,
    /// Any of those, with a heartbeat of its own. In a box, so that an end without one is no larger.
    Beating(Box<beat::Encoder>),
    /// Drops everything: the end can take no more.
    Mute,
}

/// How a byte stream must be cut for an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appetite {
    /// Longest piece, in bytes.
    pub(crate) longest: usize,
    /// The one length that pieces must not have; 0 where any will do.
    pub(crate) avoid: usize,
    /// Whether pieces must end where a character ends.
    pub(crate) characters: bool,
}

impl Encoder {
    /// Writes a heartbeat too; for an encoder that is new. A byte stream has none, and stays as it is.
    #[must_use]
    pub fn with_beat(self, beat: Arc<Beat>) -> Encoder {
        match self {
            Encoder::WebSocket(_) | Encoder::LengthPrefixed(_) | Encoder::Delimited(_) => {
                Encoder::Beating(Box::new(beat::Encoder::new(self, beat)))
            }
            Encoder::Raw | Encoder::Beating(_) | Encoder::Mute => self,
        }
    }

    /// Appends a heartbeat to `out`, if the end has one of its own. Only to be called between messages.
    pub fn beat(&self, out: &mut Vec<u8>) {
        if let Encoder::Beating(encoder) = self {
            encoder.beat(out);
        }
    }

    /// What writes messages, and what keeps them from being taken for heartbeats.
    pub(crate) fn parts(&mut self) -> (&mut Encoder, Option<&mut beat::Guard>) {
        match self {
            Encoder::Beating(beating) => {
                let (messages, guard) = beating.parts();
                (messages, Some(guard))
            }
            messages @ (Encoder::WebSocket(_)
            | Encoder::LengthPrefixed(_)
            | Encoder::Delimited(_)
            | Encoder::Raw
            | Encoder::Mute) => (messages, None),
        }
    }

    /// Whether no message is half written.
    pub fn is_between_messages(&self) -> bool {
        match self {
            Encoder::WebSocket(encoder) => encoder.is_between_messages(),
            Encoder::LengthPrefixed(encoder) => encoder.is_between_messages(),
            Encoder::Delimited(encoder) => encoder.is_between_messages(),
            Encoder::Beating(encoder) => encoder.is_between_messages(),
            Encoder::Raw | Encoder::Mute => true,
        }
    }

    /// What records become from the next one on, where the end is a WebSocket.
    pub fn set_default_kind(&mut self, kind: Kind) {
        if let (Encoder::WebSocket(encoder), _) = self.parts() {
            encoder.set_default_kind(kind);
        }
    }

    pub(crate) fn appetite(&self, avoid: usize) -> Appetite {
        let (longest, characters) = match self {
            Encoder::WebSocket(encoder) => (u64::MAX, encoder.default_kind() == Kind::Text),
            Encoder::LengthPrefixed(encoder) => (encoder.prefix().longest(), false),
            Encoder::Delimited(_) | Encoder::Raw | Encoder::Beating(_) | Encoder::Mute => (u64::MAX, false),
        };
        Appetite { longest: usize::try_from(longest).unwrap_or(usize::MAX), avoid, characters }
    }

    pub(crate) fn put(
        &mut self,
        part: &Part,
        input: &mut Input<'_>,
        out: &mut Batch,
    ) -> Result<(), WireError> {
        match self {
            Encoder::WebSocket(encoder) => encoder.put(part, input, out),
            Encoder::LengthPrefixed(encoder) => encoder.put(part, input, out),
            Encoder::Delimited(encoder) => encoder.put(part, input, out),
            Encoder::Raw => {
                out.payload(input.bytes, &part.payload);
                Ok(())
            }
            Encoder::Beating(_) => unreachable!("its parts are used one by one"),
            Encoder::Mute => Ok(()),
        }
    }
}
