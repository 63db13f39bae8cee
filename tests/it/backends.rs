//! Small TCP servers of the tests' own, each on a port the system picks.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Backend {
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Backend {
    /// Serves every connection with `handler`, each in a task of its own. An error of
    /// the handler only ends its connection: the client's side of the test sees it.
    pub async fn serve<F, S>(handler: F) -> Backend
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = io::Result<()>> + Send + 'static,
    {
        Backend::serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), handler)
    }

    /// [`Backend::serve`] on a socket that is there already.
    pub fn serve_on<F, S>(listener: TcpListener, handler: F) -> Backend
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = io::Result<()>> + Send + 'static,
    {
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(handler(stream));
            }
        });
        Backend { addr, accepting }
    }

    /// Sends back each record with a four byte big-endian length, once it is whole.
    pub async fn framed_echo() -> Backend {
        Backend::framed_echo_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// [`Backend::framed_echo`] on a socket that is there already.
    pub fn framed_echo_on(listener: TcpListener) -> Backend {
        Backend::serve_on(listener, |stream| echo_records(stream, |_| {}))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Sends back each record with a four byte big-endian length, once it is whole and was changed by `adapt`.
pub async fn echo_records(mut stream: TcpStream, adapt: impl Fn(&mut [u8])) -> io::Result<()> {
    let mut record = Vec::new();
    loop {
        let length = stream.read_u32().await?;
        record.clear();
        record.extend_from_slice(&length.to_be_bytes());
        record.resize(4 + length as usize, 0);
        stream.read_exact(&mut record[4..]).await?;
        adapt(&mut record[4..]);
        stream.write_all(&record).await?;
    }
}
