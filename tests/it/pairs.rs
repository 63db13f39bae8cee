//! Every kind of listener in front of every kind of backend.

mod closing;
mod subprotocols;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::backends::Backend as Server;
use crate::ends::{Backend, Framing, Receiver, Sender, connect};
use crate::harness::{Natpulse, Ws, http, ws_connect};
use crate::process::within;
use crate::raw::upgrade;
use crate::tools::TempDir;

const LISTENERS: [&str; 3] = ["ws", "tcp", "unix"];
const BACKENDS: [&str; 4] = ["ws", "tcp", "unix", "echo"];

/// The lengths at which one framing or the other changes its header, and a few others.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65535, 65536, 70_000, 1 << 20];

/// Bytes that look random and differ between seeds.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length).map(|_| (next() >> 32) as u8).collect()
}

/// A bridge with both its ends.
struct Bridged {
    natpulse: Natpulse,
    fds: usize,
    client: (Sender, Receiver),
    /// None where natpulse echoes by itself.
    backend: Option<(Sender, Receiver)>,
    _dir: TempDir,
}

impl Bridged {
    async fn new(listen: &str, near: Framing, backend: &str, far: Framing) -> Bridged {
        let dir = TempDir::new();
        let (server, backend_url) = Backend::bind(backend, dir.path(), far).await;
        let listen_url = match listen {
            "unix" => format!("unix://{}", dir.path().join("listen").display()),
            "ws" => "ws://127.0.0.1:0/client".to_owned(),
            scheme => format!("{scheme}://127.0.0.1:0"),
        };
        let end = |url: &str, framing: Framing| match url.split(':').next() {
            Some("ws" | "echo") => format!("{url:?}"),
            _ => format!("{{ url = {url:?}, framing = {:?} }}", framing.word()),
        };
        let natpulse = Natpulse::start(&format!(
            "[[bridge]]\nname = \"pair\"\nlisten = {}\nbackend = {}\n",
            end(&listen_url, near),
            end(&backend_url, far)
        ))
        .await;
        let fds = natpulse.fds();
        let url = natpulse.url("pair");
        let what = format!("both ends of {listen} to {backend}");
        let (client, backend) =
            within(&what, async { tokio::join!(connect(&url, near), server.accept()) }).await;
        Bridged { natpulse, fds, client, backend, _dir: dir }
    }

    /// Both ways a message can go: who sends, who receives. An echo has only one.
    fn ways(&mut self) -> Vec<(&mut Sender, &mut Receiver)> {
        let (sender, receiver) = &mut self.client;
        match &mut self.backend {
            Some((back, far)) => vec![(sender, far), (back, receiver)],
            None => vec![(sender, receiver)],
        }
    }

    /// Ends the session from the client's side, and looks for anything left behind.
    async fn end(mut self) {
        let ends = async {
            for (sender, receiver) in self.ways() {
                tokio::join!(sender.finish(), receiver.end());
            }
        };
        within("the end to reach both ends", ends).await;
        drop((self.client, self.backend));
        self.natpulse.settles_to(self.fds).await;
        let closed = &self.natpulse.closed_sessions(1).await[0];
        assert_eq!(closed["reason"], "client_closed");
        self.natpulse.stop().await;
    }
}

#[tokio::test]
async fn every_pairing_carries_messages_of_every_size_both_ways_one_by_one() {
    for listen in LISTENERS {
        for backend in BACKENDS {
            // Four framings, so that no two streams of a pairing share one.
            let near = if listen == "tcp" { Framing::U32be } else { Framing::Varint };
            let far = if backend == "tcp" { Framing::U24le } else { Framing::U64be };
            let mut bridged = Bridged::new(listen, near, backend, far).await;
            for (way, (sender, receiver)) in bridged.ways().into_iter().enumerate() {
                // All are on their way before the first is looked at.
                let sending = async {
                    for size in SIZES {
                        sender.send(&noise(way + size, size)).await;
                    }
                };
                let receiving = async {
                    for size in SIZES {
                        let message = receiver.receive().await;
                        assert_eq!(message.len(), size, "{listen} to {backend}, way {way}");
                        assert!(
                            message == noise(way + size, size),
                            "{listen} to {backend}, way {way}, {size}"
                        );
                    }
                };
                let what = format!("all sizes across {listen} to {backend}, way {way}");
                within(&what, async { tokio::join!(sending, receiving) }).await;
            }
            bridged.end().await;
        }
    }
}

#[tokio::test]
async fn every_pairing_carries_raw_bytes_both_ways() {
    let bytes = noise(7, 3 << 20);
    for listen in LISTENERS {
        for backend in BACKENDS {
            let mut bridged = Bridged::new(listen, Framing::Raw, backend, Framing::Raw).await;
            for (sender, receiver) in bridged.ways() {
                let sending = async {
                    for piece in bytes.chunks(99_999) {
                        sender.send(piece).await;
                    }
                };
                let receiving = async {
                    let mut arrived = Vec::new();
                    while arrived.len() < bytes.len() {
                        arrived.extend_from_slice(&receiver.receive_some().await);
                    }
                    assert!(arrived == bytes, "{listen} to {backend}");
                };
                let what = format!("raw bytes across {listen} to {backend}");
                within(&what, async { tokio::join!(sending, receiving) }).await;
            }
            bridged.end().await;
        }
    }
}

