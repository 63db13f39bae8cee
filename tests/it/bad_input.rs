//! What clients and backends do wrong, by accident or on purpose. Each of these tests keeps
//! a session of a well-behaved pair open beside the offence, which must not notice, and looks
//! afterwards whether anything was left behind.

mod backends;
pub mod config;
mod frames;
mod gone;
mod refusal;
mod requests;
mod streams;

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::ends::{Backend, Framing, Receiver, Sender, connect};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{CLOSE, FIN, RawWs};

/// natpulse with an innocent session on one of its bridges.
struct Scene {
    natpulse: Natpulse,
    fds: usize,
    near: (Sender, Receiver),
    far: (Sender, Receiver),
    offences: usize,
}

impl Scene {
    /// Starts natpulse, and opens the innocent session on `bridge`, which leads to `server`.
    async fn new(config: &str, bridge: &str, framing: Framing, server: &Backend) -> Scene {
        let natpulse = Natpulse::start(config).await;
        let fds = natpulse.fds();
        let url = natpulse.url(bridge);
        let (near, far) =
            within("the bystander", async { tokio::join!(connect(&url, framing), server.accept()) }).await;
        let far = far.expect("a backend of the test's own");
        let mut scene = Scene { natpulse, fds, near, far, offences: 0 };
        scene.undisturbed().await;
        scene
    }

    /// The bystander's messages still cross, both ways.
    async fn undisturbed(&mut self) {
        let exchange = async {
            self.near.0.send(b"still there?").await;
            assert_eq!(self.far.1.receive().await, b"still there?");
            self.far.0.send(&[7; 70_000]).await;
            assert_eq!(self.near.1.receive().await, [7; 70_000]);
        };
        within("the bystander's messages", exchange).await;
    }

    /// Waits for the session of the latest offence to be over, and for this reason.
    async fn offended(&mut self, what: &str, reason: &str) {
        let closed = &self.natpulse.closed_sessions(self.offences + 1).await[self.offences];
        assert_eq!(closed["reason"], reason, "{what}: {closed}");
        self.offences += 1;
        self.undisturbed().await;
    }

    /// Ends the innocent session too; nothing is left then.
    async fn end(mut self) {
        let ends = async {
            tokio::join!(self.near.0.finish(), self.far.1.end());
            tokio::join!(self.far.0.finish(), self.near.1.end());
        };
        within("the bystander's end", ends).await;
        drop((self.near, self.far));
        self.natpulse.settles_to(self.fds).await;
        let closed = self.natpulse.closed_sessions(self.offences + 1).await;
        assert_eq!(closed[self.offences]["reason"], "client_closed", "the bystander was disturbed");
        self.natpulse.stop().await;
    }
}

/// The configuration of a bridge with a name, its ends as they stand in the file.
fn bridge(name: &str, listen: &str, backend: &str) -> String {
    format!("[[bridge]]\nname = \"{name}\"\nlisten = {listen}\nbackend = {backend}\n")
}

fn quoted(url: &str) -> String {
    format!("\"{url}\"")
}

fn framed(url: &str, framing: Framing) -> String {
    format!("{{ url = \"{url}\", framing = \"{}\" }}", framing.word())
}

/// A session between a WebSocket client and a TCP backend, both in the test's own hands.
async fn ws_to_tcp(addr: SocketAddr, path: &str, server: &Backend) -> (RawWs, TcpStream) {
    let both = async { tokio::join!(RawWs::open(addr, path), server.tcp().accept()) };
    let (client, backend) = within("a session to break", both).await;
    (client.unwrap(), backend.unwrap().0)
}

/// A session between a TCP client and a TCP backend, both in the test's own hands.
async fn tcp_to_tcp(addr: SocketAddr, server: &Backend) -> (TcpStream, TcpStream) {
    let both = async { tokio::join!(TcpStream::connect(addr), server.tcp().accept()) };
    let (client, backend) = within("a session to break", both).await;
    (client.unwrap(), backend.unwrap().0)
}

/// Connects to a port that may reset at once; returns what came, and whether it did.
async fn connect_and_read(addr: SocketAddr) -> (Vec<u8>, bool) {
    match TcpStream::connect(addr).await {
        Ok(mut stream) => rest(&mut stream).await,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (Vec::new(), true),
        Err(error) => panic!("cannot connect: {error}"),
    }
}

/// Everything that comes until the connection ends, and whether it ended with a reset.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match within("the end of a connection", stream.read_to_end(&mut bytes)).await {
        Ok(_) => (bytes, false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (bytes, true),
        Err(error) => panic!("neither an end nor a reset: {error}"),
    }
}

/// The close code a client is told, which must be the next thing, with nothing after it once
/// it is answered.
async fn told(client: &mut RawWs) -> u16 {
    let frame = within("a close frame", client.frame()).await.expect("a close frame before the end");
    let code = frame.close_code();
    client.send(FIN | CLOSE, &code.to_be_bytes()).await.unwrap();
    let (rest, was_reset) = rest(&mut client.io).await;
    assert_eq!((rest, was_reset), (Vec::new(), false), "behind the close frame");
    code
}
