//! WebSocket written by hand: it can break every rule, costs little enough to have thousands
//! of, and shows frames as they are, where a library would join or hide them.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
/// The bit of a frame's first byte that says it is its message's last.
pub const FIN: u8 = 0x80;

/// The key every frame here is masked with: unpredictability is for real clients.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An upgrade request for `path` as it should be.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The answer to that key (RFC 6455 section 1.3).
const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client frame's header: `first` holds FIN, the reserved bits and the opcode.
pub fn frame_header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..126 => header.push(0x80 | length as u8),
        126..65536 => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&length.to_be_bytes());
        }
    }
    header.extend_from_slice(&MASK);
    header
}

/// A client frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame as a server writes it.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = server_frame_header(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

pub fn server_frame_header(first: u8, length: u64) -> Vec<u8> {
    let mut header = frame_header(first, length);
    header.truncate(header.len() - MASK.len());
    header[1] &= 0x7f;
    header
}

/// Reads an upgrade request, and returns the key that accepts it.
pub async fn requested(stream: &mut TcpStream) -> io::Result<String> {
    let mut io = BufReader::with_capacity(512, stream);
    let mut key = None;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if io.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = Some(derive_accept_key(value.trim().as_bytes()));
        }
    }
    // A client says nothing more before it has the answer.
    assert!(io.buffer().is_empty());
    key.ok_or_else(|| io::Error::other("no key"))
}

/// The answer that opens a WebSocket, with this key.
pub fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// What stands in front of a frame's payload.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub first: u8,
    pub length: u64,
    pub mask: Option<[u8; 4]>,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn opcode(&self) -> u8 {
        self.first & 0xf
    }

    /// The code of a close frame.
    pub fn close_code(&self) -> u16 {
        assert_eq!(self.opcode(), CLOSE, "instead of a close: {:02x}", self.first);
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

pub struct RawWs<R = TcpStream> {
    pub io: BufReader<R>,
}

impl RawWs {
    /// Opens a WebSocket at `path`.
    pub async fn open(addr: SocketAddr, path: &str) -> io::Result<RawWs> {
        RawWs::upgrade(TcpStream::connect(addr).await?, path).await
    }

    /// Opens a WebSocket on a connection that is there already.
    pub async fn upgrade(mut stream: TcpStream, path: &str) -> io::Result<RawWs> {
        stream.set_nodelay(true)?;
        stream.write_all(upgrade(path).as_bytes()).await?;
        let mut io = BufReader::with_capacity(512, stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if io.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let is_accepted = head.starts_with("HTTP/1.1 101 ")
            && head.lines().any(|line| {
                // Names of headers have no case, the value has.
                let (name, value) = line.split_once(':').unwrap_or_default();
                format!("{}:{value}", name.to_lowercase()) == ACCEPT
            });
        if !is_accepted {
            return Err(io::Error::other(head));
        }
        Ok(RawWs { io })
    }

    /// Accepts a WebSocket as a server.
    pub async fn accept(mut stream: TcpStream) -> io::Result<RawWs> {
        stream.set_nodelay(true)?;
        let accept = requested(&mut stream).await?;
        stream.write_all(switching(&accept).as_bytes()).await?;
        Ok(RawWs { io: BufReader::new(stream) })
    }

    /// Sends a frame as a client.
    pub async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.io.write_all(&frame(first, payload)).await
    }

    /// Both directions apart. Nothing may have come yet.
    pub fn split(self) -> (RawWs<OwnedReadHalf>, OwnedWriteHalf) {
        assert!(self.io.buffer().is_empty());
        let (reader, writer) = self.io.into_inner().into_split();
        (RawWs { io: BufReader::with_capacity(64 << 10, reader) }, writer)
    }

    /// Closes the connection with a reset.
    pub fn abort(self) {
        self.io.get_ref().set_zero_linger().unwrap();
    }

    /// Leaves politely: says goodbye, and waits for the answer and the end.
    pub async fn leave(mut self) {
        self.send(FIN | CLOSE, &1000u16.to_be_bytes()).await.unwrap();
        while self.frame().await.unwrap().opcode() != CLOSE {}
        assert_eq!(self.io.read(&mut [0; 1]).await.unwrap(), 0, "something after the close");
    }
}

impl<R: tokio::io::AsyncRead + Unpin> RawWs<R> {
    /// The next frame's header; its payload is still to be read.
    pub async fn header(&mut self) -> io::Result<Header> {
        let first = self.io.read_u8().await?;
        let second = self.io.read_u8().await?;
        let length = match second & 0x7f {
            126 => self.io.read_u16().await?.into(),
            127 => self.io.read_u64().await?,
            length => length.into(),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            self.io.read_exact(mask.insert([0; 4])).await?;
        }
        Ok(Header { first, length, mask })
    }

    pub async fn frame(&mut self) -> io::Result<Frame> {
        let Header { first, length, mask } = self.header().await?;
        let mut payload = vec![0; length as usize];
        self.io.read_exact(&mut payload).await?;
        if let Some(mask) = mask {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        Ok(Frame { first, payload })
    }

    /// The next message, its fragments joined: its kind and its payload. Beats on the way to it are not answered.
    pub async fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let Frame { mut first, mut payload } = self.frame_but_no_ping().await?;
        let kind = first & !FIN;
        assert!(kind == TEXT || kind == BINARY, "instead of a message: {first:02x} {payload:?}");
        while first & FIN == 0 {
            let frame = self.frame_but_no_ping().await?;
            first = frame.first;
            assert_eq!(first & !FIN, CONTINUATION, "within a message");
            payload.extend_from_slice(&frame.payload);
        }
        Ok((kind, payload))
    }

    async fn frame_but_no_ping(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.opcode() != PING {
                return Ok(frame);
            }
        }
    }
}
