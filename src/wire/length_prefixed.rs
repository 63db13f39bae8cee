//! Records that say how long they are: a length field somewhere in a fixed header, or a varint.
//!
//! The words are those of Netty's `LengthFieldBasedFrameDecoder`, whose users are many:
//! `frame = offset bytes | length field | the rest`, and the frame's size is
//! `length_field_offset + length_field_length + value + length_adjustment`.

use super::error::ByteOrderHint;
use super::{Batch, Input, Part, Step, WHOLE, WireError, varint};

/// The order of the bytes of a length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Network order: the most significant byte first.
    Big,
    /// The least significant byte first.
    Little,
}

/// Where a record's length stands and what it counts. [`super::Framing`] makes valid ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthField {
    /// Bytes before the length field; they travel with the message.
    pub offset: u8,
    /// Bytes of the length field, 1 to 8.
    pub length: u8,
    /// Their order.
    pub byte_order: ByteOrder,
    /// What to add to the field's value to get the number of bytes after the field.
    pub adjustment: i32,
    /// Whether the header stays part of the message; else the length field is taken off and put on.
    pub keep_header: bool,
    /// Longest record, header included, in bytes.
    pub max_frame_length: u64,
}

/// How a record announces its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    Field(LengthField),
    Varint,
}

/// A record as its header describes it.
struct Announced {
    /// Bytes in front of the message that are no part of it.
    strip: usize,
    /// Bytes of the message.
    payload: u64,
}

impl LengthField {
    fn header_len(&self) -> usize {
        usize::from(self.offset) + usize::from(self.length)
    }

    fn value(&self, header: &[u8], byte_order: ByteOrder) -> u64 {
        let field = &header[usize::from(self.offset)..self.header_len()];
        match byte_order {
            ByteOrder::Big => field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            ByteOrder::Little => field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        }
    }

    /// Size of the whole record, header included; `None` where no record can be that size.
    fn frame_len(&self, value: u64) -> Option<u64> {
        let after = value.checked_add_signed(self.adjustment.into())?;
        after.checked_add(self.header_len() as u64)
    }

    fn announced(&self, header: &[u8], max: u64) -> Result<Announced, WireError> {
        let value = self.value(header, self.byte_order);
        let frame = self.frame_len(value).ok_or_else(|| self.bad_length(value))?;
        let strip = if self.keep_header { 0 } else { self.header_len() };
        let payload = frame - strip as u64;
        if payload > max || frame > self.max_frame_length {
            let hint = self.byte_order_hint(header, value, max);
            let (len, max) = if payload > max { (payload, max) } else { (frame, self.max_frame_length) };
            return Err(WireError::TooLong { len, max, hint });
        }
        Ok(Announced { strip, payload })
    }

    fn bad_length(&self, value: u64) -> WireError {
        let adjustment = self.adjustment;
        WireError::BadLength(format!(
            "a length of {value} is impossible with a length_adjustment of {adjustment}"
        ))
    }

    fn byte_order_hint(&self, header: &[u8], value: u64, max: u64) -> Option<ByteOrderHint> {
        let big_endian = self.byte_order == ByteOrder::Big;
        let other = if big_endian { ByteOrder::Little } else { ByteOrder::Big };
        let swapped = self.value(header, other);
        let plausible = self.frame_len(swapped).is_some_and(|frame| frame <= max.min(self.max_frame_length));
        let bytes = header[usize::from(self.offset)..self.header_len()].to_vec();
        let is_plain = self.offset == 0 && self.adjustment == 0 && !self.keep_header;
        plausible.then_some(ByteOrderHint { bytes, big_endian, value, swapped, is_plain })
    }

