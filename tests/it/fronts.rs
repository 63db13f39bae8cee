//! natpulse behind other proxies, and in front of backends that want to know who the client is.

mod config;
mod header;
mod proxies;

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::process::within;

/// What a backend is told before anything else: the line of version 1, or the bytes of version 2.
async fn told(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let told = async {
        let mut header = vec![stream.read_u8().await.unwrap()];
        if header[0] == b'P' {
            // Byte by byte, since what is behind it may be for somebody else to read.
            while !header.ends_with(b"\n") {
                header.push(stream.read_u8().await.unwrap());
            }
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
