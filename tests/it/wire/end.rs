//! Every wire format once more, for whole buffers: what the tests believe instead of the code they test.

use natpulse::wire::websocket::{self, Role};
use natpulse::wire::{ByteOrder, Decoder, Encoder, Framing, Kind, LengthField};

/// A message with the word its sender has for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.payload[..self.payload.len().min(16)];
        write!(f, "{:?} of {} bytes, {start:02x?}...", self.kind, self.payload.len())
    }
}

/// What an end speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A peer that sends masked frames where `is_client`, and is sent masked ones where not.
    WebSocket {
        is_client: bool,
    },
    Field(LengthField),
    Varint,
    Markers {
        start: Vec<u8>,
        end: Vec<u8>,
    },
    Raw,
}

/// A stream taken apart: its complete messages, and whether more had begun.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    pub messages: Vec<Message>,
    pub is_cut: bool,
}

/// A fresh masking key for every frame. Predictable, so that a failure repeats itself.
fn mask_key() -> [u8; 4] {
    use std::cell::Cell;
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0x37fa_213d) });
    KEY.set(KEY.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    KEY.get().to_be_bytes()
}

impl End {
    /// What a framing word means, as its users would describe it.
    pub fn from_word(word: &str) -> End {
        let field = |offset, length, byte_order, adjustment, keep_header| {
            let max_frame_length = u64::MAX;
            End::Field(LengthField { offset, length, byte_order, adjustment, keep_header, max_frame_length })
        };
        let line = |end: &[u8]| End::Markers { start: Vec::new(), end: end.to_vec() };
        match word {
            "raw" => End::Raw,
            "u8" => field(0, 1, ByteOrder::Big, 0, false),
            "u16be" | "dns" | "iso8583" => field(0, 2, ByteOrder::Big, 0, false),
            "u16le" => field(0, 2, ByteOrder::Little, 0, false),
            "u24be" => field(0, 3, ByteOrder::Big, 0, false),
            "u24le" => field(0, 3, ByteOrder::Little, 0, false),
            "u32be" | "kafka" | "thrift" => field(0, 4, ByteOrder::Big, 0, false),
            "u32le" | "cocoa" => field(0, 4, ByteOrder::Little, 0, false),
            "u64be" => field(0, 8, ByteOrder::Big, 0, false),
            "u64le" => field(0, 8, ByteOrder::Little, 0, false),
            "varint" | "protobuf" => End::Varint,
            "line" => line(b"\n"),
            "crlf" => line(b"\r\n"),
            "nul" => line(b"\0"),
            "mysql" => field(0, 3, ByteOrder::Little, 1, true),
            "modbus" => field(4, 2, ByteOrder::Big, 0, true),
            "smpp" => field(0, 4, ByteOrder::Big, -4, true),
            word => panic!("{word} is a framing that nobody has described to the tests"),
        }
    }

    pub fn framing(&self) -> Framing {
        match self {
            End::WebSocket { .. } => unreachable!("a WebSocket has no framing"),
            End::Field(field) => Framing::length_field(*field).expect("tests use valid fields"),
            End::Varint => Framing::VARINT,
            End::Markers { start, end } => Framing::markers(start, end).expect("tests use valid markers"),
            End::Raw => Framing::RAW,
        }
    }

    /// The code under test, for what this end sends.
    pub fn decoder(&self, max: u64) -> Decoder {
        match self {
            End::WebSocket { is_client } => Decoder::WebSocket(websocket::Decoder::new(*is_client, max)),
            _ => self.framing().decoder(max),
        }
    }

    /// The code under test, for what this end is sent. Records are called `kind`.
    pub fn encoder(&self, kind: Kind) -> Encoder {
        match self {
            End::WebSocket { is_client } => {
                let role = if *is_client { Role::Server } else { Role::Client { mask_key } };
                Encoder::WebSocket(websocket::Encoder::new(role, kind))
            }
            _ => self.framing().encoder(),
        }
    }

    /// Whether a message can be written here so that it reads back as the same one.
    pub fn carries(&self, message: &[u8]) -> bool {
        match self {
            End::WebSocket { .. } | End::Varint | End::Raw => true,
            End::Field(field) if field.keep_header => {
                let header = usize::from(field.offset) + usize::from(field.length);
                message.len() >= header
                    && message.len() as u64 <= field.max_frame_length
                    && frame_len(field, message) == message.len() as i128
            }
            End::Field(field) => {
                let value = message.len() as i128 - i128::from(field.adjustment);
                let frame = message.len() as u64 + u64::from(field.length);
                (0..1 << (8 * field.length)).contains(&value) && frame <= field.max_frame_length
            }
            End::Markers { end, .. } => {
                let marked = [message, end].concat();
                find(&marked, end) == Some(message.len())
            }
        }
    }

    /// Makes a message that this end can carry out of any bytes: it is given the header that it needs.
    pub fn dress(&self, body: Vec<u8>) -> Vec<u8> {
        let End::Field(field) = self else {
            return body;
        };
        if !field.keep_header {
            return body;
        }
        let (offset, length) = (usize::from(field.offset), usize::from(field.length));
        let mut message = vec![0xa5; offset + length];
        message.extend_from_slice(&body);
        // The length field counts what follows it, less the adjustment.
        let value = (body.len() as i128 - i128::from(field.adjustment)).max(0) as u64;
        message[offset..offset + length].copy_from_slice(&int(value, field));
        message
    }