    /// The length field for a message, or why there is none.
    fn header_for(&self, payload: u64) -> Result<([u8; 8], usize), WireError> {
        let len = usize::from(self.length);
        let value = payload.checked_add_signed(-i64::from(self.adjustment));
        let value = value.filter(|value| len == 8 || *value < 1 << (8 * len));
        let too_long = self.header_len() as u64 + payload > self.max_frame_length;
        let value = value.filter(|_| !too_long).ok_or_else(|| {
            WireError::Unframeable(format!(
                "a message of {payload} bytes does not fit the other end's length field"
            ))
        })?;
        let mut out = [0; 8];
        match self.byte_order {
            ByteOrder::Big => out[..len].copy_from_slice(&value.to_be_bytes()[8 - len..]),
            ByteOrder::Little => out[..len].copy_from_slice(&value.to_le_bytes()[..len]),
        }
        Ok((out, len))
    }

    /// Checks that a message that brings its own header says its own length.
    fn check_kept(&self, message: &[u8], total: u64) -> Result<(), WireError> {
        let Some(header) = message.get(..self.header_len()) else {
            let need = self.header_len();
            return Err(WireError::Unframeable(format!(
                "a message of {total} bytes lacks its {need}-byte header"
            )));
        };
        let value = self.value(header, self.byte_order);
        match self.frame_len(value) {
            Some(frame) if frame == total && frame <= self.max_frame_length => Ok(()),
            _ => Err(WireError::Unframeable(format!(
                "a message of {total} bytes whose header holds the length {value} would put the other end out of step"
            ))),
        }
    }
}

impl Prefix {
    /// Always compiled into the loop that decodes: called from elsewhere too, it would not be, and short messages
    /// would cost a call more.
    #[inline(always)]
    fn announced(&self, bytes: &[u8], max: u64) -> Result<Option<Announced>, WireError> {
        match self {
            Prefix::Field(field) if bytes.len() < field.header_len() => Ok(None),
            Prefix::Field(field) => field.announced(bytes, max).map(Some),
            Prefix::Varint => match varint::parse(bytes)? {
                Some((payload, _)) if payload > max => {
                    Err(WireError::TooLong { len: payload, max, hint: None })
                }
                Some((payload, strip)) => Ok(Some(Announced { strip, payload })),
                None => Ok(None),
            },
        }
    }

    /// Bytes of the message whose record begins with `head`, if there is one and its length is in there.
    pub(crate) fn payload_of(&self, head: &[u8]) -> Option<u64> {
        self.announced(head, u64::MAX).ok().flatten().map(|record| record.payload)
    }

    /// Whether `head` ends inside the length.
    pub(crate) fn is_cut_by(&self, head: &[u8]) -> bool {
        match self {
            Prefix::Field(field) => (usize::from(field.offset) + 1..field.header_len()).contains(&head.len()),
            Prefix::Varint => matches!(varint::parse(head), Ok(None)),
        }
    }

    /// Longest message that this prefix can announce.
    pub(crate) fn longest(&self) -> u64 {
        match self {
            Prefix::Field(field) => {
                let values = if field.length == 8 { u64::MAX } else { (1 << (8 * field.length)) - 1 };
                let header = field.header_len() as u64;
                let after = values.saturating_add_signed(field.adjustment.into());
                match field.keep_header {
                    true => after.saturating_add(header).min(field.max_frame_length),
                    false => after.min(field.max_frame_length.saturating_sub(header)),
                }
            }
            Prefix::Varint => u64::MAX,
        }
    }
}

/// Finds records.
#[derive(Debug)]
pub struct Decoder {
    prefix: Prefix,
    max: u64,
    /// Payload still to come of a record that is being streamed.
    left: u64,
}

