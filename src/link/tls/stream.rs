//! A TCP connection with TLS on it.
//!
//! rustls holds keys and no bytes: records are decrypted and encrypted in buffers of the thread. What a connection keeps
//! between two calls is the beginning of a record that has not come whole, what whoever read had no room for, and
//! ciphertext that the kernel has not taken; an idle one keeps none of these.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::engine::{Engine, Met, Sealed, Want};
use crate::link::Secured;

/// Ciphertext read at once, in bytes, at most: as much as a session reads.
const READ: usize = 512 * 1024;
/// The least that is read at once, whatever room the reader has: a handshake reads a few hundred bytes at a time.
const READ_LEAST: usize = 4 * 1024;
/// What may be left from before: a record, and a handshake message that goes over several (RFC 8446 section 5.1).
const LEFT: usize = 96 * 1024;
/// Plaintext encrypted for one write, in bytes: four of the largest records (RFC 8446 section 5.1). It is as much as may be
/// accepted beyond what the kernel takes.
const WRITE: usize = 64 * 1024;
/// The longest record that says goodbye, in bytes: 31 with TLS 1.2 and a GCM cipher, less with any other.
const GOODBYE: usize = 31;

/// Buffers that all connections of a thread use in turn.
struct Scratch {
    received: Vec<u8>,
    gathered: Vec<u8>,
    sealed: Sealed,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        received: vec![0; LEFT + READ],
        gathered: Vec::with_capacity(WRITE),
        sealed: Sealed::default(),
    });
}

/// How far the peer's direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// The peer said that it was done.
    Ended,
    /// The connection ended without the peer saying so: what it sent may have been cut.
    CutShort,
    /// What came was no TLS, or was tampered with.
    Failed,
}

/// A TCP connection with TLS on it.
pub struct Tls {
    tcp: TcpStream,
    engine: Engine,
    /// What its handshake has shown, where the peer is a client.
    secured: Option<Arc<Secured>>,
    input: Input,
    has_said_goodbye: bool,
    /// Ciphertext that is no whole record yet.
    received: Vec<u8>,
    /// Plaintext that whoever read had no room for, and how much of it was taken since.
    plain: Vec<u8>,
    taken: usize,
    /// Ciphertext that is being sent, and how much of it the kernel has taken.
    sealed: Vec<u8>,
    sent: usize,
}

/// No keys, and nothing that was encrypted.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("tcp", &self.tcp).field("input", &self.input).finish_non_exhaustive()
    }
}

impl Tls {
    /// A connection whose handshake is over; `received` and `plain` came right behind it.
    pub(super) fn new(tcp: TcpStream, engine: Engine, received: Vec<u8>, plain: Vec<u8>) -> Tls {
        Tls {
            tcp,
            engine,
            secured: None,
            input: Input::Open,
            has_said_goodbye: false,
            received,
            plain,
            taken: 0,
            sealed: Vec::new(),
            sent: 0,
        }
    }

    /// What rustls knows of it.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Keeps what its handshake has shown of a client.
    pub(super) fn keep(&mut self, secured: Secured) {
        self.secured = Some(Arc::new(secured));
    }

    /// What its handshake has shown, where the peer is a client.
    pub(in crate::link) fn secured(&self) -> Option<Arc<Secured>> {
        self.secured.clone()
    }

    /// The connection below.
    pub(in crate::link) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Ciphertext that the kernel has not taken, in bytes.
    pub(in crate::link) fn unsent(&self) -> usize {
        self.sealed.len() - self.sent
    }

    /// Drops what the kernel has not taken, because it will not take more.
    pub(in crate::link) fn forget_unsent(&mut self) {
        (self.sealed, self.sent) = (Vec::new(), 0);
    }

    /// Whether the stream has ended without the peer saying that this was all.
    pub(in crate::link) fn was_cut_short(&self) -> bool {
        self.input == Input::CutShort
    }

