//! One end of a session: its connection, its wire format, and what is on its way to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Control as ControlOp;

use super::vigil::Vigil;
use crate::link::Stream;
use crate::wire::websocket::{self, CloseFrame, Role};
use crate::wire::{Batch, Beat, Decoder, Encoder};

/// How far one direction of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Messages may still cross.
    Open,
    /// The last word is waiting to be sent (never a state of input).
    Ending,
    /// Nothing more will come, or go.
    Ended,
}

/// An end as it is handed to a session.
#[derive(Debug)]
pub struct Side {
    pub(super) stream: Stream,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    /// Which role we play, where the end is a WebSocket.
    pub(super) role: Option<Role>,
    pub(super) input: Flow,
    pub(super) output: Flow,
    /// Bytes read but not decoded: an unfinished small message, or what waits for the other end.
    pub(super) unread: Vec<u8>,
    /// Whether `unread` may hold more than the beginning of a message.
    pub(super) unread_is_fresh: bool,
    /// Payload bytes of a message from here that has begun and not ended.
    pub(super) unfinished: u64,
    /// Whether the latest write fell short: the peer reads more slowly than we could send.
    pub(super) congested: bool,
    /// Whether more waits to be sent than beats and answers to them.
    pub(super) has_words: bool,
    /// Whether the message that is being written is the last one.
    pub(super) ends_after_message: bool,
    /// Whether the connection is closed for writing after the last word even though the peer has not
    /// said its own: it broke a rule, and no answer from it would mean anything.
    pub(super) hang_up: bool,
    /// When to beat, and whether the peer is dead; where it is kept alive. In a box, because most backends are on this
    /// machine and are not.
    pub(super) vigil: Option<Box<Vigil>>,
    pub(super) unsent: Vec<u8>,
    sent: usize,
    /// Bytes of pongs in the backlog.
    pongs: usize,
    /// The latest ping that found the backlog full of pongs; earlier ones need no answer of their own
    /// (RFC 6455 section 5.5.3).
    unanswered: Option<Box<[u8]>>,
}

/// Bytes of pongs that may wait for a peer which sends pings and reads no answers.
const MAX_PONGS: usize = 4 * 1024;

impl Side {
    /// An end over `stream`, from which `early` bytes were read along with the handshake.
    pub fn new(stream: Stream, decoder: Decoder, encoder: Encoder, role: Option<Role>, early: &[u8]) -> Self {
        Side {
            stream,
            decoder,
            encoder,
            role,
            input: Flow::Open,
            output: Flow::Open,
            unread: early.to_vec(),
            unread_is_fresh: !early.is_empty(),
            unfinished: 0,
            congested: false,
            has_words: false,
            ends_after_message: false,
            hang_up: false,
            vigil: None,
            unsent: Vec::new(),
            sent: 0,
            pongs: 0,
            unanswered: None,
        }
    }

    /// Has it beat in the words of its own protocol, if it has such.
    #[must_use]
    pub fn with_beat(mut self, beat: Option<&Arc<Beat>>) -> Side {
        if let Some(beat) = beat {
            self.decoder = self.decoder.with_beat(beat.clone());
            self.encoder = self.encoder.with_beat(beat.clone());
        }
        self
    }

