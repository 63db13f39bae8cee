//! Who may come in. Whoever may not is told so, is counted, and has had nothing dialled for it.

mod addresses;
mod config;
mod hostile;
mod origins;
mod requests;
mod sent;
mod tokens;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Natpulse, Page, connect_from, exchange};
use crate::process::within;
use crate::raw::upgrade;

/// natpulse in front of a backend that notices whoever it is dialled for.
struct Scene {
    natpulse: Natpulse,
    backend: TcpListener,
}

impl Scene {
    /// A bridge `b` at `ws://127.0.0.1:0/`, with these settings.
    async fn new(settings: &str) -> Scene {
        Scene::listening("ws://127.0.0.1:0/", settings).await
    }

    /// The same for a bridge that listens there.
    async fn listening(listen: &str, settings: &str) -> Scene {
        Scene::start(&[("b", listen, settings)]).await
    }

    /// Bridges at one address, `b` among them, by name, path and settings.
    async fn with(bridges: &[(&str, &str, &str)]) -> Scene {
        let listens: Vec<_> = bridges.iter().map(|(_, path, _)| format!("ws://127.0.0.1:0{path}")).collect();
        let bridges =
            bridges.iter().zip(&listens).map(|((name, _, settings), listen)| (*name, &**listen, *settings));
        Scene::start(&bridges.collect::<Vec<_>>()).await
    }

    async fn start(bridges: &[(&str, &str, &str)]) -> Scene {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", backend.local_addr().unwrap());
        let bridges = bridges.iter().map(|(name, listen, settings)| {
            format!("[[bridge]]\nname = \"{name}\"\nlisten = \"{listen}\"\nbackend = \"{url}\"\n{settings}\n")
        });
        Scene { natpulse: Natpulse::start(&bridges.collect::<String>()).await, backend }
    }

    /// What a client with this request is answered: the status, where it is none that opens a session.
    async fn answer(&self, request: &str) -> Page {
        exchange(TcpStream::connect(self.natpulse.addr("b")), request).await
    }

    /// Whether a client from this address gets a session with this request; the status otherwise.
    async fn opens(&self, from: &str, request: &str) -> Result<(), u16> {
        let connecting = connect_from(from, self.natpulse.addr("b"));
        let mut stream = within("a connection", connecting).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        let met = async {
            let read = stream.read_exact(&mut start).await.unwrap();
            assert_eq!(read, start.len());
            std::str::from_utf8(&start[9..]).unwrap().parse::<u16>().unwrap()
        };
        match within(&format!("the answer to {request:?}"), met).await {
            101 => {
                // This client's own: none was dialled for those that were turned away before it.
                let (dialled, _) = within("the dial", self.backend.accept()).await.unwrap();
                drop(dialled);
                Ok(())
            }
            status => Err(status),
        }
    }

    /// How many there were of a kind, over all bridges.
    async fn counted(&self, name: &str, result: &str) -> f64 {
        let (name, result) = (format!("natpulse_{name}_total{{"), format!("result=\"{result}\""));
        let metrics = self.natpulse.metrics().await;
        let of_kind =
            metrics.iter().filter(|(series, _)| series.starts_with(&name) && series.contains(&result));
        of_kind.map(|(_, count)| count).sum()
    }

    /// Waits until so many attempts had this result: they are counted a moment after they are told.
    async fn counts(&self, result: &str, count: f64) {
        within(&format!("{count} {result}"), async {
            while self.counted("handshakes", result).await != count {}
        })
        .await;
    }

    /// As many connections reached the backend as `opens` has seen, and not one more.
    async fn dialled_nobody_else(self) {
        // A dial is counted before its client is told, and the client's handshake a moment after that.
        let dials = self.counted("backend_dials", "connected").await;
        self.counts("accepted", dials).await;
        self.natpulse.stop().await;
    }
}

/// An upgrade request with more header lines.
fn with(lines: &str) -> String {
    upgrade("/").replacen("Connection:", &format!("{lines}\r\nConnection:"), 1)
}
