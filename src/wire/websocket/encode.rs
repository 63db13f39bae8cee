//! What a WebSocket peer is sent: parts of messages to frames.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control as ControlOp, Data, OpCode};

use super::{CONTROL_MAX, CloseFrame, apply_mask};
use crate::wire::utf8::Utf8;
use crate::wire::{Batch, Input, Kind, Part, WireError};

/// Which side of a WebSocket connection natpulse is.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Accepted the connection; sends unmasked.
    Server,
    /// Dialled it; masks every frame with a key from this source, which must be unpredictable
    /// (RFC 6455 section 5.3).
    Client {
        /// Returns a fresh key at each call.
        mask_key: fn() -> [u8; 4],
    },
}

impl Role {
    fn mask_key(self) -> Option<[u8; 4]> {
        match self {
            Role::Server => None,
            Role::Client { mask_key } => Some(mask_key()),
        }
    }
}

/// Writes messages. A frame never leaves before its payload is at hand, so a control frame can follow
/// whatever was written last.
#[derive(Debug)]
pub struct Encoder {
    role: Role,
    /// What a message is called whose sender has no word for it.
    default_kind: Kind,
    in_message: Option<Message>,
}

#[derive(Debug)]
struct Message {
    begun: bool,
    /// Checks what is sent as text but did not arrive as text.
    utf8: Option<Utf8>,
    kind: Kind,
}

impl Encoder {
    /// An encoder that calls records `default_kind`.
    pub fn new(role: Role, default_kind: Kind) -> Self {
        Encoder { role, default_kind, in_message: None }
    }

    /// What records are called from the next one on.
    pub fn set_default_kind(&mut self, kind: Kind) {
        self.default_kind = kind;
    }

    pub(crate) fn default_kind(&self) -> Kind {
        self.default_kind
    }

    /// Whether no message is half written.
    pub fn is_between_messages(&self) -> bool {
        self.in_message.is_none()
    }

    /// Appends a whole message to `out`; only to be called between messages.
    pub(crate) fn message(&self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
        frame(self.role, OpCode::Data(data(kind)), true, payload, out);
    }

    pub(crate) fn put(
        &mut self,
        part: &Part,
        input: &mut Input<'_>,
        out: &mut Batch,
    ) -> Result<(), WireError> {
        let kind = part.kind.unwrap_or(self.default_kind);
        let message = self.in_message.get_or_insert_with(|| Message {
            begun: false,
            utf8: (part.kind.is_none() && kind == Kind::Text).then(Utf8::default),
            kind,
        });
        let payload = &mut input.bytes[part.payload.clone()];
        if let Some(utf8) = &mut message.utf8 {
            utf8.check(payload, part.last)?;
        }
        if payload.is_empty() && !part.last {
            return Ok(());
        }
        let data = match std::mem::replace(&mut message.begun, true) {
            true => Data::Continue,
            false => data(message.kind),
        };
        let mask = self.role.mask_key();
        let (header, len) = header(OpCode::Data(data), part.last, mask, payload.len());
        if let Some(key) = mask {
            apply_mask(payload, key, 0);
        }
        out.copy(&header[..len]);
        out.payload(input.bytes, &part.payload);
        if part.last {
            self.in_message = None;
        }
        Ok(())
    }
}

/// A frame header and its length.
fn header(opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>, payload: usize) -> ([u8; 14], usize) {
    let header = FrameHeader { is_final, rsv1: false, rsv2: false, rsv3: false, opcode, mask };
    let mut bytes = [0; 14];
    let mut room = &mut bytes[..];
    header.format(payload as u64, &mut room).expect("14 bytes hold any frame header");
    let len = 14 - room.len();
    (bytes, len)
}

/// Appends a control frame to `out`; payloads are cut at 125 bytes.
pub fn control_frame(role: Role, op: ControlOp, payload: &[u8], out: &mut Vec<u8>) {
    frame(role, OpCode::Control(op), true, &payload[..payload.len().min(CONTROL_MAX)], out);
}

/// A message, or the first fragment of one, as a server sends it.
pub(crate) fn data_frame(kind: Kind, is_whole: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    frame(Role::Server, OpCode::Data(data(kind)), is_whole, payload, &mut out);
    out
}

fn data(kind: Kind) -> Data {
    match kind {
        Kind::Text => Data::Text,
        Kind::Binary => Data::Binary,
    }
}

fn frame(role: Role, opcode: OpCode, is_final: bool, payload: &[u8], out: &mut Vec<u8>) {
    let mask = role.mask_key();
    let (header, len) = header(opcode, is_final, mask, payload.len());
    out.extend_from_slice(&header[..len]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

/// Appends a close frame to `out`; the reason is cut at a character that ends within 123 bytes.
pub fn close_frame(role: Role, close: &CloseFrame, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(CONTROL_MAX);
    if let Some(code) = close.code {
        payload.extend_from_slice(&code.to_be_bytes());
        let end = close.reason.floor_char_boundary(CONTROL_MAX - payload.len());
        payload.extend_from_slice(&close.reason.as_bytes()[..end]);
    }
    control_frame(role, ControlOp::Close, &payload, out);
}
