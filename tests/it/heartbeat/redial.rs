//! A WebSocket backend that dies under a client of a byte stream is dialled again.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs, server_frame};

struct Legacy {
    natpulse: Natpulse,
    client: TcpStream,
    backend: Option<RawWs>,
}

async fn accept(server: &TcpListener) -> RawWs {
    within("a dialled backend", async { RawWs::accept(server.accept().await.unwrap().0).await })
        .await
        .unwrap()
}

/// A session of a client with four length bytes in front of its records.
async fn start(server: &TcpListener) -> Legacy {
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{}/\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let (client, backend) = tokio::join!(TcpStream::connect(natpulse.addr("b")), accept(server));
    Legacy { natpulse, client: client.unwrap(), backend: Some(backend) }
}

impl Legacy {
    async fn exchange(&mut self) {
        let backend = self.backend.as_mut().unwrap();
        self.client.write_all(b"\0\0\0\x02up").await.unwrap();
        assert_eq!(within("a message", backend.message()).await.unwrap(), (BINARY, b"up".to_vec()));
        backend.io.write_all(&server_frame(FIN | BINARY, b"down")).await.unwrap();
        let mut record = [0; 8];
        within("a record", self.client.read_exact(&mut record)).await.unwrap();
        assert_eq!(&record, b"\0\0\0\x04down");
    }

    /// The client is hung up on.
    async fn ends_with(mut self, reason: &str) {
        let ended = within("the client's end", self.client.read(&mut [0; 1])).await;
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        drop(self.client);
        assert_eq!(self.natpulse.closed_sessions(1).await[0]["reason"], reason);
        self.natpulse.stop().await;
    }
}

#[tokio::test]
async fn a_client_keeps_its_connection_when_its_backend_dies_between_messages() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut legacy = start(&server).await;
    let fds = legacy.natpulse.fds();
    for _ in 0..3 {
        legacy.backend = None;
        legacy.backend = Some(accept(&server).await);
    }
    legacy.exchange().await;
    assert_eq!(legacy.natpulse.logged("the backend is back").len(), 3);
    assert_eq!(legacy.natpulse.fds(), fds);
    assert!(legacy.natpulse.logged("session closed").is_empty());
    drop((legacy.client, legacy.backend));
    legacy.natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_that_is_gone_for_a_while_is_dialled_until_it_is_back() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut legacy = start(&server).await;
    drop(server);
    legacy.backend = None;
    legacy.natpulse.event("cannot dial the backend", |_| true).await;
    let server = TcpListener::bind(address).await.unwrap();
    legacy.backend = Some(accept(&server).await);
    legacy.exchange().await;
    drop((legacy.client, legacy.backend));
    legacy.natpulse.stop().await;
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_message_is_hung_up_on_with_its_backend() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut legacy = start(&server).await;
    // The beginning of a message that is too long to be waited for.
    let mut beginning = server_frame(FIN | BINARY, &[7; 20_000]);
    beginning.truncate(18_000);
    legacy.backend.as_mut().unwrap().io.write_all(&beginning).await.unwrap();
    within("its beginning", legacy.client.read_exact(&mut [0; 4])).await.unwrap();
    legacy.backend = None;
    let mut rest = Vec::new();
    // Cut short, it must not look whole.
    assert!(within("the cut", legacy.client.read_to_end(&mut rest)).await.is_err());
    legacy.ends_with("backend_vanished").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_backend_is_gone_leaves_nothing_behind() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut legacy = start(&server).await;
    drop(server);
    legacy.backend = None;
    legacy.natpulse.event("cannot dial the backend", |_| true).await;
    legacy.client.shutdown().await.unwrap();
    legacy.ends_with("backend_vanished").await;
}
