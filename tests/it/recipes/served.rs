//! Recipes that carry messages, each with real clients and the backends that it speaks of.

use std::fs;
use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::cases::{checked, only};
use super::place::Place;
use super::{Block, not_run};
use crate::backends::Backend;
use crate::process::within;
use crate::tls::authority::Authority;
use crate::tls::{acceptor, connector};
use crate::tools::{browser as in_browser, program};

/// Sends a message, and returns the next one.
async fn exchange(ws: &mut WebSocketStream<TcpStream>, message: Message) -> Message {
    ws.send(message).await.unwrap();
    next(ws).await
}

async fn next(ws: &mut WebSocketStream<TcpStream>) -> Message {
    within("a message", ws.next()).await.expect("a message").unwrap()
}

/// A server that says what it is called, and then what it is told.
fn called(place: &Place, addr: &str, name: &'static str) -> Backend {
    Backend::serve_on(place.listen(addr), move |mut stream| async move {
        stream.write_all(name.as_bytes()).await?;
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.map(drop)
    })
}

pub async fn browser(blocks: &[Block]) {
    let [command, page] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[("192.0.2.1", "example.com")]).await;
    let _echo = Backend::framed_echo_on(place.listen("127.0.0.1:9000"));
    let _natpulse = place.serve(&command.text).await;
    assert_eq!(page.language, "js");
    place.write("home/page.js", &page.text);
    let origin = command.text.trim().rsplit_once("--origin ").unwrap().1;
    // One page at the origin that is let in, and one elsewhere.
    for (origin, told) in [(origin, "open, 1 2 3"), ("http://elsewhere.example", "closed")] {
        let node = in_browser("recipes/page.mjs", &place.path("profile"));
        let line = |command: &Command| {
            let words = command.get_args().map(|word| format!("'{}'", word.to_str().unwrap()));
            format!("{} {}", command.get_program().display(), words.collect::<Vec<_>>().join(" "))
        };
        let (lines, code) = place.run(&format!("{} page.js {origin}", line(&node))).await;
        assert_eq!((lines.last().map(String::as_str), code), (Some(told), Some(0)), "{origin}: {lines:?}");
    }
}

pub async fn device(blocks: &[Block]) {
    let [command] = blocks else { panic!("{blocks:?}") };
    // The server's part is that of the recipe before this one.
    let at_server = &super::below("A browser reaches a TCP service")[0];
    let (server, device) = Place::pair().await;
    device.knows("192.0.2.1", "example.com");
    let _echo = Backend::framed_echo_on(server.listen("127.0.0.1:9000"));
    let _far = server.serve(&at_server.text).await;
    let _near = device.serve(&command.text).await;
    let mut client = device.connect("127.0.0.1:9000").await;
    echoes(&mut client, b"\0\0\0\x05hello").await;
}

/// Sends bytes that are to come back.
async fn echoes(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    let mut heard = vec![0; bytes.len()];
    within("what was sent to come back", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, bytes);
}

pub async fn novnc(blocks: &[Block]) {
    let [short, long] = blocks else { panic!("{blocks:?}") };
    for command in [short, long] {
        let place = Place::new(&[]).await;
        let _vnc = called(&place, "127.0.0.1:5900", "RFB 003.008\n");
        let _natpulse = place.serve(&command.text).await;
        let stream = place.connect("127.0.0.1:8080").await;
        let lines = [("sec-websocket-protocol", "binary")];
        let mut client = place.ws(stream, "/any/path", &lines).await.unwrap();
        assert_eq!(next(&mut client).await, Message::binary("RFB 003.008\n"), "{}", command.text);
        assert_eq!(exchange(&mut client, Message::binary("hi")).await, Message::binary("hi"));
    }
}