#[tokio::test]
async fn a_raw_stream_becomes_records_and_records_become_a_raw_stream() {
    let mut bridged = Bridged::new("tcp", Framing::Raw, "tcp", Framing::U32be).await;
    let bytes = noise(3, 200_000);
    let mut ways = bridged.ways();
    {
        let (client, backend) = &mut ways[0];
        let receiving = async {
            let mut arrived = Vec::new();
            while arrived.len() < bytes.len() {
                arrived.extend_from_slice(&backend.receive().await);
            }
            assert!(arrived == bytes);
        };
        within("a raw stream as records", async { tokio::join!(client.send(&bytes), receiving) }).await;
    }
    let (backend, client) = &mut ways[1];
    let sending = async {
        for piece in bytes.chunks(70_000) {
            backend.send(piece).await;
        }
    };
    let receiving = async {
        let mut arrived = Vec::new();
        while arrived.len() < bytes.len() {
            arrived.extend_from_slice(&client.receive_some().await);
        }
        assert!(arrived == bytes);
    };
    within("records as a raw stream", async { tokio::join!(sending, receiving) }).await;
    bridged.end().await;
}

async fn next(ws: &mut Ws) -> Message {
    within("a message", ws.next()).await.expect("a message before the end").unwrap()
}

/// A bridge with this `message` setting from WebSocket to a server that echoes records,
/// and a client of it.
async fn kinds(message: &str) -> (Natpulse, Server, Ws) {
    let server = Server::framed_echo().await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nmessage = \"{message}\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n",
        server.addr
    ))
    .await;
    let (ws, _) = ws_connect(&natpulse.url("ws"), None).await;
    (natpulse, server, ws)
}

#[tokio::test]
async fn a_record_becomes_the_kind_of_message_that_the_bridge_names() {
    let (text, binary) = (Message::text("dürfen"), Message::binary("dürfen"));
    let cases = [
        ("binary", [(&text, &binary), (&binary, &binary)]),
        ("text", [(&text, &text), (&binary, &text)]),
        ("mirror", [(&text, &text), (&binary, &binary)]),
    ];
    for (kind, exchanges) in cases {
        let (natpulse, _server, mut ws) = kinds(kind).await;
        for (sent, expected) in exchanges {
            ws.send(sent.clone()).await.unwrap();
            assert_eq!(&next(&mut ws).await, expected, "message = {kind:?}");
        }
        ws.close(None).await.unwrap();
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn a_mirroring_bridge_sends_binary_messages_until_it_has_heard_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nmessage = \"mirror\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"line\" }}\n",
        listener.local_addr().unwrap()
    ))
    .await;
    let (mut ws, _) = ws_connect(&natpulse.url("ws"), None).await;
    let (mut server, _) = listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut server, b"first\n").await.unwrap();
    assert_eq!(next(&mut ws).await, Message::binary("first"));
    drop((ws, server));
    natpulse.stop().await;
}

#[tokio::test]
async fn between_websockets_and_from_the_echo_service_a_message_keeps_its_kind() {
    let dir = TempDir::new();
    let (server, url) = Backend::bind("ws", dir.path(), Framing::Raw).await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/ws\"\nbackend = \"{url}\"\nmessage = \"text\"\n\
         [[bridge]]\nname = \"echo\"\nlisten = \"ws://127.0.0.1:0/echo\"\nbackend = \"echo:\"\nmessage = \"text\"\n"
    ))
    .await;
    let messages = [Message::text("κόσμε"), Message::binary(vec![0xff, 0])];
    let (mut echo, _) = ws_connect(&natpulse.url("echo"), None).await;
    for message in &messages {
        echo.send(message.clone()).await.unwrap();
        assert_eq!(&next(&mut echo).await, message);
    }
    let url = natpulse.url("ws");
    let ((mut near, _), far) = tokio::join!(ws_connect(&url, None), server.accept());
    let Some((Sender::Ws(mut sink), Receiver::Ws(mut stream))) = far else { panic!("a WebSocket") };
    for message in &messages {
        near.send(message.clone()).await.unwrap();
        assert_eq!(&within("a message", stream.next()).await.unwrap().unwrap(), message);
        sink.send(message.clone()).await.unwrap();
        assert_eq!(&next(&mut near).await, message);
    }
    natpulse.terminate();
}

/// A server that tells its name to whoever comes.
async fn named(name: &'static str) -> Server {
    Server::serve(move |mut stream| async move {
        tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{name}\n").as_bytes()).await?;
        // Stays until the client has gone.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn several_bridges_share_an_address_by_path_and_the_closest_path_gets_the_client() {
    let paths = [("exact", "/a"), ("tree", "/t/*"), ("branch", "/t/b/*"), ("leaf", "/t/b/leaf")];
    let mut config = String::new();
    let mut servers = Vec::new();
    for (name, path) in paths {
        let server = named(name).await;
        config += &format!(
            "[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:0{path}\"\n\
             backend = {{ url = \"tcp://{}\", framing = \"line\" }}\n",
            server.addr
        );
        servers.push(server);
    }
    let natpulse = Natpulse::start(&config).await;
    let addr = natpulse.addr("exact");
    for (name, _) in paths {
        assert_eq!(natpulse.addr(name), addr, "all on one port");
    }
    let cases = [
        ("/a", "exact"),
        ("/a?token=1", "exact"),
        ("/t/", "tree"),
        ("/t/x/y", "tree"),
        ("/t/b", "tree"),
        ("/t/b/", "branch"),
        ("/t/b/x", "branch"),
        ("/t/b/leaf", "leaf"),
        ("/t/b/leaf?x=/t/b/y", "leaf"),
    ];
    for (path, expected) in cases {
        let (mut ws, _) = ws_connect(&format!("ws://{addr}{path}"), None).await;
        assert_eq!(next(&mut ws).await, Message::binary(expected), "{path}");
        ws.close(None).await.unwrap();
    }
    for path in ["/", "/A", "/a/", "/ab", "/t", "/tx"] {
        assert_eq!(http(addr, &upgrade(path)).await.status, 404, "{path}");
    }
    natpulse.stop().await;
}
