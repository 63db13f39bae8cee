//! The client's and the backend's end of a bridge under test, whatever scheme each speaks.

use std::path::Path;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::harness::{Ws, authority, ws_connect};

/// How records are framed, written a second time and independently of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Raw,
    U32be,
    U24le,
    U64be,
    Varint,
}

impl Framing {
    pub fn word(self) -> &'static str {
        match self {
            Framing::Raw => "raw",
            Framing::U32be => "u32be",
            Framing::U24le => "u24le",
            Framing::U64be => "u64be",
            Framing::Varint => "varint",
        }
    }

    /// What stands in front of a record of this length.
    pub fn prefix(self, length: usize) -> Vec<u8> {
        match self {
            Framing::Raw => Vec::new(),
            Framing::U32be => (length as u32).to_be_bytes().to_vec(),
            Framing::U24le => (length as u32).to_le_bytes()[..3].to_vec(),
            Framing::U64be => (length as u64).to_be_bytes().to_vec(),
            Framing::Varint => {
                let mut rest = length;
                let mut prefix = Vec::new();
                while rest >= 0x80 {
                    prefix.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                prefix.push(rest as u8);
                prefix
            }
        }
    }

    async fn read_length(self, reader: &mut (impl AsyncRead + Unpin)) -> usize {
        let length = match self {
            Framing::Raw => panic!("a raw stream has no records"),
            Framing::U32be => u64::from(reader.read_u32().await.unwrap()),
            Framing::U24le => {
                let mut bytes = [0; 4];
                reader.read_exact(&mut bytes[..3]).await.unwrap();
                u64::from(u32::from_le_bytes(bytes))
            }
            Framing::U64be => reader.read_u64().await.unwrap(),
            Framing::Varint => {
                let (mut length, mut shift) = (0, 0);
                loop {
                    let byte = reader.read_u8().await.unwrap();
                    length |= u64::from(byte & 0x7f) << shift;
                    shift += 7;
                    if byte < 0x80 {
                        break length;
                    }
                }
            }
        };
        length as usize
    }
}

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub enum Sender {
    Ws(SplitSink<Ws, Message>),
    Stream(WriteHalf<Box<dyn Duplex>>, Framing),
}

pub enum Receiver {
    Ws(SplitStream<Ws>),
    Stream(BufReader<ReadHalf<Box<dyn Duplex>>>, Framing),
}

fn ws_end(ws: Ws) -> (Sender, Receiver) {
    let (sink, stream) = ws.split();
    (Sender::Ws(sink), Receiver::Ws(stream))
}

/// One end, on a byte stream that is there already.
pub fn stream_end(stream: impl Duplex + 'static, framing: Framing) -> (Sender, Receiver) {
    let (reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Duplex>);
    (Sender::Stream(writer, framing), Receiver::Stream(BufReader::new(reader), framing))
}

impl Sender {
    pub async fn send(&mut self, payload: &[u8]) {
        match self {
            Sender::Ws(sink) => sink.send(Message::binary(payload.to_vec())).await.unwrap(),
            Sender::Stream(writer, framing) => {
                writer.write_all(&framing.prefix(payload.len())).await.unwrap();
                writer.write_all(payload).await.unwrap();
            }
        }
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) {
        match self {
            Sender::Ws(sink) => sink.close().await.unwrap(),
            Sender::Stream(writer, _) => writer.shutdown().await.unwrap(),
        }
    }
}

impl Receiver {
    /// The next message.
    pub async fn receive(&mut self) -> Vec<u8> {
        match self {
            Receiver::Ws(stream) => loop {
                match stream.next().await.expect("a message before the end").unwrap() {
                    Message::Binary(payload) => return payload.into(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("instead of a binary message: {other:?}"),
                }
            },
            Receiver::Stream(reader, framing) => {
                let mut record = vec![0; framing.read_length(reader).await];
                reader.read_exact(&mut record).await.unwrap();
                record
            }
        }
    }

    /// At least one byte, where there are no messages to speak of.
    pub async fn receive_some(&mut self) -> Vec<u8> {
        if let Receiver::Stream(reader, Framing::Raw) = self {
            let mut bytes = Vec::with_capacity(64 << 10);
            reader.read_buf(&mut bytes).await.unwrap();
            return bytes;
        }
        self.receive().await
    }

    /// Waits for the end, which must be the next thing to come.
    pub async fn end(&mut self) {
        match self {
            Receiver::Ws(stream) => {
                while let Some(message) = stream.next().await {
                    assert!(matches!(message, Ok(Message::Close(_))), "instead of the end: {message:?}");
                }
            }
            Receiver::Stream(reader, _) => assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 0),
        }
    }
}

/// Connects a client to what natpulse listens on.
pub async fn connect(url: &str, framing: Framing) -> (Sender, Receiver) {
    let (scheme, path) = url.split_once("://").unwrap();
    match scheme {
        "ws" => ws_end(ws_connect(url, None).await.0),
        "tcp" => stream_end(TcpStream::connect(authority(url)).await.unwrap(), framing),
        "unix" => stream_end(UnixStream::connect(path).await.unwrap(), framing),
        _ => panic!("no client for {url}"),
    }
}

/// Where a backend listens.
pub enum Backend {
    Ws(TcpListener),
    Tcp(TcpListener, Framing),
    Unix(UnixListener, Framing),
    Echo,
}

impl Backend {
    /// Listens, and returns the URL for natpulse to dial.
    pub async fn bind(scheme: &str, dir: &Path, framing: Framing) -> (Backend, String) {
        let tcp = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            (listener, addr)
        };
        match scheme {
            "ws" => {
                let (listener, addr) = tcp().await;
                (Backend::Ws(listener), format!("ws://{addr}/backend"))
            }
            "tcp" => {
                let (listener, addr) = tcp().await;
                (Backend::Tcp(listener, framing), format!("tcp://{addr}"))
            }
            "unix" => {
                let path = dir.join("backend");
                let url = format!("unix://{}", path.display());
                (Backend::Unix(UnixListener::bind(path).unwrap(), framing), url)
            }
            _ => (Backend::Echo, "echo:".to_owned()),
        }
    }

    /// The socket of one that listens on TCP, for those who want to be spoken to in bytes.
    pub fn tcp(&self) -> &TcpListener {
        match self {
            Backend::Ws(listener) | Backend::Tcp(listener, _) => listener,
            Backend::Unix(..) | Backend::Echo => panic!("no TCP here"),
        }
    }

    /// The end that natpulse has dialled; there is none where it echoes by itself.
    pub async fn accept(&self) -> Option<(Sender, Receiver)> {
        match self {
            Backend::Ws(listener) => {
                let (stream, _) = listener.accept().await.unwrap();
                let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
                let ws: WebSocketStream<TcpStream> =
                    tokio_tungstenite::accept_async_with_config(stream, Some(limits)).await.unwrap();
                Some(ws_end(ws))
            }
            Backend::Tcp(listener, framing) => Some(stream_end(listener.accept().await.unwrap().0, *framing)),
            Backend::Unix(listener, framing) => {
                Some(stream_end(listener.accept().await.unwrap().0, *framing))
            }
            Backend::Echo => None,
        }
    }
}
