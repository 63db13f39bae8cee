//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use super::Stream;

/// A bound socket. A Unix socket's file goes with it, if it was bound here.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix domain socket, and the path that goes with it.
    Unix(UnixListener, Option<PathBuf>),
}

/// Connections the kernel holds for us until they are accepted; it cuts this to net.core.somaxconn, whose
/// default is 4,096.
const BACKLOG: u32 = 4096;

impl Listener {
    /// Binds a TCP address.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub fn tcp(address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Listener::Tcp(socket.listen(BACKLOG)?))
    }

    /// Binds a path. A socket file that nobody listens on any more is replaced; anything else is left
    /// alone and reported.
    ///
    /// # Errors
    /// The path is in use, not a socket, or not writable.
    pub async fn unix(path: &Path) -> io::Result<Listener> {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        if is_socket
            && let Err(error) = UnixStream::connect(path).await
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            std::fs::remove_file(path)?;
        }
        Ok(Listener::Unix(UnixListener::bind(path)?, Some(path.to_owned())))
    }

    /// The address it is bound to, where that is TCP: port 0 has become a real one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of `accept(2)`: the peer has gone already, or there are no descriptors left.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Stream::tcp(listener.accept().await?.0),
            Listener::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, Some(path)) = self {
            // Gone already is as good; anything else is found by the next bind.
            let _ = std::fs::remove_file(path);
        }
    }
}
