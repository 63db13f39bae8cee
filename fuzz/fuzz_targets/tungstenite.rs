//! Any bytes as what a client sends, heard by natpulse and by tungstenite: they must agree about every
//! message, every control frame, and whether the client broke a rule.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use natpulse::wire::websocket::CloseFrame;
use natpulse::wire::{Kind, WireError};
use natpulse_fuzz::{End, Heard, Input, Message, Pipe};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, WebSocket, error::ProtocolError};

const MAX: usize = 1 << 16;

/// How a stream ended.
#[derive(Debug)]
enum Verdict {
    /// It may go on.
    Open,
    /// With a close frame.
    Closed(CloseFrame),
    /// With an error.
    Refused(WireError),
}

/// What one of the two made of the stream.
#[derive(Debug)]
struct Opinion {
    messages: Vec<Message>,
    heard: Vec<Heard>,
    verdict: Verdict,
}

fn ours(stream: &[u8], sizes: &[usize]) -> Opinion {
    let client = End::WebSocket { is_client: true };
    let mut pipe = Pipe::new(client.decoder(MAX as u64), client.encoder(Kind::Binary));
    let result = pipe.feed_in(stream, sizes);
    let messages = client.read(&pipe.sent).messages;
    let mut heard = pipe.heard;
    let verdict = match heard.pop_if(|last| matches!(last, Heard::Close(_))) {
        Some(Heard::Close(payload)) => {
            CloseFrame::parse(&payload).map_or_else(Verdict::Refused, Verdict::Closed)
        }
        _ => result.map_or_else(Verdict::Refused, |()| Verdict::Open),
    };
    Opinion { messages, heard, verdict }
}

/// What the client sends; what it is sent is lost.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(stream: &[u8]) -> Opinion {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(stream), Role::Server, Some(config));
    let (mut messages, mut heard) = (Vec::new(), Vec::new());
    let verdict = loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => {
                messages.push(Message { kind: Kind::Text, payload: text.as_bytes().to_vec() });
            }
            Ok(tungstenite::Message::Binary(bytes)) => {
                messages.push(Message { kind: Kind::Binary, payload: bytes.to_vec() });
            }
            Ok(tungstenite::Message::Ping(payload)) => heard.push(Heard::Ping(payload.to_vec())),
            Ok(tungstenite::Message::Pong(payload)) => heard.push(Heard::Pong(payload.to_vec())),
            Ok(tungstenite::Message::Close(None)) => break Verdict::Closed(CloseFrame::default()),
            Ok(tungstenite::Message::Close(Some(close))) => {
                let reason = close.reason.to_string();
                break Verdict::Closed(CloseFrame { code: Some(close.code.into()), reason });
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break Verdict::Open,
            Err(_) => break Verdict::Refused(WireError::Protocol("tungstenite says so")),
        }
    };
    Opinion { messages, heard, verdict }
}

/// Whether the last frame of the stream is incomplete.
fn ends_inside_a_frame(mut stream: &[u8]) -> bool {
    while let Some((&[_, second], after)) = stream.split_first_chunk() {
        let (extended, key) = (
            match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            },
            usize::from(second >> 7) * 4,
        );
        let Some(len) = after.get(..extended) else {
            return true;
        };
        let len = match extended {
            0 => u64::from(second & 0x7f),
            _ => len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let Some(rest) = usize::try_from(len).ok().and_then(|len| after.get(extended + key..)?.get(len..))
        else {
            return true;
        };
        stream = rest;
    }
    !stream.is_empty()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let sizes = input.chunks();
    let stream = input.stream();
    let (ours, theirs) = (ours(&stream, &sizes), theirs(&stream));
    let agree = match (&ours.verdict, &theirs.verdict) {
        // Section 5.2 wants the shortest form of a length; tungstenite takes any and goes on, wherever that
        // leads.
        (Verdict::Refused(error), _)
            if *error == WireError::Protocol("a payload length written in more bytes than it needs") =>
        {
            assert!(theirs.messages.starts_with(&ours.messages), "{ours:?} {theirs:?}");
            assert!(theirs.heard.starts_with(&ours.heard), "{ours:?} {theirs:?}");
            return;
        }
        (Verdict::Open, Verdict::Open) | (Verdict::Refused(_), Verdict::Refused(_)) => true,
        // tungstenite does not know 1014, which IANA has registered since, and hands a code that must not
        // be sent to the application as a 1002 of its own; natpulse refuses it.
        (Verdict::Closed(ours), Verdict::Closed(theirs)) => ours == theirs || ours.code == Some(1014),
        (Verdict::Refused(error), Verdict::Closed(theirs)) => {
            *error == WireError::Protocol("a close code that must not be sent")
                && theirs.reason == "Protocol violation"
        }
        // natpulse judges a frame by its header, and text as it comes; tungstenite waits for all of it.
        (Verdict::Refused(_), Verdict::Open) => ends_inside_a_frame(&stream),
        _ => false,
    };
    assert!(agree, "{ours:?} {theirs:?}");
    assert_eq!(ours.messages, theirs.messages);
    assert_eq!(ours.heard, theirs.heard);
});
