//! `framing`: a word, a length field, or markers.

use super::reader::Reader;
use super::source::{Node, Value};
use super::{ConfigError, Origin};
use crate::wire::{ByteOrder, Framing, LengthField, WORDS};

pub(super) fn read(path: &str, node: Node, errors: &mut Vec<ConfigError>) -> Option<Framing> {
    let fail = |origin: Origin, key: &str, value: String, rule: String, errors: &mut Vec<ConfigError>| {
        errors.push(ConfigError { origin, key: format!("{path}{key}"), value: Some(value), rule });
        None
    };
    match &node.value {
        Value::String(word) => match Framing::from_word(word) {
            Some(framing) => Some(framing),
            None => {
                let rule = format!("a table, or one of {}", WORDS.join(", "));
                fail(node.origin.clone(), "", node.to_string(), rule, errors)
            }
        },
        Value::Table(_) => {
            let is_marked = node.get("start").or(node.get("end")).is_some();
            let before = errors.len();
            let mut reader = Reader::new(path, node.clone(), errors);
            let framing = if is_marked { read_markers(&mut reader) } else { read_length_field(&mut reader) };
            reader.finish();
            match framing {
                // What was made of wrong values is no framing that anyone asked for.
                _ if errors.len() > before => None,
                Ok(framing) => Some(framing),
                Err(error) => {
                    let culprit = node.get(error.key).unwrap_or(&node);
                    let (origin, value) = (culprit.origin.clone(), culprit.to_string());
                    fail(origin, &format!(".{}", error.key), value, error.rule, errors)
                }
            }
        }
        Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => {
            fail(node.origin.clone(), "", node.to_string(), "a word or a table".into(), errors)
        }
    }
}

fn read_length_field(reader: &mut Reader<'_>) -> Result<Framing, crate::wire::FramingError> {
    let orders = [("big", ByteOrder::Big), ("little", ByteOrder::Little)];
    let byte_order = reader.word("byte_order", &orders).unwrap_or(ByteOrder::Big);
    let offset = reader.integer("length_field_offset", 0..=255).unwrap_or(0) as u8;
    // Zero is refused below, in the words of the rule.
    let length = reader.integer("length_field_length", 1..=8).unwrap_or(4) as u8;
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let adjustment = reader.integer("length_adjustment", range).unwrap_or(0) as i32;
    let strip = reader.integer("initial_bytes_to_strip", 0..=255).unwrap_or(0) as u8;
    let max_frame_length = reader.size("max_frame_length").unwrap_or(u64::MAX);
    if strip != 0 && strip != length {
        return Err(crate::wire::FramingError {
            key: "initial_bytes_to_strip",
            rule: "0 (the header stays in the message) or length_field_length (the length is taken off, and put \
                   on again in the other direction)"
                .into(),
        });
    }
    let keep_header = strip == 0;
    Framing::length_field(LengthField {
        offset,
        length,
        byte_order,
        adjustment,
        keep_header,
        max_frame_length,
    })
}

fn read_markers(reader: &mut Reader<'_>) -> Result<Framing, crate::wire::FramingError> {
    let rule = "text, or bytes as \"hex:7e\"";
    let mut marker = |key| {
        let bytes = reader.parsed(key, rule, |value| value.as_str().and_then(bytes));
        bytes.unwrap_or_default()
    };
    let (start, end) = (marker("start"), marker("end"));
    Framing::markers(&start, &end)
}

/// The bytes of a string, which may be written in hexadecimal.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some(text.as_bytes().to_vec());
    };
    let digits: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
