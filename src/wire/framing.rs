//! What an end speaks on its byte stream, and the decoder and encoder for it.

use std::fmt;

use super::delimited::{self, Markers};
use super::length_prefixed::{self, ByteOrder, LengthField, Prefix};
use super::{Decoder, Encoder, presets};

/// How messages are told apart on a byte stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Raw,
    Prefixed(Prefix),
    Marked(Markers),
}

/// A framing that cannot work: which key is wrong, and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingError {
    /// The key of the framing's table, or of the heartbeat's.
    pub key: &'static str,
    /// What its value must be.
    pub rule: String,
}

impl Framing {
    /// A byte stream that is not cut into messages.
    pub const RAW: Framing = Framing(Kind::Raw);

    /// Lengths as varints.
    pub const VARINT: Framing = Framing(Kind::Prefixed(Prefix::Varint));

    /// The framing that a word such as `u32be`, `line` or `dns` stands for.
    pub fn from_word(word: &str) -> Option<Framing> {
        presets::framing(word)
    }

    /// A length of `length` bytes in front of each message, counting the message alone.
    pub(crate) fn prefix(length: u8, byte_order: ByteOrder) -> Framing {
        let field = LengthField {
            offset: 0,
            length,
            byte_order,
            adjustment: 0,
            keep_header: false,
            max_frame_length: u64::MAX,
        };
        Framing(Kind::Prefixed(Prefix::Field(field)))
    }

    /// A general length field.
    ///
    /// # Errors
    /// A field length outside 1 to 8, or an offset in front of a header that is not kept (nothing could
    /// put those bytes back).
    pub fn length_field(field: LengthField) -> Result<Framing, FramingError> {
        let error = |key, rule: &str| Err(FramingError { key, rule: rule.into() });
        if !(1..=8).contains(&field.length) {
            return error("length_field_length", "a number of bytes from 1 to 8");
        }
        if !field.keep_header && field.offset > 0 {
            return error(
                "initial_bytes_to_strip",
                "0 where length_field_offset is not 0: the bytes before the length could not be put back",
            );
        }
        if field.max_frame_length < u64::from(field.offset) + u64::from(field.length) {
            return error("max_frame_length", "at least the size of the header");
        }
        let prefix = Prefix::Field(field);
        if prefix.longest() == 0 {
            return error("length_adjustment", "such that a message of at least one byte is possible");
        }
        Ok(Framing(Kind::Prefixed(prefix)))
    }

    /// Messages between two markers; `start` may be empty.
    ///
    /// # Errors
    /// An empty end marker, or markers of more than 64 bytes.
    pub fn markers(start: &[u8], end: &[u8]) -> Result<Framing, FramingError> {
        let rule = "1 to 64 bytes (start may be empty)";
        for (key, bytes) in [("start", start), ("end", end)] {
            if bytes.len() > 64 || (key == "end" && bytes.is_empty()) {
                return Err(FramingError { key, rule: rule.into() });
            }
        }
        Ok(Framing(Kind::Marked(Markers { start: start.into(), end: end.into() })))
    }

    /// Whether this is a byte stream without messages.
    pub fn is_raw(&self) -> bool {
        self.0 == Kind::Raw
    }

    /// Whether pieces of a byte stream can become messages here: not where a message must bring a header
    /// of its own, be of some length at least, or not contain a marker.
    pub fn takes_any_bytes(&self) -> bool {
        match &self.0 {
            Kind::Raw | Kind::Prefixed(Prefix::Varint) => true,
            Kind::Prefixed(Prefix::Field(field)) => !field.keep_header && field.adjustment <= 0,
            Kind::Marked(_) => false,
        }
    }

    /// Whether `bytes` end inside what every record begins with, so that they could begin many, or all.
    pub(crate) fn has_header_cut_by(&self, bytes: &[u8]) -> bool {
        match &self.0 {
            Kind::Raw => false,
            Kind::Prefixed(prefix) => prefix.is_cut_by(bytes),
            Kind::Marked(markers) => markers.start.starts_with(bytes),
        }
    }

    /// The bytes of a message whose record begins with `head`; 0 where there is no such record, or its length
    /// stands further on.
    pub(crate) fn reads_as(&self, head: &[u8]) -> u64 {
        match &self.0 {
            Kind::Raw | Kind::Marked(_) => 0,
            Kind::Prefixed(prefix) => prefix.payload_of(head).unwrap_or(0),
        }
    }

    /// A decoder for messages up to `max` bytes.
    pub fn decoder(&self, max: u64) -> Decoder {
        match &self.0 {
            Kind::Raw => Decoder::Raw,
            Kind::Prefixed(prefix) => Decoder::LengthPrefixed(length_prefixed::Decoder::new(*prefix, max)),
            Kind::Marked(markers) => Decoder::Delimited(delimited::Decoder::new(markers.clone(), max)),
        }
    }

    /// An encoder.
    pub fn encoder(&self) -> Encoder {
        match &self.0 {
            Kind::Raw => Encoder::Raw,
            Kind::Prefixed(prefix) => Encoder::LengthPrefixed(length_prefixed::Encoder::new(*prefix)),
            Kind::Marked(markers) => Encoder::Delimited(delimited::Encoder::new(markers.clone())),
        }
    }
}

/// The framing as it is written in a config file: a word where there is one, else a table.
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = presets::word(self) {
            return write!(f, "\"{word}\"");
        }
        match &self.0 {
            Kind::Raw | Kind::Prefixed(Prefix::Varint) => unreachable!("raw and varint are words"),
            Kind::Prefixed(Prefix::Field(field)) => {
                let order = if field.byte_order == ByteOrder::Big { "big" } else { "little" };
                let strip = if field.keep_header { 0 } else { field.length };
                write!(f, "{{ byte_order = \"{order}\", length_field_offset = {}", field.offset)?;
                write!(
                    f,
                    ", length_field_length = {}, length_adjustment = {}",
                    field.length, field.adjustment
                )?;
                write!(f, ", initial_bytes_to_strip = {strip}")?;
                if field.max_frame_length < u64::MAX {
                    write!(f, ", max_frame_length = \"{}B\"", field.max_frame_length)?;
                }
                f.write_str(" }")
            }
            Kind::Marked(markers) => {
                f.write_str("{ start = \"")?;
                write_hex(f, &markers.start)?;
                f.write_str("\", end = \"")?;
                write_hex(f, &markers.end)?;
                f.write_str("\" }")
            }
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("hex:")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
