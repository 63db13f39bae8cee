//! A WebSocket that carries lines: the least that a probe needs.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Control as ControlOp;

use super::word::LONGEST;
use crate::link::Stream;
use crate::wire::websocket::{self, CloseFrame, Control, Role};
use crate::wire::{Batch, Decoder, Encoder, Input, Kind, Stop, Tally, Until, translate};

/// One end of a probe connection. It is small: many are silent for long.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    role: Role,
    decoder: Decoder,
    encoder: Encoder,
    /// Read, but not decoded.
    unread: Vec<u8>,
    /// The beginning of a line that comes in fragments.
    heard: Vec<u8>,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A line.
    Line(String),
    /// A ping. Neither side sends any: something between them does.
    Ping(Vec<u8>),
    /// The peer says goodbye, or broke a rule.
    Close,
    /// The stream ended, or was reset, without a goodbye.
    End,
}

impl Line {
    pub(super) fn new(stream: Stream, early: &[u8], role: Role) -> Line {
        let masked = matches!(role, Role::Server);
        Line {
            stream,
            role,
            decoder: Decoder::WebSocket(websocket::Decoder::new(masked, LONGEST)),
            encoder: Encoder::WebSocket(websocket::Encoder::new(role, Kind::Text)),
            unread: early.to_vec(),
            heard: Vec::new(),
        }
    }

    pub(super) async fn say(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = line.as_bytes().to_vec();
        let (mut input, mut batch) = (Input::new(&mut bytes), Batch::default());
        let mut tally = Tally::default();
        translate(&mut Decoder::Raw, &mut self.encoder, &mut input, &mut batch, &mut tally, Until::Dry)
            .map_err(io::Error::other)?;
        let mut frame = Vec::new();
        batch.copy_unsent(input.bytes, 0, &mut frame);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Waits for what comes next. Nothing is lost if this is dropped.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.decode() {
                return heard;
            }
            let mut read = [0; 256];
            match self.stream.read(&mut read).await {
                Ok(0) | Err(_) => return Heard::End,
                Ok(count) => self.unread.extend_from_slice(&read[..count]),
            }
        }
    }

    /// The next that was read, if all of it was.
    fn decode(&mut self) -> Option<Heard> {
        let (mut batch, mut tally) = (Batch::default(), Tally::default());
        let mut input = Input::new(&mut self.unread);
        let until = Until::MessageEnd;
        let stop = translate(&mut self.decoder, &mut Encoder::Raw, &mut input, &mut batch, &mut tally, until);
        batch.copy_unsent(input.bytes, 0, &mut self.heard);
        let heard = match stop {
            Ok(Stop::Message) => {
                let line = String::from_utf8(std::mem::take(&mut self.heard));
                Some(line.map_or(Heard::Close, Heard::Line))
            }
            Ok(Stop::Control(Control::Ping(payload))) => Some(Heard::Ping(input.bytes[payload].to_vec())),
            Ok(Stop::Control(Control::Close(_))) | Err(_) => Some(Heard::Close),
            Ok(Stop::Dry | Stop::Full | Stop::Beat | Stop::Control(Control::Pong(_))) => None,
        };
        let consumed = input.at;
        self.unread.drain(..consumed);
        // A silent connection needs no buffer.
        self.unread.shrink_to_fit();
        heard
    }

    /// Answers a ping.
    pub(super) async fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        websocket::control_frame(self.role, ControlOp::Pong, payload, &mut frame);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Says goodbye and hangs up.
    pub(super) async fn leave(mut self, code: u16, reason: &str) {
        let mut frame = Vec::new();
        let close = CloseFrame { code: Some(code), reason: reason.to_owned() };
        websocket::close_frame(self.role, &close, &mut frame);
        // Whoever is gone already misses nothing.
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.shutdown().await;
    }
}
