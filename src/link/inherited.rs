//! Listening sockets that natpulse was started with, as systemd and others hand them on (sd_listen_fds(3)): whoever else
//! holds one keeps its queue of clients while one natpulse follows another.

use std::io;
use std::net::{self, SocketAddr};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::{ListenUrl, Listener};

/// The sockets, each of which stays open here for whoever listens on it next, until all of this is dropped.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
    /// Descriptors that are no listening sockets.
    strange: Vec<String>,
}

#[derive(Debug)]
struct Socket {
    socket: Kind,
    is_named: AtomicBool,
}

#[derive(Debug)]
enum Kind {
    Tcp(net::TcpListener, SocketAddr),
    Unix(unix::UnixListener, PathBuf),
}

impl Inherited {
    /// Takes what the environment names (LISTEN_FDS, LISTEN_PID), and takes it out of the environment. For a process
    /// that has one thread yet: the environment cannot be changed beside others who read it.
    pub fn from_environment() -> Inherited {
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..passed.len() {
            match take(&mut passed, index) {
                Ok(Some(socket)) => {
                    inherited.sockets.push(Socket { socket, is_named: AtomicBool::new(false) });
                }
                Ok(None) => {}
                Err(error) => inherited.strange.push(error.to_string()),
            }
        }
        inherited
    }

    /// The socket that is bound to what this URL names, if there is one.
    ///
    /// # Errors
    /// There is one, and it cannot be used.
    pub fn listener(&self, url: &ListenUrl) -> io::Result<Option<Listener>> {
        match url {
            ListenUrl::Ws { address, .. } | ListenUrl::Tcp { address, .. } => {
                Ok(self.tcp(*address)?.map(Listener::Tcp))
            }
            ListenUrl::Unix(path) => Ok(self.unix(path)?.map(|listener| Listener::Unix(listener, None))),
        }
    }

    /// The socket that is bound to this address, if there is one.
    ///
    /// # Errors
    /// There is one, and it cannot be used.
    pub fn tcp(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        for Socket { socket, is_named } in &self.sockets {
            if let Kind::Tcp(listener, bound) = socket
                && *bound == address
            {
                is_named.store(true, Ordering::Relaxed);
                return TcpListener::from_std(listener.try_clone()?).map(Some);
            }
        }
        Ok(None)
    }

    fn unix(&self, path: &Path) -> io::Result<Option<UnixListener>> {
        for Socket { socket, is_named } in &self.sockets {
            if let Kind::Unix(listener, bound) = socket
                && bound == path
            {
                is_named.store(true, Ordering::Relaxed);
                return UnixListener::from_std(listener.try_clone()?).map(Some);
            }
        }
        Ok(None)
    }

    /// Those that nobody has asked for yet, for a person to read: an address each, or what else it is.
    pub fn unnamed(&self) -> Vec<String> {
        let unnamed = self.sockets.iter().filter(|socket| !socket.is_named.load(Ordering::Relaxed));
        let addresses = unnamed.map(|Socket { socket, .. }| match socket {
            Kind::Tcp(_, address) => address.to_string(),
            Kind::Unix(_, path) => path.display().to_string(),
        });
        addresses.chain(self.strange.iter().cloned()).collect()
    }
}

/// The listening socket at this place.
fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Kind>> {
    let not_listening = || io::Error::other(format!("socket {index} of LISTEN_FDS does not listen"));
    if let Ok(taken) = passed.take_tcp_listener(index) {
        return taken
            .map(|listener| {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                match SockRef::from(&listener).is_listener()? {
                    true => Ok(Kind::Tcp(listener, address)),
                    false => Err(not_listening()),
                }
            })
            .transpose();
    }
    let Some(listener) = passed.take_unix_listener(index)? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(not_listening());
    }
    // Without a path it is abstract, and no URL names it.
    let path = listener.local_addr()?.as_pathname().map_or_else(PathBuf::new, Path::to_owned);
    Ok(Some(Kind::Unix(listener, path)))
}