impl Decoder {
    pub(crate) fn new(prefix: Prefix, max: u64) -> Self {
        Decoder { prefix, max, left: 0 }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn next(&mut self, input: &mut Input<'_>) -> Result<Step, WireError> {
        let total = match self.left {
            0 => match self.begin(input)? {
                Some(total) => Some(total),
                None => return Ok(Step::More),
            },
            _ => None,
        };
        let payload = input.take(self.left);
        if payload.is_empty() && self.left > 0 && total.is_none() {
            return Ok(Step::More);
        }
        self.left -= payload.len() as u64;
        Ok(Step::Part(Part { kind: None, total, last: self.left == 0, payload }))
    }

    /// Consumes a record's prefix if the record may begin to cross; returns the length of its message.
    fn begin(&mut self, input: &mut Input<'_>) -> Result<Option<u64>, WireError> {
        let Some(record) = self.prefix.announced(input.rest(), self.max)? else {
            return Ok(None);
        };
        let frame = record.payload + record.strip as u64;
        if frame > input.rest().len() as u64 && frame <= WHOLE as u64 {
            return Ok(None);
        }
        input.at += record.strip;
        self.left = record.payload;
        Ok(Some(record.payload))
    }
}

/// Writes records.
#[derive(Debug)]
pub struct Encoder {
    prefix: Prefix,
    progress: Progress,
}

/// How far the message being written has come.
#[derive(Debug)]
enum Progress {
    /// No message is being written.
    Between,
    /// Its record has begun; this many bytes are missing.
    Streaming(u64),
    /// Its record cannot begin yet: its length is not known, or not all of the header it brings is here.
    Gathering { bytes: Vec<u8>, total: Option<u64> },
}

impl Encoder {
    pub(crate) fn new(prefix: Prefix) -> Self {
        Encoder { prefix, progress: Progress::Between }
    }

    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Whether no record is half written.
    pub(crate) fn is_between_messages(&self) -> bool {
        !matches!(self.progress, Progress::Streaming(_))
    }

    pub(crate) fn put(&mut self, part: &Part, input: &Input<'_>, out: &mut Batch) -> Result<(), WireError> {
        let bytes = &input.bytes[part.payload.clone()];
        match std::mem::replace(&mut self.progress, Progress::Between) {
            Progress::Streaming(left) => {
                out.payload(input.bytes, &part.payload);
                self.advance(left - bytes.len() as u64, part.last);
            }
            Progress::Between => {
                let total = part.total.or(part.last.then_some(bytes.len() as u64));
                match total.filter(|_| part.last || self.can_begin(bytes)) {
                    Some(total) => {
                        self.begin(bytes, total, out)?;
                        out.payload(input.bytes, &part.payload);
                        self.advance(total - bytes.len() as u64, part.last);
                    }
                    None => {
                        self.check_length(total.unwrap_or(bytes.len() as u64))?;
                        self.progress = Progress::Gathering { bytes: bytes.to_vec(), total };
                    }
                }
            }
            Progress::Gathering { bytes: mut gathered, total } => {
                gathered.extend_from_slice(bytes);
                let len = gathered.len() as u64;
                let total = total.or(part.last.then_some(len));
                match total.filter(|_| part.last || self.can_begin(&gathered)) {
                    Some(total) => {
                        self.begin(&gathered, total, out)?;
                        out.copy(&gathered);
                        self.advance(total - len, part.last);
                    }
                    None => {
                        self.check_length(total.unwrap_or(len))?;
                        self.progress = Progress::Gathering { bytes: gathered, total };
                    }
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, left: u64, last: bool) {
        self.progress = if last { Progress::Between } else { Progress::Streaming(left) };
    }

    /// Whether the first bytes of a message suffice to begin its record.
    fn can_begin(&self, first: &[u8]) -> bool {
        match &self.prefix {
            Prefix::Field(field) => !field.keep_header || first.len() >= field.header_len(),
            Prefix::Varint => true,
        }
    }

    /// Refuses a message that no record can hold, before more of it is stored.
    fn check_length(&self, len: u64) -> Result<(), WireError> {
        let longest = self.prefix.longest();
        match len > longest {
            true => Err(WireError::Unframeable(format!(
                "a message of {len} bytes or more does not fit the other end's records of up to {longest}"
            ))),
            false => Ok(()),
        }
    }

    fn begin(&self, first: &[u8], total: u64, out: &mut Batch) -> Result<(), WireError> {
        match &self.prefix {
            Prefix::Field(field) if field.keep_header => field.check_kept(first, total),
            Prefix::Field(field) => {
                let (header, len) = field.header_for(total)?;
                out.copy(&header[..len]);
                Ok(())
            }
            Prefix::Varint => {
                let (header, len) = varint::format(total);
                out.copy(&header[..len]);
                Ok(())
            }
        }
    }
}
