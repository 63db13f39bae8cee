//! Clients of every kind, which send what they are to get back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A heartbeat of the legacy protocol.
const BEAT: [u8; 4] = [0xab, 0xcd, 0, 0];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a client speaks.
#[derive(Clone)]
pub enum Kind {
    Ws(String),
    Wss(TlsConnector, String),
    /// Records behind a length in network order.
    Records,
    /// Records behind a length in Intel's order, with bare beats between them.
    Legacy,
}

pub enum Client {
    Ws(Box<WebSocketStream<TcpStream>>),
    Wss(Box<WebSocketStream<TlsStream<TcpStream>>>),
    Records(TcpStream),
    Legacy(TcpStream),
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Client {
    /// A session. A WebSocket that is refused is an error, and so is one that takes too long.
    pub async fn open(kind: &Kind, addr: SocketAddr) -> io::Result<Client> {
        let opening = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(match kind {
                Kind::Ws(url) => {
                    let ws = tokio_tungstenite::client_async(url, stream).await;
                    Client::Ws(Box::new(ws.map_err(broken)?.0))
                }
                Kind::Wss(connector, url) => {
                    let name = ServerName::try_from("localhost").unwrap();
                    let stream = connector.connect(name, stream).await?;
                    let ws = tokio_tungstenite::client_async(url, stream).await;
                    Client::Wss(Box::new(ws.map_err(broken)?.0))
                }
                Kind::Records => Client::Records(stream),
                Kind::Legacy => Client::Legacy(stream),
            })
        };
        timeout(PATIENCE, opening).await.map_err(broken)?
    }

    /// Sends messages, and reads as many.
    pub async fn exchange(&mut self, messages: &[Vec<u8>]) -> io::Result<Vec<Vec<u8>>> {
        let exchange = async {
            for message in messages {
                self.send(message).await?;
            }
            let mut heard = Vec::new();
            while heard.len() < messages.len() {
                heard.push(self.receive().await?);
            }
            Ok(heard)
        };
        timeout(PATIENCE, exchange).await.map_err(|_| broken("no answer"))?
    }

    /// Sends nothing for a while; only beats may come, which are answered.
    pub async fn rest(&mut self, pause: Duration) -> io::Result<()> {
        match timeout(pause, self.receive()).await {
            Err(_) => Ok(()),
            Ok(heard) => Err(heard.map_or_else(|end| end, |message| broken(format!("unasked: {message:?}")))),
        }
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let whole = |length: [u8; 4]| [&length[..], message].concat();
        let length = message.len() as u32;
        match self {
            Client::Ws(ws) => ws.send(Message::binary(message.to_vec())).await.map_err(broken),
            Client::Wss(ws) => ws.send(Message::binary(message.to_vec())).await.map_err(broken),
            Client::Records(stream) => stream.write_all(&whole(length.to_be_bytes())).await,
            Client::Legacy(stream) => stream.write_all(&whole(length.to_le_bytes())).await,
        }
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let message = match self {
                Client::Ws(ws) => ws.next().await,
                Client::Wss(ws) => ws.next().await,
                Client::Records(stream) => return record(stream, false).await,
                Client::Legacy(stream) => return record(stream, true).await,
            };
            match message {
                Some(Ok(Message::Binary(payload))) => return Ok(payload.to_vec()),
                // It answers pings by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => return Err(broken(format!("told {other:?}"))),
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(broken("the end")),
            }
        }
    }

    /// Says goodbye, and waits until all is over.
    pub async fn leave(self) -> io::Result<()> {
        let leaving = async {
            match self {
                Client::Ws(mut ws) => {
                    (*ws).close(None).await.map_err(broken)?;
                    while let Some(Ok(_)) = ws.next().await {}
                }
                Client::Wss(mut ws) => {
                    (*ws).close(None).await.map_err(broken)?;
                    while let Some(Ok(_)) = ws.next().await {}
                }
                Client::Records(mut stream) | Client::Legacy(mut stream) => {
                    stream.shutdown().await?;
                    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
                }
            }
            Ok(())
        };
        timeout(PATIENCE, leaving).await.map_err(|_| broken("no goodbye"))?
    }
}

/// The next record. It may be dropped while nothing comes but beats: four bytes, which come together.
async fn record(stream: &mut TcpStream, is_legacy: bool) -> io::Result<Vec<u8>> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        if is_legacy && length == BEAT {
            stream.write_all(&BEAT).await?;
            continue;
        }
        let length = if is_legacy { u32::from_le_bytes(length) } else { u32::from_be_bytes(length) };
        if length > 1 << 20 {
            return Err(broken(format!("a record of {length} bytes")));
        }
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        return Ok(payload);
    }
}
