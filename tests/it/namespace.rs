//! Linux network namespaces: networks of their own, on this machine.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;

use crate::process::PATIENCE;
use crate::tools::{output, program};

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

    /// A network of its own, with nothing in it but a loopback device.
    pub async fn alone() -> Namespace {
        assert!(geteuid().is_root(), "this test makes a network namespace, and so needs to run as root");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("natpulse-alone-{}-{number}", std::process::id());
        let ip = |arguments: &str| {
            let mut command = Command::new(program("ip"));
            command.args(arguments.split(' '));
            output(PATIENCE, command)
        };
        ip(&format!("netns add {name}")).await;
        ip(&format!("-n {name} link set lo up")).await;
        let namespace = Namespace::open(&name);
        ip(&format!("netns delete {name}")).await;
        namespace
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

    /// A file that stands for it, for as long as this lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
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
