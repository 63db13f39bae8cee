//! Clients, backends and a receiver of events that do everything there is a label for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Prometheus, local};
use crate::harness::{Natpulse, Page, exchange};
use crate::namespace::Namespace;
use crate::process::within;
use crate::raw::{BINARY, CLOSE, FIN, PING, PONG, RawWs, TEXT, frame, server_frame};

/// Where the backends listen, and who takes the events: in a network of their own, where every port is free.
const RECORDS: SocketAddr = local(9001);
/// In a network that no natpulse is in, so that silences are tried with the connections of users.
const WEB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 9, 1)), 9002);
const MUTE: SocketAddr = local(9003);
pub const EVENTS: SocketAddr = local(9004);
/// A bridge of the natpulse under test, which another of its bridges has for a backend.
const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 8, 1)), 9005);

/// What the admin port asks for.
pub const TOKEN: &str = "a token for nobody else";

/// So many sessions may be open at once.
pub const SESSIONS: usize = 64;

/// The bridges that misdeeds need.
pub fn bridges() -> String {
    format!(
        r#"
        [[bridge]]
        name = "records"
        listen = "ws://127.0.0.2:0/"
        backend = {{ url = "tcp://{RECORDS}", framing = "u32be" }}
        max_message = "1KiB"
        linger = "1s"
        [[bridge]]
        name = "scribe"
        listen = "ws://127.0.0.3:0/"
        backend = {{ url = "tcp://{RECORDS}", framing = "line" }}
        linger = "1s"
        [[bridge]]
        name = "lines"
        listen = {{ url = "tcp://127.0.0.1:0", framing = "line" }}
        backend = "ws://{WEB}/"
        max_message = "1KiB"
        linger = "1s"
        [[bridge]]
        name = "mute"
        listen = "ws://127.0.0.4:0/"
        backend = "ws://{MUTE}/"
        dial_timeout = "300ms"
        [[bridge]]
        name = "near"
        listen = {{ url = "tcp://127.0.0.1:0", framing = "u32be" }}
        backend = "ws://{FAR}/"
        [[bridge]]
        name = "far"
        listen = "ws://{FAR}/"
        backend = "echo:"
        "#
    )
}

/// Where it all happens.
pub struct Stage<'a> {
    natpulse: &'a Natpulse,
    server: &'a Namespace,
    records: TcpListener,
    web: TcpListener,
    _mute: TcpListener,
}

