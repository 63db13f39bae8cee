//! What a peer can do wrong on the wire, in words that help whoever has to fix it.

use std::fmt;

/// A violation of the framing an end was configured to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A message longer than the limit, found from its length and refused before any of it is stored.
    TooLong {
        /// Payload bytes announced, or received so far where the framing announces nothing.
        len: u64,
        /// The limit, in bytes.
        max: u64,
        /// What else the length field could have meant.
        hint: Option<ByteOrderHint>,
    },
    /// A length that no record can have, such as one shorter than its own header.
    BadLength(String),
    /// The stream ended inside a message.
    Truncated {
        /// Bytes of the unfinished message that had arrived and were not yet passed on.
        kept: usize,
    },
    /// A rule of the framing or of RFC 6455 was broken.
    Protocol(&'static str),
    /// Text that is not UTF-8 (RFC 6455 section 8.1).
    InvalidUtf8,
    /// A message that the other end's framing cannot carry, such as a newline inside a line.
    Unframeable(String),
}

/// The same length bytes read both ways, when only the other way is plausible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteOrderHint {
    /// The length field as it stood on the wire.
    pub bytes: Vec<u8>,
    /// Whether the framing in use reads it big-endian.
    pub big_endian: bool,
    /// Its value as the framing in use reads it.
    pub value: u64,
    /// Its value in the other byte order, which is within the limit.
    pub swapped: u64,
    /// Whether the field stands alone in front of the message, so that the other order is a framing word.
    pub is_plain: bool,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::TooLong { len, max, hint } => {
                write!(f, "a message of {} bytes is over the limit of {}", grouped(*len), grouped(*max))?;
                match hint {
                    Some(hint) => write!(f, ": {hint}"),
                    None => Ok(()),
                }
            }
            WireError::BadLength(what) => f.write_str(what),
            WireError::Truncated { kept } => {
                write!(f, "the stream ended inside a message, {kept} bytes of it not passed on")
            }
            WireError::Protocol(rule) => f.write_str(rule),
            WireError::InvalidUtf8 => f.write_str("text that is not UTF-8"),
            WireError::Unframeable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for WireError {}

impl fmt::Display for ByteOrderHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.bytes {
            write!(f, "{byte:02x} ")?;
        }
        let (this, other, order) = match self.big_endian {
            true => ("big-endian", "little-endian", "le"),
            false => ("little-endian", "big-endian", "be"),
        };
        let (value, swapped) = (grouped(self.value), grouped(self.swapped));
        let bits = self.bytes.len() * 8;
        match self.is_plain && matches!(bits, 16 | 24 | 32 | 64) {
            true => write!(f, "is {value} {this}, {swapped} {other}: is the framing u{bits}{order}?"),
            false => write!(f, "is {value} {this}, {swapped} {other}: is that the byte order?"),
        }
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_implausible_length_names_the_other_byte_order() {
        let error = WireError::TooLong {
            len: 83_886_080,
            max: 16 << 20,
            hint: Some(ByteOrderHint {
                bytes: vec![5, 0, 0, 0],
                big_endian: true,
                value: 83_886_080,
                swapped: 5,
                is_plain: true,
            }),
        };
        assert_eq!(
            error.to_string(),
            "a message of 83,886,080 bytes is over the limit of 16,777,216: \
             05 00 00 00 is 83,886,080 big-endian, 5 little-endian: is the framing u32le?"
        );
    }
}
