//! Backends that go away and come back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::backends::echo_records;
use crate::raw::{BINARY, CLOSE, FIN, PING, PONG, RawWs, server_frame};
use crate::tools::free_addr;

/// How long one is away.
const AWAY: Duration = Duration::from_secs(1);

/// What a backend speaks.
#[derive(Clone, Copy, Debug)]
pub enum Speech {
    /// Records behind four bytes of length, in network order; "ping" is a beat, and answered "pong".
    Records,
    /// WebSocket.
    WebSocket,
}

/// An echo service.
pub struct Backend {
    pub addr: SocketAddr,
    speech: Speech,
    serving: Option<JoinHandle<()>>,
    /// Odd while it is away.
    pub epoch: Arc<AtomicU64>,
}

impl Backend {
    pub async fn start(speech: Speech) -> Backend {
        let mut backend =
            Backend { addr: free_addr(), speech, serving: None, epoch: Arc::new(AtomicU64::new(0)) };
        backend.serve().await;
        backend
    }

    async fn serve(&mut self) {
        let (listener, speech) = (TcpListener::bind(self.addr).await.unwrap(), self.speech);
        self.serving = Some(tokio::spawn(async move {
            // They go when it goes.
            let mut sessions = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        stream.set_nodelay(true).unwrap();
                        sessions.spawn(async move {
                            // A client that leaves, however it does, is nothing to us.
                            let _ = match speech {
                                Speech::Records => echo_records(stream, answer_beats).await,
                                Speech::WebSocket => messages(stream).await,
                            };
                        });
                    }
                    Some(_) = sessions.join_next() => {}
                }
            }
        }));
    }

    /// Goes away with all connections, and comes back a moment later.
    pub async fn restart(&mut self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
        sleep(AWAY).await;
        self.serve().await;
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

fn answer_beats(record: &mut [u8]) {
    if record == b"ping" {
        record.copy_from_slice(b"pong");
    }
}

async fn messages(stream: TcpStream) -> io::Result<()> {
    let mut ws = RawWs::accept(stream).await?;
    let mut message = Vec::new();
    loop {
        let frame = ws.frame().await?;
        match frame.opcode() {
            CLOSE => return ws.io.write_all(&server_frame(FIN | CLOSE, &frame.payload)).await,
            PING => {
                ws.io.write_all(&server_frame(FIN | PONG, &frame.payload)).await?;
            }
            PONG => {}
            _ => {
                message.extend_from_slice(&frame.payload);
                if frame.first & FIN != 0 {
                    ws.io.write_all(&server_frame(FIN | BINARY, &message)).await?;
                    message.clear();
                }
            }
        }
    }
}
