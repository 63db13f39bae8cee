//! How much a client may take, and what those get who want more.

mod ages;
mod config;
mod counts;
mod floods;

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Natpulse, Page, exchange};
use crate::process::within;
use crate::raw::{RawWs, upgrade};

/// A bridge "b" from WebSocket to an echo, with these lines in its table and in front of it.
fn echo(settings: &str, lines: &str) -> String {
    format!(
        "{settings}\n[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n{lines}\n\
         [heartbeat]\nmin = \"5m\"\n"
    )
}

/// A connection from a loopback address of one's own.
async fn from(host: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{host}:0").parse().unwrap())?;
    socket.connect(to).await
}

/// A session of a client with this address.
async fn session(natpulse: &Natpulse, host: &str) -> RawWs {
    let opening = async { RawWs::upgrade(from(host, natpulse.addr("b")).await?, "/").await };
    within("a session", opening).await.unwrap()
}

/// What a client with this address is answered that wants a session.
async fn refused(natpulse: &Natpulse, host: &str) -> Page {
    exchange(from(host, natpulse.addr("b")), &upgrade("/")).await
}

/// Waits until so many handshakes had this result.
async fn counted(natpulse: &Natpulse, result: &str, count: f64) {
    let series = format!("natpulse_handshakes_total{{bridge=\"b\",result=\"{result}\"}}");
    within(&series, async { while natpulse.metrics().await[&series] != count {} }).await;
}
