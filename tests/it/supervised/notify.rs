//! A service manager is told what it wants to know, on a socket as systemd has.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as Datagram};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixDatagram};

use super::{ran, token_file};
use crate::harness::{Natpulse, http_get};
use crate::process::within;
use crate::raw::RawWs;
use crate::tools::TempDir;

/// Two bridges, and a window so long that nobody is asked to leave in the first moments of it.
const BRIDGES: &str = "[server]\ndrain_window = \"300d\"\n\
    [[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
    [[bridge]]\nname = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"echo:\"\n";

struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(socket: Datagram) -> Manager {
        socket.set_nonblocking(true).unwrap();
        Manager { socket: UnixDatagram::from_std(socket).unwrap() }
    }

    /// The next words for which `pick` says yes.
    async fn hears(&self, what: &str, pick: impl Fn(&str) -> bool) -> String {
        let hearing = async {
            let mut words = [0; 1024];
            loop {
                let length = self.socket.recv(&mut words).await.unwrap();
                let words = std::str::from_utf8(&words[..length]).unwrap();
                if pick(words) {
                    return words.to_owned();
                }
            }
        };
        within(&format!("to be told {what}"), hearing).await
    }

    /// Whether it was told such a thing meanwhile.
    fn has_heard(&self, pick: impl Fn(&str) -> bool) -> bool {
        let mut words = [0; 1024];
        loop {
            match self.socket.try_recv(&mut words) {
                Ok(length) if pick(std::str::from_utf8(&words[..length]).unwrap()) => return true,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return false;
                }
            }
        }
    }
}

#[tokio::test]
async fn it_is_told_of_readiness_of_life_and_of_leaving() {
    const WATCHDOG: Duration = Duration::from_millis(400);
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::new(Datagram::bind(&path).unwrap());
    let config = format!("{BRIDGES}[admin]\nlisten = \"127.0.0.1:0\"\n");
    let mut natpulse = Natpulse::launch(&config, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    })
    .await;
    assert_eq!(manager.hears("anything", |_| true).await, "READY=1\nSTATUS=serving 2 bridges");
    // It is ready indeed.
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(RawWs::open(natpulse.addr("ws"), "/").await.unwrap());
    }
    TcpStream::connect(natpulse.addr("tcp")).await.unwrap();

    let begun = Instant::now();
    for _ in 0..6 {
        assert_eq!(manager.hears("that it lives", |_| true).await, "WATCHDOG=1");
    }
    // Half of the time apart, of which some may have waited in the socket.
    assert!(begun.elapsed() > WATCHDOG, "{:?}", begun.elapsed());

    natpulse.closed_sessions(1).await;
    natpulse.terminate();
    manager.hears("that it stops", |words| words == "STOPPING=1").await;
    let wait = "EXTEND_TIMEOUT_USEC=31000000";
    let left = format!("STATUS=draining: 2 sessions left\n{wait}");
    manager.hears("who is left", |words| words == left).await;
    manager.hears("that it still lives", |words| words == "WATCHDOG=1").await;
    clients.pop().unwrap().leave().await;
    let left = format!("STATUS=draining: 1 session left\n{wait}");
    manager.hears("who is left now", |words| words == left).await;
    clients.pop().unwrap().leave().await;
    assert_eq!(natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_that_the_operator_asks_for_is_no_stop() {
    let dir = TempDir::new();
    let name = format!("natpulse-it-{}-notify", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::new(Datagram::bind_addr(&address).unwrap());
    let token = token_file(&dir);
    let config = format!("{BRIDGES}[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{token}\"\n");
    let mut natpulse = Natpulse::launch(&config, |command| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "1000000");
        // Somebody else's.
        command.env("WATCHDOG_PID", "1");
    })
    .await;
    manager.hears("that it is ready", |words| words.starts_with("READY=1\n")).await;
    let client = RawWs::open(natpulse.addr("ws"), "/").await.unwrap();

    let admin = format!("http://{}", natpulse.admin());
    let (code, said) = ran(&["drain", &admin, "--token-file", &token]).await;
    assert_eq!(code, Some(0), "{said}");
    // Systemd would take STOPPING for the end, and send no SIGTERM any more.
    let told = manager.hears("anything", |_| true).await;
    assert_eq!(told, "STATUS=draining: 1 session left");
    client.leave().await;
    let drained = "STATUS=drained, waiting to be stopped";
    manager.hears("that all have gone", |words| words == drained).await;
    assert_eq!(http_get(natpulse.admin(), "/healthz").await.status, 200);
    assert!(!manager.has_heard(|words| words != drained));
    natpulse.terminate();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    assert!(!manager.has_heard(|words| words.contains("WATCHDOG")));
}

#[tokio::test]
async fn a_manager_that_hears_nothing_holds_nothing_up() {
    let natpulse = Natpulse::launch(BRIDGES_AND_ADMIN, |command| {
        command.env("NOTIFY_SOCKET", "/nowhere/notify").env("WATCHDOG_USEC", "20000");
    })
    .await;
    natpulse.event("the service manager cannot be told anything", |_| true).await;
    RawWs::open(natpulse.addr("ws"), "/").await.unwrap().leave().await;
    assert_eq!(natpulse.logged("the service manager cannot be told anything").len(), 1);
    natpulse.stop().await;
    let natpulse = Natpulse::launch(BRIDGES_AND_ADMIN, |command| {
        command.env("NOTIFY_SOCKET", "vsock:2:1234");
    })
    .await;
    natpulse.event("NOTIFY_SOCKET = vsock:2:1234: it is neither a path nor begins with @", |_| true).await;
    natpulse.stop().await;
}

const BRIDGES_AND_ADMIN: &str = "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
    [admin]\nlisten = \"127.0.0.1:0\"\n";
