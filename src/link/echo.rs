//! The built-in echo service: what is written can be read back.
//!
//! Sessions speak unmasked WebSocket frames to it in both directions, so that text comes back as text,
//! long messages stream, and an echoed close frame is the answer that a close handshake wants.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A pipe from its own input to its own output. Owned by one task.
#[derive(Debug)]
pub struct Echo {
    capacity: usize,
    bytes: Vec<u8>,
    read: usize,
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Echo {
    /// A service that can hold a message of `longest` bytes, as a service does that reads a message before it
    /// answers: many clients read nothing while they write one.
    pub fn new(longest: u64) -> Echo {
        let capacity = usize::try_from(longest).unwrap_or(usize::MAX).saturating_add(Self::FRAMING);
        Echo { capacity, bytes: Vec::new(), read: 0, shut: false, reader: None, writer: None }
    }

    /// Room for frame headers and for what the next message begins with.
    const FRAMING: usize = 256 * 1024;
}

impl AsyncRead for Echo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let waiting = &self.bytes[self.read..];
        if waiting.is_empty() {
            if self.shut {
                return Poll::Ready(Ok(()));
            }
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..taken]);
        self.read += taken;
        if self.read == self.bytes.len() {
            self.bytes = Vec::new();
            self.read = 0;
        }
        self.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Echo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = self.capacity - (self.bytes.len() - self.read);
        if room == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.read > self.bytes.len() / 2 {
            let read = std::mem::take(&mut self.read);
            self.bytes.drain(..read);
        }
        let taken = buf.len().min(room);
        self.bytes.extend_from_slice(&buf[..taken]);
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}
