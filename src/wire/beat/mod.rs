//! Heartbeats that a legacy protocol has of its own: `heart` in a record, or `ab cd 00 00` between two.
//!
//! A beat from the peer is consumed and reported, and is no message. It comes in one of two forms:
//!
//! * **A record** (or WebSocket message) whose payload is the beat's and nothing else. How it was cut into
//!   WebSocket frames makes no difference, as RFC 6455 section 5.4 wants it: fragments that begin like a beat
//!   are withheld until one differs, and then cross ahead of it. Control frames between them do not wait.
//! * **Bare bytes** between two records, with no length in front. In front of a record, before anything of it
//!   is interpreted, these bytes are the beat, whatever else they could mean: `ab cd 00 00` is never the length
//!   52,651 where it is a beat. Inside a record they are payload. Bytes that may yet become the beat wait until
//!   one more of them decides it, and no complete record ever waits with them: a beat that could make one wait
//!   is refused when it is made.
//!
//! Towards a peer that looks for bare bytes, a record that begins with them is refused, since the peer could not
//! tell it from a beat. What it looks for is what we send; what it sends to us is no matter there.

mod decode;
mod encode;

pub(super) use decode::{Decoder, Finder, Look};
pub(super) use encode::{Encoder, Guard};

use crate::wire::{
    self, Batch, Framing, FramingError, Input, Kind, Stop, Tally, Until, WireError, translate, websocket,
};

/// A heartbeat that an end's own protocol has; valid on the framing that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What is written: the payload of a WebSocket message, elsewhere bytes as they stand on the wire.
    send: Box<[u8]>,
    /// What is found: bytes on the wire where it is bare, elsewhere the payload of a message.
    expect: Box<[u8]>,
    form: Form,
}

/// What a beat is on a framed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatForm {
    /// The payload of a record.
    Record,
    /// Bytes between two records, without a length.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Message(Kind),
    Record,
    Bare {
        /// The length that `send` reads as in front of a record; 0 where it reads as none.
        reads_as: u64,
    },
}

impl Beat {
    /// Longest beat, in bytes. The ones in use have 4 or 5; what may have to be withheld stays small.
    pub const MAX: usize = 256;

    /// A beat on a framed stream.
    ///
    /// # Errors
    /// Bytes that the framing cannot carry as a record, or that could not be told from records where they are
    /// bare; anything on a raw stream.
    pub fn on_framing(
        framing: &Framing,
        form: BeatForm,
        send: &[u8],
        expect: &[u8],
    ) -> Result<Beat, FramingError> {
        if framing.is_raw() {
            let rule = "left out where the framing is raw: in a byte stream nothing tells a beat from data";
            return Err(FramingError { key: "send", rule: rule.into() });
        }
        let written = on_wire(framing, form, "send", send)?;
        on_wire(framing, form, "expect", expect)?;
        let form = match form {
            BeatForm::Record => Form::Record,
            BeatForm::Bare => Form::Bare { reads_as: framing.reads_as(send) },
        };
        Ok(Beat { send: written, expect: expect.into(), form })
    }

    /// A beat that is a WebSocket message. We send one of `kind`; the peer's may be of either kind.
    ///
    /// # Errors
    /// Text that is not UTF-8.
    pub fn on_websocket(kind: Kind, send: &[u8], expect: &[u8]) -> Result<Beat, FramingError> {
        check_size("send", send)?;
        check_size("expect", expect)?;
        if kind == Kind::Text && std::str::from_utf8(send).is_err() {
            return Err(FramingError { key: "send", rule: "UTF-8 where it is sent as text".into() });
        }
        Ok(Beat { send: send.into(), expect: expect.into(), form: Form::Message(kind) })
    }

    fn is_bare(&self) -> bool {
        matches!(self.form, Form::Bare { .. })
    }
}

fn check_size(key: &'static str, bytes: &[u8]) -> Result<(), FramingError> {
    match (1..=Beat::MAX).contains(&bytes.len()) {
        true => Ok(()),
        false => Err(FramingError { key, rule: format!("1 to {} bytes", Beat::MAX) }),
    }
}

/// How a beat stands on the wire, if it can.
fn on_wire(
    framing: &Framing,
    form: BeatForm,
    key: &'static str,
    bytes: &[u8],
) -> Result<Box<[u8]>, FramingError> {
    check_size(key, bytes)?;
    match form {
        BeatForm::Record => record(framing, bytes).map_err(|error| {
            let rule = format!("a message that the framing can carry, which it cannot: {error}");
            FramingError { key, rule }
        }),
        BeatForm::Bare => match bare_fault(framing, bytes) {
            None => Ok(bytes.into()),
            Some(rule) => Err(FramingError { key, rule: rule.into() }),
        },
    }
}

/// A record with this payload.
fn record(framing: &Framing, payload: &[u8]) -> Result<Box<[u8]>, WireError> {
    let mut message = websocket::data_frame(Kind::Binary, true, payload);
    let mut decoder = wire::Decoder::WebSocket(websocket::Decoder::new(false, u64::MAX));
    let (mut batch, mut tally, mut out) = (Batch::default(), Tally::default(), Vec::new());
    let mut input = Input::new(&mut message);
    translate(&mut decoder, &mut framing.encoder(), &mut input, &mut batch, &mut tally, Until::Dry)?;
    batch.copy_unsent(input.bytes, 0, &mut out);
    Ok(out.into())
}

/// Whether `bytes` begin with a complete record, whatever follows it.
fn begin_with_record(framing: &Framing, bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    let (mut decoder, mut encoder) = (framing.decoder(u64::MAX), wire::Encoder::Raw);
    let (mut batch, mut tally) = (Batch::default(), Tally::default());
    let mut input = Input::new(&mut bytes);
    let stop = translate(&mut decoder, &mut encoder, &mut input, &mut batch, &mut tally, Until::MessageEnd);
    matches!(stop, Ok(Stop::Message))
}

/// The rule that bare bytes break on a framing where they cannot be told from records.
fn bare_fault(framing: &Framing, magic: &[u8]) -> Option<&'static str> {
    if framing.has_header_cut_by(magic) {
        // A lone zero would be found in front of every short u32be record.
        return Some("as long as the start marker or length that it stands in place of, or longer");
    }
    if framing.reads_as(magic) == 1 {
        // What a raw stream on the other side ends with could be one byte, which cannot be cut again.
        return Some("bytes that do not read as the length 1; a record can be a beat too");
    }
    begin_with_record(framing, &magic[..magic.len() - 1]).then_some(
        "bytes that do not begin with a complete record, which would have to wait for what follows it",
    )
}
