//! Linux network namespaces: networks of their own, on this machine.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Where `ip netns` keeps the namespaces it has named.
pub const NAMED: &str = "/var/run/netns";

/// A namespace that `ip netns` has made. It lives as long as this does, also without a name.
#[derive(Clone)]
pub struct Namespace(Arc<File>);

impl Namespace {
    pub fn open(name: &str) -> Namespace {
        let path = Path::new(NAMED).join(name);
        Namespace(Arc::new(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
    }

    /// Runs `job` inside, on a thread of its own, because a thread that has moved should do nothing else. What
    /// is made there stays there: a socket, a process and all its children.
    pub fn enter<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let moved = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            job()
        };
        let result = thread::scope(|scope| scope.spawn(moved).join());
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    pub fn socket(&self) -> TcpSocket {
        self.enter(TcpSocket::new_v4).unwrap()
    }

    pub async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        self.socket().connect(addr).await
    }

    pub fn listen(&self, addr: SocketAddr) -> TcpListener {
        let socket = self.socket();
        socket.bind(addr).unwrap();
        socket.listen(1024).unwrap()
    }
}
