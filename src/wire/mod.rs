//! Bytes to messages and back: pure, incremental, allocation-free on the common path.
//!
//! A [`Decoder`] finds messages in what one end sent, an [`Encoder`] writes them the way the other
//! end wants them, and [`translate`] runs the one into the other over everything a read returned.
//! Nothing here reads a socket, a clock or a random number; the session does, and calls in.
//!
//! A message up to [`WHOLE`] bytes is handed over whole, so that it leaves as one WebSocket frame; a
//! longer one crosses in the pieces it arrives in, and needs no more memory than a short one.

mod batch;
mod decoder;
mod delimited;
mod encoder;
mod error;
mod framing;
mod length_prefixed;
mod presets;
mod utf8;
mod varint;
pub mod websocket;

pub use batch::{Batch, Input};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::WireError;
pub use framing::{Framing, FramingError};
pub use length_prefixed::{ByteOrder, LengthField};
pub use presets::WORDS;

use std::ops::Range;

/// Messages up to this many bytes (header included) are waited for and cross in one piece; longer ones
/// are streamed. 16 KiB is what one session may hold of an unfinished message, and large enough that
/// small devices, whose WebSocket libraries often cannot join fragments, never meet one for their
/// everyday messages.
pub const WHOLE: usize = 16 * 1024;

/// What a WebSocket message is said to contain (RFC 6455 section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// A piece of a message: all of it, where it was small or arrived at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What the sender called the message; `None` where its framing has no such word.
    pub kind: Option<Kind>,
    /// Payload bytes of the whole message, told with its first part where the wire knows them by then.
    pub total: Option<u64>,
    /// Whether the message ends with this part.
    pub last: bool,
    /// Where the payload lies in the [`Input`].
    pub payload: Range<usize>,
}

/// What a [`Decoder`] made of the next bytes.
#[derive(Debug)]
pub enum Step {
    /// Nothing until more bytes come; those not consumed must be kept and given again in front of them.
    More,
    /// A piece of a message.
    Part(Part),
    /// Something a WebSocket peer says about the connection.
    Control(websocket::Control),
}

/// What crossed: complete messages, and payload bytes of complete and incomplete ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages whose last byte has been encoded.
    pub messages: u64,
    /// Payload bytes encoded, framing not counted.
    pub bytes: u64,
}

/// How far [`translate`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As far as there is input.
    Dry,
    /// To the end of a message, after which the other end is to hear nothing more.
    MessageEnd,
}

/// Why [`translate`] returned.
#[derive(Debug)]
pub enum Stop {
    /// All that could be decoded is in the batch.
    Dry,
    /// The batch is full: send it and call again.
    Full,
    /// A message has ended, after which the caller wanted to stop.
    Message,
    /// The peer said this about the connection; the batch holds what came before it.
    Control(websocket::Control),
}

/// Converts what lies in `input` from one wire format into another, as far as `until` says and the batch has room.
///
/// # Errors
/// What the sender did wrong. The batch then holds the messages before it, which are still good.
pub fn translate(
    decoder: &mut Decoder,
    encoder: &mut Encoder,
    input: &mut Input<'_>,
    batch: &mut Batch,
    tally: &mut Tally,
    until: Until,
) -> Result<Stop, WireError> {
    let appetite = encoder.appetite();
    let is_heard = !matches!(encoder, Encoder::Mute);
    while !batch.is_full() {
        match decoder.next(input, appetite)? {
            Step::More => return Ok(Stop::Dry),
            Step::Control(control) => return Ok(Stop::Control(control)),
            Step::Part(part) => {
                encoder.put(&part, input, batch)?;
                if is_heard {
                    tally.bytes += part.payload.len() as u64;
                    tally.messages += u64::from(part.last);
                }
                if until == Until::MessageEnd && part.last {
                    return Ok(Stop::Message);
                }
            }
        }
    }
    Ok(Stop::Full)
}
