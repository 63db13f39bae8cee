//! One encoder for every way an end can be spoken to.

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
    /// Drops everything: the end can take no more.
    Mute,
}

/// How a byte stream must be cut for an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appetite {
    /// Longest piece, in bytes.
    pub(crate) longest: usize,
    /// Whether pieces must end where a character ends.
    pub(crate) characters: bool,
}

impl Encoder {
    /// Whether no message is half written.
    pub fn is_between_messages(&self) -> bool {
        match self {
            Encoder::WebSocket(encoder) => encoder.is_between_messages(),
            Encoder::LengthPrefixed(encoder) => encoder.is_between_messages(),
            Encoder::Delimited(encoder) => encoder.is_between_messages(),
            Encoder::Raw | Encoder::Mute => true,
        }
    }

    /// What records become from the next one on, where the end is a WebSocket.
    pub fn set_default_kind(&mut self, kind: Kind) {
        if let Encoder::WebSocket(encoder) = self {
            encoder.set_default_kind(kind);
        }
    }

    pub(crate) fn appetite(&self) -> Appetite {
        let (longest, characters) = match self {
            Encoder::WebSocket(encoder) => (u64::MAX, encoder.default_kind() == Kind::Text),
            Encoder::LengthPrefixed(encoder) => (encoder.prefix().longest(), false),
            Encoder::Delimited(_) | Encoder::Raw | Encoder::Mute => (u64::MAX, false),
        };
        Appetite { longest: usize::try_from(longest).unwrap_or(usize::MAX), characters }
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
            Encoder::Mute => Ok(()),
        }
    }
}
