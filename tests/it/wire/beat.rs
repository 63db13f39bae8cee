//! Heartbeats once more, for whole buffers.

use std::sync::Arc;

use natpulse::wire::{Beat, BeatForm, Decoder, Encoder, FramingError, Kind};

use super::end::{End, Message, Parsed};
use super::oracle::{Expected, Refused};

/// A heartbeat as its users would describe it.
#[derive(Clone, Debug)]
pub struct OwnBeat {
    /// Bytes without a length; else a message. No WebSocket has a bare one.
    pub is_bare: bool,
    /// What natpulse sends.
    pub send: Vec<u8>,
    /// What it is sent.
    pub expect: Vec<u8>,
}

impl OwnBeat {
    /// The code under test.
    pub fn on(&self, end: &End) -> Result<Arc<Beat>, FramingError> {
        let beat = match end {
            End::WebSocket { .. } => Beat::on_websocket(self.kind(), &self.send, &self.expect),
            _ => {
                let form = if self.is_bare { BeatForm::Bare } else { BeatForm::Record };
                Beat::on_framing(&end.framing(), form, &self.send, &self.expect)
            }
        };
        beat.map(Arc::new)
    }

    fn kind(&self) -> Kind {
        if std::str::from_utf8(&self.send).is_ok() { Kind::Text } else { Kind::Binary }
    }

    /// Whether messages are looked at, not the bytes between them.
    pub fn is_message(&self, end: &End) -> bool {
        !self.is_bare || matches!(end, End::WebSocket { .. })
    }

    /// Writes what the end sends for a beat; a WebSocket does so in `pieces`.
    pub fn write(&self, end: &End, pieces: &[usize], between: &[u8], out: &mut Vec<u8>) {
        if !self.is_message(end) {
            return out.extend_from_slice(&self.expect);
        }
        let kind = if std::str::from_utf8(&self.expect).is_ok() { Kind::Text } else { Kind::Binary };
        end.write(&Message { kind, payload: self.expect.clone() }, pieces, between, out);
    }

    /// Whether what the end sends for this message would be heard as a beat.
    pub fn hides(&self, end: &End, message: &Message) -> bool {
        Self::is(end, self.is_message(end), &self.expect, message)
    }

    /// Whether what the end is sent for this message would be heard there as a beat between records.
    pub fn confuses(&self, end: &End, message: &Message) -> bool {
        !self.is_message(end) && Self::is(end, false, &self.send, message)
    }

    /// What must arrive at `end` of what would without the heartbeat.
    pub fn limit(&self, end: &End, mut expected: Expected) -> Expected {
        if let Some(first) = expected.messages.iter().position(|message| self.confuses(end, message)) {
            expected.messages.truncate(first);
            expected.error = Some(Refused::Unframeable);
        }
        expected
    }

    fn is(end: &End, is_message: bool, beat: &[u8], message: &Message) -> bool {
        if is_message {
            return message.payload == beat;
        }
        let mut record = Vec::new();
        end.write(message, &[], &[], &mut record);
        record.starts_with(beat)
    }

    /// Takes the beats out of what the end was sent; returns the rest of it and how many they were.
    pub fn read(&self, end: &End, stream: &[u8]) -> (Parsed, usize) {
        if self.is_message(end) {
            let mut parsed = end.read(stream);
            let all = parsed.messages.len();
            parsed.messages.retain(|message| message.payload != self.send);
            let beats = all - parsed.messages.len();
            return (parsed, beats);
        }
        let (mut messages, mut beats, mut rest) = (Vec::new(), 0, stream);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(&self.send[..]) {
                (beats, rest) = (beats + 1, after);
            } else if let Some((payload, after)) = end.read_record(rest) {
                messages.push(Message { kind: Kind::Binary, payload: payload.to_vec() });
                rest = after;
            } else {
                break;
            }
        }
        (Parsed { messages, is_cut: !rest.is_empty() }, beats)
    }
}

/// The code under test, for what this end sends.
pub fn decoder(end: &End, beat: Option<&OwnBeat>, max: u64) -> Decoder {
    match beat {
        Some(own) => end.decoder(max).with_beat(own.on(end).expect("it was tried")),
        None => end.decoder(max),
    }
}

/// The code under test, for what this end is sent.
pub fn encoder(end: &End, beat: Option<&OwnBeat>, kind: Kind) -> Encoder {
    match beat {
        Some(own) => end.encoder(kind).with_beat(own.on(end).expect("it was tried")),
        None => end.encoder(kind),
    }
}

/// What this end was sent: beats taken out, and counted.
pub fn read(end: &End, beat: Option<&OwnBeat>, stream: &[u8]) -> (Parsed, usize) {
    beat.map_or_else(|| (end.read(stream), 0), |own| own.read(end, stream))
}