pub async fn websockets(blocks: &[Block]) {
    let [config] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let _echo = Backend::framed_echo_on(place.listen("127.0.0.1:9000"));
    let _chat = Backend::serve_on(place.listen("127.0.0.1:3000"), |stream| async move {
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let at_socket = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), "/socket");
            Ok(response)
        };
        let mut ws = tokio_tungstenite::accept_hdr_async(stream, at_socket).await.unwrap();
        while let Some(Ok(message)) = ws.next().await {
            if !message.is_close() {
                ws.send(message).await.unwrap();
            }
        }
        Ok(())
    });
    let config = only(&place, config).await;
    let _natpulse = place.serve_config(&config).await;
    for (path, message) in [("/chat", Message::text("hello")), ("/im", Message::binary("hello"))] {
        let stream = place.connect("127.0.0.1:8080").await;
        let mut client = place.ws(stream, path, &[]).await.unwrap();
        assert_eq!(exchange(&mut client, message.clone()).await, message, "{path}");
    }
}

pub async fn unix(blocks: &[Block]) {
    let [command] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let app = UnixListener::bind(place.path("run/app.sock")).unwrap();
    let _natpulse = place.serve(&command.text).await;
    let stream = place.connect("127.0.0.1:8080").await;
    let serving = async {
        let mut line = String::new();
        let mut io = BufReader::new(app.accept().await.unwrap().0);
        io.read_line(&mut line).await.unwrap();
        io.write_all(format!("you said {line}").as_bytes()).await.unwrap();
        io
    };
    let asking = async {
        let mut client = place.ws(stream, "/", &[]).await.unwrap();
        let heard = exchange(&mut client, Message::binary("hello")).await;
        assert_eq!(heard, Message::binary("you said hello"));
        client
    };
    tokio::join!(within("a line", serving), asking);

    // The other way around stands in the text.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let around = page.split('`').find(|code| code.starts_with("natpulse bridge unix:")).unwrap();
    let place = Place::new(&[("192.0.2.1", "example.com")]).await;
    let _echo = Backend::framed_echo_on(place.listen("127.0.0.1:9000"));
    let _far = place.serve(&super::below("A browser reaches a TCP service")[0].text).await;
    let _near = place.serve(&format!("env NATPULSE__ADMIN__LISTEN=127.0.0.1:0 {around}")).await;
    let mut client = UnixStream::connect(place.path("run/im.sock")).await.unwrap();
    echoes(&mut client, b"\0\0\0\x05hello").await;
}

pub async fn tls(blocks: &[Block]) {
    let [config] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[("192.0.2.1", "im.example"), ("192.0.2.2", "db.example")]).await;
    let authority = Authority::new();
    let (im, db) = (authority.names("im", &["im.example"]), authority.names("db", &["db.example"]));
    fs::copy(&im.cert, place.path("home/im.pem")).unwrap();
    fs::copy(&im.key, place.path("home/im.key")).unwrap();
    // Who the system trusts.
    place.write("etc/ssl/certs/ca-certificates.crt", &fs::read_to_string(authority.file()).unwrap());
    let acceptor = acceptor(&db);
    let _database = Backend::serve_on(place.listen("192.0.2.2:5432"), move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let (mut reader, mut writer) = tokio::io::split(acceptor.accept(stream).await?);
            tokio::io::copy(&mut reader, &mut writer).await.map(drop)
        }
    });
    let config = only(&place, config).await;
    let _natpulse = place.serve_config(&config).await;
    let stream = place.connect("192.0.2.1:443").await;
    let name = ServerName::try_from("im.example").unwrap();
    let stream = connector(&authority, None).connect(name, stream).await.unwrap();
    let (mut client, _) = tokio_tungstenite::client_async("wss://im.example/im", stream).await.unwrap();
    client.send(Message::binary("hello")).await.unwrap();
    let heard = within("an echo", client.next()).await.unwrap().unwrap();
    assert_eq!(heard, Message::binary("hello"));
}

