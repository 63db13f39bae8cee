//! What a WebSocket peer sent: frames to parts of messages.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control as ControlOp, Data, OpCode};

use super::{CONTROL_MAX, Control, apply_mask};
use crate::wire::utf8::Utf8;
use crate::wire::{Input, Kind, Part, Step, WHOLE, WireError};

/// Finds messages and control frames.
#[derive(Debug)]
pub struct Decoder {
    /// Clients must mask what they send, servers must not (RFC 6455 section 5.1).
    masked: bool,
    max: u64,
    /// The data frame whose payload has begun but not ended.
    frame: Option<Frame>,
    /// The message of which a frame has begun, and the last has not ended.
    message: Option<Message>,
    last_kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    left: u64,
    key: [u8; 4],
    phase: usize,
    last: bool,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    /// Payload bytes announced by its frames so far.
    announced: u64,
    utf8: Utf8,
}

impl Decoder {
    /// A decoder for what a client (`masked`) or a server sends, with messages up to `max` bytes.
    pub fn new(masked: bool, max: u64) -> Self {
        Decoder { masked, max, frame: None, message: None, last_kind: None }
    }

    /// Whether no message is unfinished.
    pub fn is_between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// What the peer called its latest message.
    pub fn last_kind(&self) -> Option<Kind> {
        self.last_kind
    }

    pub(crate) fn next(&mut self, input: &mut Input<'_>) -> Result<Step, WireError> {
        if let Some(frame) = self.frame {
            return match input.rest().is_empty() {
                true => Ok(Step::More),
                false => self.payload(frame, None, input),
            };
        }
        let mut cursor = Cursor::new(input.rest());
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| WireError::Protocol("a reserved opcode"))?;
        let size = cursor.position() as usize;
        let Some((header, len)) = parsed else {
            return Ok(Step::More);
        };
        self.check(&header, len, size)?;
        let whole = input.rest().len() as u64 - size as u64 >= len;
        let key = header.mask.unwrap_or_default();
        match header.opcode {
            OpCode::Control(_) if !whole => Ok(Step::More),
            OpCode::Control(op) => {
                input.at += size;
                let payload = input.take(len);
                apply_mask(&mut input.bytes[payload.clone()], key, 0);
                Ok(Step::Control(match op {
                    ControlOp::Close => Control::Close(payload),
                    ControlOp::Ping => Control::Ping(payload),
                    ControlOp::Pong | ControlOp::Reserved(_) => Control::Pong(payload),
                }))
            }
            OpCode::Data(data) => {
                self.check_data(data, len)?;
                if !whole && size as u64 + len <= WHOLE as u64 {
                    return Ok(Step::More);
                }
                let total = (header.is_final && data != Data::Continue).then_some(len);
                self.begin(data, len);
                input.at += size;
                self.payload(Frame { left: len, key, phase: 0, last: header.is_final }, total, input)
            }
        }
    }

    /// The rules that hold for every frame (RFC 6455 sections 5.1, 5.2 and 5.5).
    fn check(&self, header: &FrameHeader, len: u64, size: usize) -> Result<(), WireError> {
        let extended = size - 2 - if header.mask.is_some() { 4 } else { 0 };
        let broken = if header.rsv1 || header.rsv2 || header.rsv3 {
            "a reserved bit is set, and no extension was negotiated"
        } else if header.mask.is_some() != self.masked {
            if self.masked { "a client frame that is not masked" } else { "a server frame that is masked" }
        } else if len >> 63 == 1 {
            "a payload length with its top bit set"
        } else if (extended == 2 && len < 126) || (extended == 8 && len <= 0xffff) {
            "a payload length written in more bytes than it needs"
        } else if matches!(header.opcode, OpCode::Control(_)) && !header.is_final {
            "a fragmented control frame"
        } else if matches!(header.opcode, OpCode::Control(_)) && len > CONTROL_MAX as u64 {
            "a control frame of more than 125 bytes"
        } else {
            return Ok(());
        };
        Err(WireError::Protocol(broken))
    }

    fn check_data(&self, data: Data, len: u64) -> Result<(), WireError> {
        let so_far = match (&self.message, data) {
            (None, Data::Continue) => return Err(WireError::Protocol("a continuation of no message")),
            (Some(_), Data::Text | Data::Binary) => {
                return Err(WireError::Protocol("a message inside another"));
            }
            (message, _) => message.as_ref().map_or(0, |message| message.announced),
        };
        let announced = so_far.saturating_add(len);
        match announced > self.max {
            true => Err(WireError::TooLong { len: announced, max: self.max, hint: None }),
            false => Ok(()),
        }
    }

    fn begin(&mut self, data: Data, len: u64) {
        let kind = if data == Data::Text { Kind::Text } else { Kind::Binary };
        match &mut self.message {
            Some(message) => message.announced += len,
            None => {
                self.last_kind = Some(kind);
                self.message = Some(Message { kind, announced: len, utf8: Utf8::default() });
            }
        }
    }

    /// Hands over as much of the frame's payload as there is.
    fn payload(
        &mut self,
        mut frame: Frame,
        total: Option<u64>,
        input: &mut Input<'_>,
    ) -> Result<Step, WireError> {
        let payload = input.take(frame.left);
        let bytes = &mut input.bytes[payload.clone()];
        if self.masked {
            apply_mask(bytes, frame.key, frame.phase);
        }
        frame.left -= bytes.len() as u64;
        frame.phase = (frame.phase + bytes.len()) % 4;
        let last = frame.last && frame.left == 0;
        let message = self.message.as_mut().expect("a data frame belongs to a message");
        let kind = message.kind;
        if kind == Kind::Text {
            message.utf8.check(bytes, last)?;
        }
        if last {
            self.message = None;
        }
        self.frame = (frame.left > 0).then_some(frame);
        Ok(Step::Part(Part { kind: Some(kind), total, last, payload }))
    }
}
