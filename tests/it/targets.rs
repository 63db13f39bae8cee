//! Where sessions go: backends that a client names, that a token stands for, or of which there are several.

mod addresses;
mod config;
mod secured;
mod several;
mod tokens;
mod vnc;
mod web;
mod websockify;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{RawWs, upgrade};

/// What an upgrade of this path is answered: the status.
async fn status(addr: SocketAddr, path: &str) -> u16 {
    status_on(TcpStream::connect(addr), path).await
}

/// The same on a connection that is made in some other way.
async fn status_on(connecting: impl Future<Output = io::Result<TcpStream>>, path: &str) -> u16 {
    let met = async {
        let mut stream = connecting.await.unwrap();
        stream.write_all(upgrade(path).as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
    };
    within(&format!("the answer to {path}"), met).await
}

/// What a bridge's backend, which sends its name, is called.
async fn name_of(natpulse: &Natpulse, bridge: &str, path: &str) -> String {
    let met = async {
        let mut socket = RawWs::open(natpulse.addr(bridge), path).await.unwrap();
        let (_, name) = socket.message().await.unwrap();
        String::from_utf8(name).unwrap()
    };
    within(&format!("the backend of {path}"), met).await
}

/// Waits until a series has this value: what is told is counted a moment later.
async fn counts(natpulse: &Natpulse, series: &str, value: f64) {
    let what = format!("{series} to be {value}");
    within(&what, async { while natpulse.metrics().await.get(series) != Some(&value) {} }).await;
}

/// The series of attempts on the bridge `b` with this result.
fn attempts(result: &str) -> String {
    format!("natpulse_handshakes_total{{bridge=\"b\",result=\"{result}\"}}")
}