    /// Writes a message, which this end must be able to carry; a WebSocket sends it in `pieces`, with
    /// `between` after each of them but the last.
    pub fn write(&self, message: &Message, pieces: &[usize], between: &[u8], out: &mut Vec<u8>) {
        let payload = &message.payload;
        match self {
            End::WebSocket { is_client } => {
                let mut left = &payload[..];
                let mut opcode = if message.kind == Kind::Text { 1 } else { 2 };
                for piece in pieces {
                    let (now, later) = left.split_at((*piece).min(left.len()));
                    frame(opcode, *is_client, now, out);
                    out.extend_from_slice(between);
                    (left, opcode) = (later, 0);
                }
                frame(0x80 | opcode, *is_client, left, out);
            }
            End::Field(field) => {
                if !field.keep_header {
                    out.extend(int((payload.len() as i128 - i128::from(field.adjustment)) as u64, field));
                }
                out.extend_from_slice(payload);
            }
            End::Varint => {
                let mut left = payload.len();
                while left >= 0x80 {
                    out.push(left as u8 | 0x80);
                    left >>= 7;
                }
                out.push(left as u8);
                out.extend_from_slice(payload);
            }
            End::Markers { start, end } => {
                out.extend_from_slice(start);
                out.extend_from_slice(payload);
                out.extend_from_slice(end);
            }
            End::Raw => out.extend_from_slice(payload),
        }
    }

    /// Reads what this end was sent. Records read as binary.
    pub fn read(&self, mut stream: &[u8]) -> Parsed {
        if let End::WebSocket { is_client } = self {
            return read_frames(stream, !is_client);
        }
        let mut messages = Vec::new();
        while !stream.is_empty() {
            let Some((payload, rest)) = self.read_record(stream) else {
                return Parsed { messages, is_cut: true };
            };
            messages.push(Message { kind: Kind::Binary, payload: payload.to_vec() });
            stream = rest;
        }
        Parsed { messages, is_cut: false }
    }

    /// Reads the record at the start of a stream, and returns what follows it too.
    pub fn read_record<'a>(&self, stream: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        match self {
            End::WebSocket { .. } => unreachable!("read separately"),
            End::Raw => Some((stream, &[])),
            End::Field(field) => {
                let header = usize::from(field.offset) + usize::from(field.length);
                let frame = frame_len(field, stream.get(..header)?) as usize;
                let strip = if field.keep_header { 0 } else { header };
                Some((stream.get(strip..frame)?, &stream[frame..]))
            }
            End::Varint => {
                let last = stream.iter().position(|byte| byte & 0x80 == 0)?;
                let value = |len, byte: &u8| len << 7 | usize::from(byte & 0x7f);
                let len = stream[..=last].iter().rev().fold(0, value);
                let rest = &stream[last + 1..];
                Some((rest.get(..len)?, &rest[len..]))
            }
            End::Markers { start, end } => {
                assert!(stream.starts_with(start) || start.starts_with(stream), "no start marker");
                let content = stream.get(start.len()..)?;
                let len = find(content, end)?;
                Some((&content[..len], &content[len + end.len()..]))
            }
        }
    }
}

/// Writes a frame, masked if it is a client's.
pub fn frame(first: u8, masked: bool, payload: &[u8], out: &mut Vec<u8>) {
    let mask = if masked { 0x80 } else { 0 };
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(mask | len as u8),
        len @ 126..=0xffff => {
            out.push(mask | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(mask | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let key = if masked { mask_key() } else { [0; 4] };
    if masked {
        out.extend_from_slice(&key);
    }
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Reads a stream of data frames that must be right.
fn read_frames(mut stream: &[u8], masked: bool) -> Parsed {
    let mut messages = Vec::new();
    let mut open: Option<Message> = None;
    while let Some((&[first, second], after)) = stream.split_first_chunk() {
        assert_eq!(second & 0x80 != 0, masked, "masked by the wrong side");
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let key_len = if masked { 4 } else { 0 };
        let Some(len) = after.get(..extended) else { break };
        let len = match extended {
            0 => usize::from(second & 0x7f),
            _ => len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let Some(key) = after.get(extended..extended + key_len) else { break };
        let Some(payload) = after.get(extended + key_len..extended + key_len + len) else { break };
        let key = if masked { key } else { &[0] };
        let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
        let kind = match (first & 0x7f, &open) {
            (0, Some(message)) => message.kind,
            (1, None) => Kind::Text,
            (2, None) => Kind::Binary,
            (opcode, _) => panic!("opcode {opcode:#x} with a message {open:?} open"),
        };
        let message = open.get_or_insert_with(|| Message { kind, payload: Vec::new() });
        message.payload.extend(payload);
        if first & 0x80 != 0 {
            messages.extend(open.take());
        }
        stream = &after[extended + key_len + len..];
    }
    Parsed { messages, is_cut: open.is_some() || !stream.is_empty() }
}

/// Where a marker first stands.
fn find(bytes: &[u8], marker: &[u8]) -> Option<usize> {
    let starts_here = |at: &usize| bytes[*at] == marker[0] && bytes[*at..].starts_with(marker);
    (0..bytes.len()).find(starts_here)
}

/// The bytes of a length field.
fn int(value: u64, field: &LengthField) -> Vec<u8> {
    let bytes = value.to_be_bytes()[8 - usize::from(field.length)..].to_vec();
    match field.byte_order {
        ByteOrder::Big => bytes,
        ByteOrder::Little => bytes.into_iter().rev().collect(),
    }
}

/// How long the record is that begins with this header.
fn frame_len(field: &LengthField, header: &[u8]) -> i128 {
    let (offset, length) = (usize::from(field.offset), usize::from(field.length));
    let mut bytes = header[offset..offset + length].to_vec();
    if field.byte_order == ByteOrder::Little {
        bytes.reverse();
    }
    let value = bytes.iter().fold(0, |value: i128, byte| value << 8 | i128::from(*byte));
    (offset + length) as i128 + value + i128::from(field.adjustment)
}