pub async fn behind_a_proxy(blocks: &[Block]) {
    let [ends, trusted, nginx] = blocks else { panic!("{blocks:?}") };
    let hosts = [("10.0.0.5", "proxy"), ("10.0.2.1", "stranger"), ("192.0.2.1", "example.com")];
    let place = Place::new(&hosts).await;
    let server = place.listen("127.0.0.1:9000");
    let config = only(&place, ends).await;
    let natpulse = place.serve_config(&config).await;
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 8080\r\n";
    let mut stream = place.connect_from("10.0.0.5", "192.0.2.1:8080").await;
    stream.write_all(header).await.unwrap();
    let both = async { tokio::join!(place.ws(stream, "/im", &[]), server.accept()) };
    let (client, backend) = within("a session", both).await;
    let (_client, mut backend) = (client.unwrap(), backend.unwrap().0);
    let mut told = [0; 28];
    within("a header", backend.read_exact(&mut told)).await.unwrap();
    assert_eq!((&told[..12], &told[16..20]), (&b"\r\n\r\n\0\r\nQUIT\n"[..], &[203, 0, 113, 9][..]));
    let mut stranger = place.connect_from("10.0.2.1", "192.0.2.1:8080").await;
    let _ = stranger.write_all(header).await;
    let ended = within("the end", stream_end(&mut stranger)).await;
    assert!(ended, "a stranger was answered");
    drop(natpulse);

    let config =
        only(&place, trusted).await.replace("\"ws://127.0.0.1:8080/\"", "\"ws://127.0.0.1:8080/im\"");
    let _natpulse = place.serve_config(&config).await;
    let dir = place.path("home").display().to_string();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places: String = kinds.iter().map(|kind| format!("{kind}_temp_path {dir}/{kind};\n")).collect();
    place.write(
        "home/nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{places}server {{\nlisten 192.0.2.1:80;\n{}}}\n}}\n",
            nginx.text
        ),
    );
    let _nginx = place.shell(&format!("{} -e stderr -c {dir}/nginx.conf", program("nginx").display()));
    let addr = "192.0.2.1:80".parse().unwrap();
    within("nginx", async { while place.namespace.connect(addr).await.is_err() {} }).await;
    let stream = place.connect_from("10.0.2.1", "192.0.2.1:80").await;
    let spoof = [("x-forwarded-for", "203.0.113.66")];
    let mut client = place.ws(stream, "/im", &spoof).await.unwrap();
    assert_eq!(exchange(&mut client, Message::text("hello")).await, Message::text("hello"));
    let page = place.ask("127.0.0.1:9464", "/api/sessions", "").await;
    assert!(page.body.contains("10.0.2.1") && !page.body.contains("203.0.113.66"), "{}", page.body);
}

/// Whether a connection ends without a word.
async fn stream_end(stream: &mut TcpStream) -> bool {
    // A reset says as much as an end.
    stream.read(&mut [0; 1]).await.unwrap_or(0) == 0
}

pub async fn who(blocks: &[Block]) {
    let [bridge, tokens] = blocks else { panic!("{blocks:?}") };
    let hosts = [("10.1.2.3", "client"), ("10.6.6.6", "denied"), ("192.0.2.1", "example.com")];
    let place = Place::new(&hosts).await;
    let _server = called(&place, "127.0.0.1:9000", "hello");
    let config = only(&place, bridge).await;
    let natpulse = place.serve_config(&config).await;
    let (page, other) = (("origin", "https://app.example"), ("origin", "https://other.example"));
    let cases = [("10.1.2.3", page, 101), ("10.1.2.3", other, 403), ("10.6.6.6", page, 403)];
    for (from, line, expected) in cases.into_iter().chain([("192.0.2.1", page, 403)]) {
        let stream = place.connect_from(from, "192.0.2.1:8080").await;
        let status = place.ws(stream, "/im", &[line]).await.err().unwrap_or(101);
        assert_eq!(status, expected, "{from} {line:?}");
    }
    drop(natpulse);

    let token = "0123456789abcdef0123456789abcdef";
    place.write("etc/natpulse/tokens", &format!("{token}\n"));
    // The public key of RFC 7517 appendix A.1.
    let key = r#"{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                  "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    place.write("etc/natpulse/jwks.json", &format!("{{\"keys\":[{key}]}}"));
    let configs = checked(&place, tokens).await;
    let [listed, signed] = &configs[..] else { panic!("{configs:?}") };
    for (config, expected) in [(listed, 101), (signed, 401)] {
        let _natpulse = place.serve_config(config).await;
        let bearer = format!("Bearer {token}");
        for (lines, expected) in [(vec![("authorization", &*bearer)], expected), (Vec::new(), 401)] {
            let stream = place.connect("127.0.0.1:8080").await;
            let status = place.ws(stream, "/", &lines).await.err().unwrap_or(101);
            assert_eq!(status, expected, "{lines:?} {config}");
        }
    }
}

