//! RFC 6455 data and control frames, streamed.
//!
//! Frame headers are tungstenite's; what a message is, and what a peer may do, is decided here, because
//! a message must be able to cross before it has all arrived. Closing is decided by the session.

mod decode;
mod encode;
mod mask;

pub use decode::Decoder;
pub(crate) use encode::data_frame;
pub use encode::{Encoder, Role, close_frame, control_frame};
pub use mask::apply_mask;

use super::WireError;
use std::ops::Range;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_MAX: usize = 125;

/// What a peer says about the connection; payloads lie in the input, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Wants a pong with the same payload.
    Ping(Range<usize>),
    /// Answers a ping, or is sent unasked.
    Pong(Range<usize>),
    /// Will send nothing more.
    Close(Range<usize>),
}

/// Why a peer closes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseFrame {
    /// The status code; `None` where the frame has no payload.
    pub code: Option<u16>,
    /// For people who read logs.
    pub reason: String,
}

impl CloseFrame {
    /// Reads the payload of a close frame.
    ///
    /// # Errors
    /// A payload of one byte, a code that must not be sent (RFC 6455 section 7.4), a reason that is not
    /// UTF-8.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (code, reason) = match payload {
            [] => return Ok(CloseFrame::default()),
            [_] => return Err(WireError::Protocol("a close frame with a payload of one byte")),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        // 1014, Bad Gateway, was registered after tungstenite's list was made.
        if !CloseCode::from(code).is_allowed() && code != 1014 {
            return Err(WireError::Protocol("a close code that must not be sent"));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| WireError::InvalidUtf8)?;
        Ok(CloseFrame { code: Some(code), reason: reason.to_owned() })
    }
}