    /// Whether the peer has ended the connection, as far as can be seen without reading what it said before: all that
    /// waits to be read is nothing, or as short as a goodbye with the end behind it.
    pub(in crate::link) fn is_gone(&self, has_ended: impl FnOnce() -> bool) -> bool {
        if !self.plain.is_empty() || !self.received.is_empty() {
            return false;
        }
        let mut bytes = [MaybeUninit::uninit(); GOODBYE + 1];
        match SockRef::from(&self.tcp).peek(&mut bytes) {
            Ok(0) => true,
            Ok(count) => count <= GOODBYE && has_ended(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Tells the peer that nothing more comes, if that can be done at once.
    pub(in crate::link) fn part(&mut self) {
        if self.unsent() == 0 && self.say_goodbye().is_ok() {
            // Whoever takes no goodbye has to do without.
            let _ = self.tcp.try_write(&self.sealed[self.sent..]);
        }
    }

    /// Puts the goodbye behind what is being sent.
    fn say_goodbye(&mut self) -> io::Result<()> {
        if self.has_said_goodbye || self.input == Input::Failed {
            return Ok(());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            self.seal(Want::Goodbye, &mut scratch.sealed)?;
            self.has_said_goodbye = true;
            self.sealed.extend_from_slice(scratch.sealed.bytes());
            Ok(())
        })
    }

    /// Has something encrypted, behind whatever rustls has to say itself.
    fn seal(&mut self, want: Want<'_>, sealed: &mut Sealed) -> io::Result<()> {
        sealed.clear();
        loop {
            let plain = &mut self.plain;
            let keep = &mut |payload: &[u8]| plain.extend_from_slice(payload);
            let (discard, met) = self.engine.step(&mut self.received, want, keep, sealed);
            self.received.drain(..discard);
            match met.map_err(io::Error::other)? {
                Met::Something => {}
                Met::End if self.input == Input::Open => self.input = Input::Ended,
                Met::Done => return Ok(()),
                Met::End | Met::Blocked => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Sends the ciphertext that waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            match ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.sealed[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.forget_unsent();
        Poll::Ready(Ok(()))
    }

    /// Gives what was decrypted earlier.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = (self.plain.len() - self.taken).min(buf.remaining());
        buf.put_slice(&self.plain[self.taken..self.taken + count]);
        self.taken += count;
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
    }

    /// Reads from the kernel once, and decrypts every record that is whole.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<()>> {
        let kept = self.received.len();
        scratch.received[..kept].copy_from_slice(&self.received);
        let most = buf.remaining().clamp(READ_LEAST, READ);
        let mut space = ReadBuf::new(&mut scratch.received[kept..kept + most]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut space))?;
        let filled = kept + space.filled().len();
        if filled == kept {
            self.input = Input::CutShort;
            return Poll::Ready(Ok(()));
        }
        let (mut at, sealed) = (0, &mut scratch.sealed);
        sealed.clear();
        let result = loop {
            let plain = &mut self.plain;
            let keep = &mut |payload: &[u8]| {
                let fits = payload.len().min(buf.remaining());
                buf.put_slice(&payload[..fits]);
                plain.extend_from_slice(&payload[fits..]);
            };
            let received = &mut scratch.received[at..filled];
            let (discard, met) = self.engine.step(received, Want::Nothing, keep, sealed);
            at += discard;
            match met {
                Ok(Met::Something) => {}
                Ok(Met::End) => {
                    self.input = Input::Ended;
                    at = filled;
                    break Ok(());
                }
                Ok(Met::Done | Met::Blocked) => break Ok(()),
                Err(error) => {
                    // The peer is told why, where rustls has words for it.
                    let _ = self.engine.step(&mut scratch.received[at..filled], Want::Nothing, keep, sealed);
                    self.input = Input::Failed;
                    at = filled;
                    break Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        };
        let left = &scratch.received[at..filled];
        if left.len() > LEFT {
            self.input = Input::Failed;
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        match left.is_empty() {
            true => self.received = Vec::new(),
            false => {
                self.received.clear();
                self.received.extend_from_slice(left);
            }
        }
        if !sealed.bytes().is_empty() {
            self.sealed.extend_from_slice(sealed.bytes());
            // What cannot be sent now is sent by the next flush; a failure is met again by then.
            let _ = self.poll_send(cx);
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for Tls {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tls = self.get_mut();
        let before = buf.filled().len();
        tls.give(buf);
        while buf.filled().len() == before && buf.remaining() > 0 {
            match tls.input {
                Input::Open => {}
                Input::Ended | Input::CutShort => break,
                Input::Failed => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            let received = ready!(SCRATCH.with_borrow_mut(|scratch| tls.poll_receive(cx, buf, scratch)));
            // What came before an error is given first.
            if buf.filled().len() == before {
                received?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Takes as much as the kernel does, and at most 64 KiB beyond that.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tls = self.get_mut();
        if tls.has_said_goodbye || tls.input == Input::Failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(tls.poll_send(cx))?;
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { gathered, sealed, .. } = scratch;
            let mut accepted = 0;
            let mut pieces = bufs.iter().flat_map(|buf| buf.chunks(WRITE)).peekable();
            while let Some(first) = pieces.next() {
                gathered.clear();
                while let Some(piece) =
                    pieces.next_if(|piece| gathered.len().max(first.len()) + piece.len() <= WRITE)
                {
                    if gathered.is_empty() {
                        gathered.extend_from_slice(first);
                    }
                    gathered.extend_from_slice(piece);
                }
                let chunk = if gathered.is_empty() { first } else { gathered.as_slice() };
                tls.seal(Want::Encrypt(chunk), sealed)?;
                accepted += chunk.len();
                let mut sent = 0;
                while sent < sealed.bytes().len() {
                    match Pin::new(&mut tls.tcp).poll_write(cx, &sealed.bytes()[sent..]) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Poll::Ready(Ok(count)) => sent += count,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {
                            tls.sealed = sealed.bytes()[sent..].to_vec();
                            return Poll::Ready(Ok(accepted));
                        }
                    }
                }
            }
            Poll::Ready(Ok(accepted))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    /// Says goodbye (RFC 8446 section 6.1), and ends our direction.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = self.get_mut();
        tls.say_goodbye()?;
        ready!(tls.poll_send(cx))?;
        Pin::new(&mut tls.tcp).poll_shutdown(cx)
    }
}
