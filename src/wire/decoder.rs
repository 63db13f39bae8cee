//! One decoder for every way an end can speak.

use std::sync::Arc;

use super::beat::{self, Beat};
use super::encoder::Appetite;
use super::utf8::incomplete_tail;
use super::{Input, Kind, Part, Step, WireError, delimited, length_prefixed, websocket};

/// Finds messages in the bytes one end sent.
#[derive(Debug)]
pub enum Decoder {
    /// RFC 6455 frames.
    WebSocket(websocket::Decoder),
    /// Records that announce their length.
    LengthPrefixed(length_prefixed::Decoder),
    /// Records between markers.
    Delimited(delimited::Decoder),
    /// A byte stream: whatever has come is a message.
    Raw,
    /// Any of those, with a heartbeat of its own. In a box, so that an end without one is no larger.
    Beating(Box<beat::Decoder>),
    /// Takes everything and finds nothing: the end has broken a rule, or has said its last word.
    Deaf,
}

impl Decoder {
    /// Finds a heartbeat too; for a decoder that is new. A byte stream has none, and stays as it is.
    #[must_use]
    pub fn with_beat(self, beat: Arc<Beat>) -> Decoder {
        match self {
            Decoder::WebSocket(_) | Decoder::LengthPrefixed(_) | Decoder::Delimited(_) => {
                Decoder::Beating(Box::new(beat::Decoder::new(self, beat)))
            }
            Decoder::Raw | Decoder::Beating(_) | Decoder::Deaf => self,
        }
    }

    /// What finds the messages, and what finds the heartbeats among them.
    pub(crate) fn parts(&mut self) -> (&mut Decoder, Option<&mut beat::Finder>) {
        match self {
            Decoder::Beating(beating) => {
                let (messages, beats) = beating.parts();
                (messages, Some(beats))
            }
            messages @ (Decoder::WebSocket(_)
            | Decoder::LengthPrefixed(_)
            | Decoder::Delimited(_)
            | Decoder::Raw
            | Decoder::Deaf) => (messages, None),
        }
    }

    /// Whether the stream may end here.
    pub fn is_between_messages(&self) -> bool {
        match self {
            Decoder::WebSocket(decoder) => decoder.is_between_messages(),
            Decoder::LengthPrefixed(decoder) => decoder.is_between_messages(),
            Decoder::Delimited(decoder) => decoder.is_between_messages(),
            Decoder::Beating(decoder) => decoder.is_between_messages(),
            Decoder::Raw | Decoder::Deaf => true,
        }
    }

    /// What a WebSocket peer called its latest message. A heartbeat is none.
    pub fn last_kind(&self) -> Option<Kind> {
        match self {
            Decoder::WebSocket(decoder) => decoder.last_kind(),
            Decoder::Beating(decoder) => decoder.last_kind(),
            Decoder::LengthPrefixed(_) | Decoder::Delimited(_) | Decoder::Raw | Decoder::Deaf => None,
        }
    }

    /// Takes the next step; see [`super::translate`].
    pub(crate) fn next(&mut self, input: &mut Input<'_>, appetite: Appetite) -> Result<Step, WireError> {
        match self {
            Decoder::WebSocket(decoder) => decoder.next(input),
            Decoder::LengthPrefixed(decoder) => decoder.next(input),
            Decoder::Delimited(decoder) => decoder.next(input),
            Decoder::Raw => raw(input, appetite),
            Decoder::Beating(_) => unreachable!("its parts are used one by one"),
            Decoder::Deaf => {
                input.at = input.bytes.len();
                Ok(Step::More)
            }
        }
    }
}

fn raw(input: &mut Input<'_>, appetite: Appetite) -> Result<Step, WireError> {
    let mut end = input.rest().len().min(appetite.longest);
    if end == appetite.avoid {
        end = end.saturating_sub(1);
    }
    if appetite.characters {
        // A piece of a text stream is a text of its own, so it ends where a character ends.
        end -= incomplete_tail(&input.rest()[..end])?;
    }
    match input.take(end as u64) {
        payload if payload.is_empty() => Ok(Step::More),
        payload => {
            Ok(Step::Part(Part { kind: None, total: Some(payload.len() as u64), last: true, payload }))
        }
    }
}