pub async fn targets(blocks: &[Block]) {
    let [named, tokens, several] = blocks else { panic!("{blocks:?}") };
    let hosts = [("192.168.7.7", "x.internal"), ("192.168.7.8", "a"), ("192.168.7.9", "b")];
    let place = Place::new(&hosts).await;
    let _vm = called(&place, "192.168.7.7:5900", "vm x");
    let _servers = [called(&place, "192.168.7.8:9000", "a"), called(&place, "192.168.7.9:9000", "b")];
    place.write("etc/natpulse/tokens.cfg", "one: 192.168.7.7:5900\n");

    let at = async |addr: &str, path: &str| {
        let mut client = place.ws(place.connect(addr).await, path, &[]).await?;
        Ok(String::from_utf8(next(&mut client).await.into_data().to_vec()).unwrap())
    };
    let config = only(&place, named).await;
    let natpulse = place.serve_config(&config).await;
    assert_eq!(at("127.0.0.1:8080", "/vm/x").await, Ok("vm x".to_owned()));
    assert_eq!(at("127.0.0.1:8080", "/vm/x.internal%3a22").await, Err(404));
    drop(natpulse);

    let config = only(&place, tokens).await;
    let natpulse = place.serve_config(&config).await;
    assert_eq!(at("127.0.0.1:6080", "/websockify?token=one").await, Ok("vm x".to_owned()));
    assert_eq!(at("127.0.0.1:6080", "/websockify?token=two").await, Err(404));
    drop(natpulse);

    let config = only(&place, several).await;
    let _natpulse = place.serve_config(&config).await;
    // Sessions that stay, so that the second one goes where there are fewer.
    let mut heard = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let mut client = place.ws(place.connect("127.0.0.1:8080").await, "/", &[]).await.unwrap();
        heard.push(next(&mut client).await.into_data());
        sessions.push(client);
    }
    heard.sort();
    assert_eq!(heard, ["a", "b"]);
}

pub async fn websockify(blocks: &[Block]) {
    let [words, novnc] = blocks else { panic!("{blocks:?}") };
    not_run(words, "it is a list of words; tests/it/targets/websockify.rs uses each");
    let place = Place::new(&[("192.168.7.7", "machine")]).await;
    let _vm = called(&place, "192.168.7.7:5900", "RFB 003.008\n");
    place.write("usr/share/novnc/vnc.html", "noVNC");
    place.write("etc/vms.cfg", "NAME: 192.168.7.7:5900\n");
    let _natpulse = place.serve(&novnc.text).await;
    let page = place.ask("127.0.0.1:6080", "/vnc.html?path=websockify?token=NAME", "").await;
    assert_eq!((page.status, page.body.as_str()), (200, "noVNC"));
    let stream = place.connect("127.0.0.1:6080").await;
    let mut client = place.ws(stream, "/websockify?token=NAME", &[]).await.unwrap();
    assert_eq!(next(&mut client).await, Message::binary("RFB 003.008\n"));
}