    /// Bytes encoded that the kernel has not taken, encrypted or not.
    pub(super) fn backlog(&self) -> usize {
        self.unsent.len() - self.sent + self.stream.unsent()
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf).map_ok(|()| buf.filled().len() - before);
        if let (Some(vigil), Poll::Ready(Ok(1..))) = (&mut self.vigil, &read) {
            vigil.has_read = true;
        }
        read
    }

    /// Sends a batch; keeps what the kernel does not take. Must not be called while there is a backlog.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, batch: &Batch, input: &[u8]) -> io::Result<()> {
        let sent = if batch.is_empty() {
            return Ok(());
        } else if let Some(bytes) = batch.as_single(input) {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        } else {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = batch.io_slices(input, &mut slices);
            Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])
        };
        let sent = match sent {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        if let Some(vigil) = &mut self.vigil {
            vigil.pulse.wrote();
        }
        self.congested = sent < batch.len() || self.stream.unsent() > 0;
        self.has_words |= self.congested;
        if sent < batch.len() {
            self.unsent.reserve_exact(batch.len() - sent);
            batch.copy_unsent(input, sent, &mut self.unsent);
        }
        Ok(())
    }

    /// Sends the backlog, and after it the end of the stream where that is due. Returns the bytes that
    /// went, once all have; nothing is buffered afterwards.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut went = 0;
        while self.sent < self.unsent.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]) {
                Poll::Ready(sent) => {
                    let sent = sent?;
                    if sent == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.sent += sent;
                    went += sent;
                }
                Poll::Pending => return if went > 0 { Poll::Ready(Ok(went)) } else { Poll::Pending },
            }
        }
        let encrypted = self.stream.unsent();
        if encrypted > 0 {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx)?;
            went += encrypted - self.stream.unsent();
            if flushed.is_pending() {
                return if went > 0 { Poll::Ready(Ok(went)) } else { Poll::Pending };
            }
        }
        self.clear_backlog();
        if let Some(ping) = self.unanswered.take() {
            self.pong(&ping);
            return Poll::Ready(Ok(went.max(1)));
        }
        if self.output == Flow::Ending {
            // A WebSocket stays writable until the peer has answered our close frame.
            if self.role.is_none() || self.hang_up {
                std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            }
            self.output = Flow::Ended;
            return Poll::Ready(Ok(went.max(1)));
        }
        Poll::Ready(Ok(went))
    }

    /// Queues an answer to a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if let Some(role) = self.role.filter(|_| self.output == Flow::Open) {
            if self.pongs > MAX_PONGS {
                self.unanswered = Some(payload.into());
                return;
            }
            let before = self.unsent.len();
            websocket::control_frame(role, ControlOp::Pong, payload, &mut self.unsent);
            self.pongs += self.unsent.len() - before;
        }
    }

    /// Queues a ping.
    pub(super) fn ping(&mut self, payload: &[u8]) {
        if let Some(role) = self.role {
            websocket::control_frame(role, ControlOp::Ping, payload, &mut self.unsent);
        }
    }

    /// Says the last word: a close frame on a WebSocket, the end of the stream elsewhere, after all that
    /// was encoded before.
    pub(super) fn end_output(&mut self, close: &CloseFrame) {
        if self.output == Flow::Open {
            if let Some(role) = self.role {
                websocket::close_frame(role, close, &mut self.unsent);
            }
            self.output = Flow::Ending;
            self.has_words = true;
            self.encoder = Encoder::Mute;
        }
    }

    /// The peer takes nothing more: a write failed.
    pub(super) fn output_failed(&mut self) {
        self.output = Flow::Ended;
        self.encoder = Encoder::Mute;
        self.unanswered = None;
        self.stream.forget_unsent();
        self.clear_backlog();
    }

    fn clear_backlog(&mut self) {
        self.unsent = Vec::new();
        self.has_words = false;
        self.sent = 0;
        self.pongs = 0;
    }

    /// Stops listening to what comes, without closing the connection.
    pub(super) fn end_input(&mut self) {
        self.input = Flow::Ended;
        self.decoder = Decoder::Deaf;
        self.unread = Vec::new();
        self.unread_is_fresh = false;
    }

    /// Closes the connection now; with `abort`, so that a TCP peer sees a reset.
    pub(super) fn close(&mut self, abort: bool) {
        self.end_input();
        self.output_failed();
        self.vigil = None;
        match abort {
            true => self.stream.abort(),
            false => self.stream.close(),
        }
    }

    /// Closes the connection if both directions have ended.
    pub(super) fn settle(&mut self) {
        if self.input == Flow::Ended && self.output == Flow::Ended && !self.stream.is_closed() {
            self.close(false);
        }
    }
}
