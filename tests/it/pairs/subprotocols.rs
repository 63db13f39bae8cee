//! Which subprotocol two ends agree on.

use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::harness::{Natpulse, Ws, ws_connect};
use crate::process::within;
use crate::raw::upgrade;

#[tokio::test]
async fn a_bridge_chooses_the_first_of_its_subprotocols_that_the_client_offers() {
    let natpulse = Natpulse::start(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
         subprotocols = [\"mqtt\", \"binary\"]\n",
    )
    .await;
    let cases =
        [("binary, mqtt", Some("mqtt")), ("base64,binary", Some("binary")), ("base64", None), ("MQTT", None)];
    for (offered, expected) in cases {
        // By hand: a client library refuses an answer without a subprotocol before a test can look.
        let offer = format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
        let page = answer_to(natpulse.addr("ws"), &upgrade("/").replacen("\r\n\r\n", &offer, 1)).await;
        assert!(page.starts_with("http/1.1 101 "), "{offered}: {page}");
        let chosen = page.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(chosen, expected, "{offered}");
    }
    natpulse.stop().await;
}

/// The head of the answer to an upgrade whose client then leaves without a frame.
async fn answer_to(addr: std::net::SocketAddr, request: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = BufReader::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        within("the answer", stream.read_line(&mut head)).await.unwrap();
    }
    head.to_lowercase()
}

/// Accepts one WebSocket, agreeing on `choice`; returns what was offered.
async fn choosing(listener: &TcpListener, choice: Option<&str>) -> (Ws, Option<String>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut offered = None;
    // The library's own type, and only ever an error here that is never made.
    #[allow(clippy::result_large_err)]
    let choose = |request: &Request, mut response: Response| {
        let header = request.headers().get("sec-websocket-protocol");
        offered = header.map(|value| value.to_str().unwrap().to_owned());
        if let Some(choice) = choice {
            response.headers_mut().insert("sec-websocket-protocol", choice.parse().unwrap());
        }
        Ok(response)
    };
    let ws = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
    (ws, offered)
}

#[tokio::test]
async fn between_websockets_the_backend_chooses_unless_the_bridge_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"open\"\nlisten = \"ws://127.0.0.1:0/open\"\nbackend = \"ws://{backend}/\"\n\
         [[bridge]]\nname = \"fixed\"\nlisten = \"ws://127.0.0.1:0/fixed\"\nbackend = \"ws://{backend}/\"\n\
         subprotocols = [\"b\", \"d\"]\n\
         [[bridge]]\nname = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"ws://{backend}/\"\n\
         subprotocols = [\"b\", \"d\"]\n"
    ))
    .await;
    // The bridge, what the client offers, what the backend is offered and chooses.
    let cases = [
        ("open", Some("a, b, c"), Some("a, b, c"), Some("c")),
        ("open", None, None, None),
        ("fixed", Some("a, b, c"), Some("b"), Some("b")),
    ];
    for (bridge, offer, passed_on, choice) in cases {
        let url = natpulse.url(bridge);
        let ((_near, response), (_far, offered)) = within("a WebSocket to a WebSocket", async {
            tokio::join!(ws_connect(&url, offer), choosing(&listener, choice))
        })
        .await;
        assert_eq!(offered.as_deref(), passed_on, "{bridge}: {offer:?}");
        let chosen = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(chosen, choice, "{bridge}: {offer:?}");
    }
    let _client = tokio::net::TcpStream::connect(natpulse.addr("tcp")).await.unwrap();
    let (_far, offered) = within("a WebSocket from TCP", choosing(&listener, Some("d"))).await;
    assert_eq!(offered.as_deref(), Some("b, d"));
    natpulse.terminate();
}