impl<'a> Stage<'a> {
    pub fn new(natpulse: &'a Natpulse, server: &'a Namespace) -> Stage<'a> {
        let [records, web, mute] = [RECORDS, WEB, MUTE].map(|address| server.listen(address));
        Stage { natpulse, server, records, web, _mute: mute }
    }

    async fn connect(&self, bridge: &str) -> TcpStream {
        self.server.connect(self.natpulse.addr(bridge)).await.unwrap()
    }

    /// A session of a WebSocket client with a backend of records or lines.
    async fn ws(&self, bridge: &str) -> (RawWs, TcpStream) {
        let client = async { RawWs::upgrade(self.connect(bridge).await, "/").await.unwrap() };
        let backend = async { self.records.accept().await.unwrap().0 };
        within("a session", async { tokio::join!(client, backend) }).await
    }

    async fn web(&self) -> RawWs {
        RawWs::accept(self.web.accept().await.unwrap().0).await.unwrap()
    }

    /// A session of a client that speaks lines with a WebSocket backend.
    async fn lines(&self) -> (TcpStream, RawWs) {
        within("a session", async { tokio::join!(self.connect("lines"), self.web()) }).await
    }

    /// Waits until sessions have ended for these reasons.
    async fn ended(&self, reasons: &[&str]) {
        for reason in reasons {
            self.natpulse.event("session closed", |event| event["reason"] == *reason).await;
        }
    }

    /// A client ends its session in every way there is. Its backend stays, so that nobody else ends it.
    pub async fn clients_misbehave(&self) {
        let mut kept = Vec::new();
        for leave in [|client: RawWs| drop(client), RawWs::abort] {
            let (client, backend) = self.ws("records").await;
            leave(client);
            kept.push(backend);
        }
        let (client, _backend) = self.ws("records").await;
        client.leave().await;
        let mut clients = Vec::new();
        for (bridge, bytes) in [
            ("records", server_frame(FIN | BINARY, b"not masked")),
            ("records", frame(FIN | TEXT, &[0xff])),
            ("records", frame(FIN | BINARY, &[7; 2048])),
            ("scribe", frame(FIN | TEXT, b"two\nlines")),
            // This one says nothing at all, and answers nothing.
            ("records", Vec::new()),
        ] {
            let (mut client, backend) = self.ws(bridge).await;
            client.io.write_all(&bytes).await.unwrap();
            clients.push((client, backend));
        }
        let (mut client, _backend) = self.lines().await;
        client.write_all(b"half a li").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut resetting, _backend) = self.ws("records").await;
        while within("a beat", resetting.frame()).await.unwrap().opcode() != PING {}
        resetting.abort();
        self.natpulse.event("a connection was reset after a silence", |_| true).await;
        self.ended(&["client_closed", "client_reset", "client_vanished", "client_broke_protocol"]).await;
        self.ended(&["client_invalid_text", "client_too_long", "client_unframeable"]).await;
        self.ended(&["client_truncated", "client_dead"]).await;
    }

    /// And so does a backend. Where a WebSocket dies, that is within a message: it would be dialled anew otherwise.
    pub async fn backends_misbehave(&self) {
        let mut clients = Vec::new();
        let (client, _) = self.ws("records").await;
        clients.push(client);
        let (client, backend) = self.ws("records").await;
        backend.set_zero_linger().unwrap();
        clients.push(client);
        drop(backend);
        for bytes in [&[0, 0, 0, 9, 7][..], &[0, 0, 8, 0]] {
            let (client, mut backend) = self.ws("records").await;
            backend.write_all(bytes).await.unwrap();
            clients.push(client);
        }
        let mut lines = Vec::new();
        for (bytes, stays) in [
            (frame(FIN | TEXT, b"masked"), true),
            (server_frame(FIN | TEXT, &[0xff]), true),
            (server_frame(FIN | TEXT, b"two\nlines"), true),
            (server_frame(TEXT, b"unfinished"), true),
            (server_frame(TEXT, b"unfinished"), false),
        ] {
            let (client, mut backend) = self.lines().await;
            backend.io.write_all(&bytes).await.unwrap();
            lines.push((client, stays.then_some(backend)));
        }
        self.ended(&["backend_closed", "backend_reset", "backend_truncated", "backend_too_long"]).await;
        self.ended(&["backend_broke_protocol", "backend_invalid_text", "backend_unframeable"]).await;
        self.ended(&["backend_dead", "backend_vanished"]).await;
    }

    /// A backend answers beats until a longer silence is tried; another resets the connection instead; and then one is
    /// dialled in vain, until the client has had enough.
    pub async fn backends_die_of_silence(&self) {
        let (client, mut backend) = self.lines().await;
        let ping = within("a beat", backend.frame()).await.unwrap();
        backend.io.write_all(&server_frame(FIN | PONG, &ping.payload)).await.unwrap();
        let mut backend = within("another dial", self.web()).await;
        while within("a beat", backend.frame()).await.unwrap().opcode() != PING {}
        backend.abort();
        let (mut refused, _) = within("another dial", self.web.accept()).await.unwrap();
        drop(client);
        within("the end", async { while refused.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {} })
            .await;
    }

    /// Clients fail before they have a session.
    pub async fn handshakes_fail(&self) {
        let mut silent = self.connect("im").await;
        let rejected =
            exchange(async { Ok(self.connect("im").await) }, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(rejected.status, 426);
        assert!(RawWs::upgrade(self.connect("mute").await, "/").await.is_err());
        let mut clients = Vec::new();
        while let Ok(client) = RawWs::upgrade(self.connect("im").await, "/").await {
            clients.push(client);
            assert!(clients.len() <= SESSIONS);
        }
        within("an answer", silent.read(&mut [0; 512])).await.unwrap();
        // Others come and go meanwhile, so it is not waited for the last.
        let full = (SESSIONS - clients.len() / 2) as f64;
        drop(clients);
        let used = async || self.natpulse.metrics().await["natpulse_permits_used"];
        within("most of their places to be free", async { while used().await > full {} }).await;
    }

    /// An operator closes a session.
    pub async fn a_session_is_dismissed(&self) {
        let (mut client, _backend) = self.ws("records").await;
        // It is listed a moment after both its ends know of it.
        let listed = async {
            loop {
                let listed = self.ask("GET /api/sessions?filter=records").await;
                let listed: Value = serde_json::from_str(&listed.body).unwrap();
                if let Some(session) = listed["items"].get(0) {
                    return session["id"].clone();
                }
            }
        };
        let id = within("the session to be listed", listed).await;
        assert_eq!(self.ask(&format!("DELETE /api/sessions/{id}")).await.status, 204);
        while within("a close", client.frame()).await.unwrap().opcode() != CLOSE {}
        drop(client);
        self.ended(&["dismissed"]).await;
    }

    /// An operator has natpulse drain, while a session is open. It stays, so that what it counts can be seen.
    pub async fn a_drain_is_asked_for(&self) {
        let mut client = RawWs::upgrade(self.connect("im").await, "/").await.unwrap();
        assert_eq!(self.ask("POST /api/drain").await.status, 202);
        loop {
            let frame = within("a close", client.frame()).await.unwrap();
            match frame.opcode() {
                CLOSE => break,
                PING => client.send(FIN | PONG, &frame.payload).await.unwrap(),
                other => panic!("a frame of kind {other}"),
            }
        }
        drop(client);
        self.ended(&["drained"]).await;
    }

    /// What the admin port answers to whoever has its token.
    async fn ask(&self, what: &str) -> Page {
        let host = self.natpulse.admin();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        exchange(self.server.connect(host), &request).await
    }

    /// A bridge whose backend is another natpulse, which is this one.
    pub async fn probes_itself(&self) -> TcpStream {
        self.connect("near").await
    }

    /// Takes events from when they have failed to be delivered, and refuses the first.
    pub async fn events_are_taken(&self, prometheus: &Prometheus<'_>) -> JoinHandle<()> {
        prometheus.sees("natpulse_webhook_requests_total{result=\"failed\"}").await;
        prometheus.sees("natpulse_events_total{outcome=\"dropped\"}").await;
        let receiver = self.server.listen(EVENTS);
        tokio::spawn(async move {
            let mut status = "500 Internal Server Error";
            loop {
                let (mut stream, _) = receiver.accept().await.unwrap();
                // One request for each connection, however it comes in pieces: what is not read is reset, and was
                // answered.
                let _ = stream.read(&mut [0; 64 << 10]).await;
                let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                status = "200 OK";
            }
        })
    }
}
