//! One transport connection of whatever scheme.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::Tls;
use super::{Echo, Secured, tcp};
use crate::heartbeat::Path;

/// A connection that can be read and written, or that has been closed and holds no descriptor.
#[derive(Debug)]
pub enum Stream {
    /// TCP, with Nagle's algorithm off: what is written is complete.
    Tcp(TcpStream),
    /// TCP with TLS on it, past the handshake.
    Tls(Box<Tls>),
    /// A Unix domain socket.
    Unix(UnixStream),
    /// The built-in echo service.
    Echo(Box<Echo>),
    /// Closed.
    Closed,
}

/// As many unanswered probes as the kernel can be told to bear (tcp(7), TCP_KEEPCNT).
const KEEPALIVE_PROBES: u32 = 127;

impl Stream {
    /// Wraps a TCP connection and turns Nagle's algorithm off.
    ///
    /// # Errors
    /// The socket is gone already.
    pub fn tcp(stream: TcpStream) -> io::Result<Stream> {
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Stream::Closed)
    }

    /// Whether the connection has failed, as far as the kernel knows without being read from or written to.
    pub fn is_broken(&self) -> bool {
        let error = match self {
            Stream::Tcp(stream) => stream.take_error(),
            Stream::Tls(stream) => stream.tcp().take_error(),
            Stream::Unix(stream) => stream.take_error(),
            Stream::Echo(_) | Stream::Closed => return false,
        };
        !matches!(error, Ok(None))
    }

    /// Our address, where that is TCP.
    pub fn our_address(&self) -> Option<IpAddr> {
        Some(self.reached()?.ip().to_canonical())
    }

    /// Our address and port, where that is TCP: what the peer has reached.
    pub fn reached(&self) -> Option<SocketAddr> {
        self.as_tcp()?.local_addr().ok()
    }

    /// The peer's address and port, where that is TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.as_tcp()?.peer_addr().ok()
    }

    /// The peer's address, where that is TCP.
    pub fn peer_address(&self) -> Option<IpAddr> {
        Some(self.peer()?.ip().to_canonical())
    }

    /// How a client's connection is secured, if it is.
    pub fn secured(&self) -> Option<Arc<Secured>> {
        match self {
            Stream::Tls(stream) => stream.secured(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Echo(_) | Stream::Closed => None,
        }
    }

    /// What the kernel knows about the way to the peer, where that is TCP.
    pub fn path(&self) -> Option<Path> {
        tcp::path(self.as_tcp()?.as_fd())
    }

    /// Has the kernel probe a TCP connection after it was silent for `idle`, and again each `interval`: whole seconds, of
    /// which it wants at least one.
    /// What the probes find is ours to judge: the kernel gives up only after `give_up`.
    pub fn keep_alive(&self, idle: Duration, interval: Duration, give_up: Duration) {
        if let Some(stream) = self.as_tcp() {
            let socket = SockRef::from(stream);
            let probes = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(interval.max(Duration::from_secs(1)))
                .with_retries(KEEPALIVE_PROBES);
            // It fails only on a socket that is no longer connected, which needs no probes.
            let _ = socket.set_tcp_keepalive(&probes);
            let _ = socket.set_tcp_user_timeout(Some(give_up));
        }
    }

    /// Has the kernel probe a window that the peer has closed at least every `pause`, a second at the shortest, where it
    /// can be told (since Linux 6.15). Each of its pauses is twice as long as the one before, up to two minutes.
    pub fn probe_window_every(&self, pause: Duration) {
        if let Some(stream) = self.as_tcp() {
            tcp::set_longest_pause(stream.as_fd(), pause.max(Duration::from_secs(1)));
        }
    }

    /// Whether the peer has ended the connection, as far as can be seen without reading what it said before.
    pub fn is_gone(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Stream::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Stream::Tls(stream) => return stream.is_gone(|| tcp::has_peer_ended(stream.tcp().as_fd())),
            Stream::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Stream::Echo(_) => return false,
            Stream::Closed => return true,
        };
        match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Bytes that were taken and wait in front of the kernel: TLS cannot take back what it has encrypted.
    pub fn unsent(&self) -> usize {
        match self {
            Stream::Tls(stream) => stream.unsent(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Echo(_) | Stream::Closed => 0,
        }
    }

    /// Drops these bytes, because the connection takes nothing more.
    pub fn forget_unsent(&mut self) {
        if let Stream::Tls(stream) = self {
            stream.forget_unsent();
        }
    }

    /// Whether the stream ended without the peer saying that this was all, as TLS has it said: somebody else may have ended
    /// it.
    pub fn was_cut_short(&self) -> bool {
        match self {
            Stream::Tls(stream) => stream.was_cut_short(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Echo(_) | Stream::Closed => false,
        }
    }

    /// Closes at once. A TLS peer is told, if it takes that at once.
    pub fn close(&mut self) {
        if let Stream::Tls(stream) = self {
            stream.part();
        }
        *self = Stream::Closed;
    }

    /// The TCP connection below, where there is one.
    fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.tcp()),
            Stream::Unix(_) | Stream::Echo(_) | Stream::Closed => None,
        }
    }

    /// Closes at once; over TCP the peer sees a reset, so that it cannot take what it has for the whole.
    pub fn abort(&mut self) {
        if let Some(stream) = self.as_tcp() {
            // It fails only on a socket that is no longer connected, which needs no reset.
            let _ = stream.set_zero_linger();
        }
        *self = Stream::Closed;
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Echo(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Echo(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Stream::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Echo(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Stream::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            // No other variant buffers anything outside the kernel.
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Echo(_) | Stream::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Echo(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}
