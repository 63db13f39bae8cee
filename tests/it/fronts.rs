//! natpulse behind other proxies, and in front of backends that want to know who the client is.

mod config;
mod header;
mod proxies;

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::process::within;

/// A connection from a loopback address of one's own.
async fn connect_from(host: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// What a backend is told before anything else: the line of version 1, or the bytes of version 2.
async fn told(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let told = async {
        let mut header = vec![0; 1];
        stream.read_exact(&mut header).await.unwrap();
        if header[0] == b'P' {
            stream.read_until(b'\n', &mut header).await.unwrap();
            return header;
        }
        header.resize(16, 0);
        stream.read_exact(&mut header[1..]).await.unwrap();
        let length = u16::from_be_bytes([header[14], header[15]]);
        header.resize(16 + usize::from(length), 0);
        stream.read_exact(&mut header[16..]).await.unwrap();
        header
    };
    within("a PROXY header", told).await
}

/// The next connection of natpulse to a backend.
async fn dialled(server: &TcpListener) -> BufReader<TcpStream> {
    BufReader::new(within("natpulse to dial", server.accept()).await.unwrap().0)
}
