//! Bytes to messages and back: pure, incremental, allocation-free on the common path.
//!
//! A [`Decoder`] finds messages in what one end sent, an [`Encoder`] writes them the way the other
//! end wants them, and [`translate`] runs the one into the other over everything a read returned.
//! Nothing here reads a socket, a clock or a random number; the session does, and calls in.
//!
//! A message up to [`WHOLE`] bytes is handed over whole, so that it leaves as one WebSocket frame; a
//! longer one crosses in the pieces it arrives in, and needs no more memory than a short one.

mod batch;
mod beat;
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
pub use beat::{Beat, BeatForm};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::WireError;
pub use framing::{Framing, FramingError};
pub use length_prefixed::{ByteOrder, LengthField};
pub use presets::WORDS;

use beat::{Finder, Guard, Look};
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
    /// Payload bytes encoded, framing not counted.
    pub bytes: u64,
    /// Payload bytes of a message that has begun and not ended, however long ago it began.
    pub unfinished: u64,
    /// The same when the tally began.
    before: u64,
    /// How many messages whose last byte has been encoded were as long as each of [`Tally::SIZES`] at most and longer
    /// than the one before; the last are longer than all.
    pub sizes: [u32; Tally::SIZES.len() + 1],
}

impl Tally {
    /// Lengths in bytes by which messages are told apart, each 16 times the one before: a chat line, a page of text, what
    /// crosses in one part ([`WHOLE`]), a picture, a film.
    pub const SIZES: [u64; 5] = [1 << 6, 1 << 10, 1 << 14, 1 << 18, 1 << 22];

    /// The tally of what comes after `unfinished` payload bytes of a message.
    pub fn after(unfinished: u64) -> Tally {
        Tally { unfinished, before: unfinished, ..Tally::default() }
    }

    /// Messages whose last byte has been encoded.
    pub fn messages(&self) -> u64 {
        self.sizes.iter().copied().map(u64::from).sum()
    }

    /// Payload bytes of those messages, however long ago they began.
    pub fn whole_bytes(&self) -> u64 {
        self.before + self.bytes - self.unfinished
    }

    /// Counts a part of a message. As little as can be: this is done for every message there is.
    #[inline(always)]
    fn add(&mut self, length: usize, is_last: bool) {
        self.bytes += length as u64;
        let size = self.unfinished + length as u64;
        self.unfinished = if is_last { 0 } else { size };
        if cfg!(natpulse_uncounted) {
            self.sizes[0] += u32::from(is_last);
            return;
        }
        // Bits beyond those of the first length, by fours, up.
        let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
        let place = (bits.saturating_sub(3) / 4).min(Tally::SIZES.len() as u32) as usize;
        self.sizes[place] += u32::from(is_last);
    }
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
    /// A heartbeat of the peer's own protocol came; the batch holds what came before it.
    Beat,
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
    run(decoder.parts(), encoder.parts(), input, batch, tally, until)
}

/// [`translate`], with what there is for heartbeats beside what decodes and encodes messages. That these two are
/// called from here alone has them compiled into this loop: called from two places, they made short messages take
/// half as long again. Most ends have no heartbeat, so what looks for one is marked cold and stays out of the loop.
fn run(
    (decoder, mut beats): (&mut Decoder, Option<&mut Finder>),
    (encoder, mut guard): (&mut Encoder, Option<&mut Guard>),
    input: &mut Input<'_>,
    batch: &mut Batch,
    tally: &mut Tally,
    until: Until,
) -> Result<Stop, WireError> {
    let avoid = guard.as_ref().map_or(0, |guard| guard.avoid());
    let appetite = encoder.appetite(avoid);
    let is_heard = !matches!(encoder, Encoder::Mute);
    while !batch.is_full() {
        if let Some(beats) = &mut beats
            && let Some(stop) = beats.look_between(decoder, input)
        {
            return Ok(stop);
        }
        let part = match decoder.next(input, appetite)? {
            Step::More => return Ok(Stop::Dry),
            Step::Control(control) => return Ok(Stop::Control(control)),
            Step::Part(part) => part,
        };
        if let Some(beats) = &mut beats {
            match beats.look_at(&part, input) {
                Look::Beat => return Ok(Stop::Beat),
                Look::Unclear => continue,
                Look::Message => {}
                Look::MessageAfter(withheld) => {
                    let encoder = (&mut *encoder, guard.as_deref_mut());
                    beats.release(withheld, part.kind, encoder, batch, tally)?;
                }
            }
        }
        if let Some(guard) = &mut guard {
            guard.before(batch);
        }
        encoder.put(&part, input, batch)?;
        if let Some(guard) = &mut guard {
            guard.after(&part, input, batch)?;
        }
        if is_heard {
            tally.add(part.payload.len(), part.last);
        }
        if until == Until::MessageEnd && part.last {
            return Ok(Stop::Message);
        }
    }
    Ok(Stop::Full)
}
