//! A connection up to the end of its request's head, where a client has to wait for the answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// A connection whose first request is being read.
#[derive(Debug)]
pub(super) struct Head<'a> {
    stream: Stream,
    end: End,
    /// Set when anything was read behind the head.
    has_more: &'a AtomicBool,
}

impl<'a> Head<'a> {
    pub(super) fn new(stream: Stream, has_more: &'a AtomicBool) -> Head<'a> {
        Head { stream, end: End::Before, has_more }
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }
}

/// Finds the empty line at the end of a head. Lines end with LF, in front of which there may be a CR, and may be empty
/// before the request line (RFC 9112 section 2.2): as hyper reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Before the request line.
    Before,
    /// In a line.
    Within,
    /// At the beginning of a line, or behind a CR there.
    Empty,
    /// Behind the head.
    Behind,
}

impl End {
    fn after(self, byte: u8) -> End {
        match (self, byte) {
            (End::Behind, _) | (End::Empty, b'\n') => End::Behind,
            (End::Before, b'\r' | b'\n') => End::Before,
            (End::Within, b'\n') | (End::Empty, b'\r') => End::Empty,
            (End::Before | End::Within | End::Empty, _) => End::Within,
        }
    }
}

impl AsyncRead for Head<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        for byte in &buf.filled()[before..] {
            if self.end == End::Behind {
                self.has_more.store(true, Ordering::Relaxed);
                break;
            }
            self.end = self.end.after(*byte);
        }
        read
    }
}

impl AsyncWrite for Head<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (text, behind) in [
            ("GET / HTTP/1.1\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nxy", 2),
            ("\r\n\nGET / HTTP/1.1\r\na: b\n\nxy", 2),
            ("GET / HTTP/1.1\n\r\n\n", 1),
        ] {
            let mut end = End::Before;
            let left = text.bytes().skip_while(|byte| {
                let is_head = end != End::Behind;
                end = end.after(*byte);
                is_head
            });
            assert_eq!(left.count(), behind, "{text:?}");
            assert_eq!(end, End::Behind, "{text:?}");
        }
        for text in ["", "\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\na\r\n", "GET / HTTP/1.1\r\n\r"]
        {
            assert_ne!(text.bytes().fold(End::Before, End::after), End::Behind, "{text:?}");
        }
    }
}
