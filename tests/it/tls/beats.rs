//! Beats over TLS: they find the dead, and nobody who is only slow.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use super::{Authority, acceptor, connector, secured};
use crate::harness::Natpulse;
use crate::process::{PATIENCE, within, within_time};
use crate::raw::{FIN, PING, PONG, RawWs, frame, server_frame, switching, upgrade};

const BEATS: &str = r#"{ policy = "fixed", every = "1s", reply_timeout = "900ms" }"#;
/// How long a client reads nothing: several intervals and reply timeouts.
const STALL: Duration = Duration::from_secs(5);
/// More than socket buffers hold, in bytes.
const BULK: usize = 48 << 20;

/// A bridge from `wss:` to records on `server`, with beats on the client's side only.
async fn to_records(authority: &Authority, server: &TcpListener) -> Natpulse {
    Natpulse::start(&format!(
        "[heartbeat]\npolicy = \"off\"\n[[bridge]]\nname = \"b\"\nmax_message = \"64MiB\"\n\
         listen = {{ url = \"wss://127.0.0.1:0/\", heartbeat = {BEATS}, tls = {{ {} }} }}\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n",
        authority.localhost().files(),
        server.local_addr().unwrap()
    ))
    .await
}

/// Reads the head of a request or an answer.
async fn head(io: &mut BufReader<impl AsyncRead + Unpin>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(io.read_line(&mut head).await.unwrap() > 0, "{head}");
    }
    head
}

async fn session(
    natpulse: &Natpulse,
    authority: &Authority,
    server: &TcpListener,
) -> (RawWs<TlsStream<TcpStream>>, TcpStream) {
    let opening = async {
        let mut stream = secured(natpulse, "b", &connector(authority, None)).await;
        stream.write_all(upgrade("/").as_bytes()).await.unwrap();
        let mut io = BufReader::new(stream);
        assert!(head(&mut io).await.starts_with("HTTP/1.1 101"));
        RawWs { io }
    };
    let (client, backend) = within("a session", async { tokio::join!(opening, server.accept()) }).await;
    (client, backend.unwrap().0)
}

async fn answer(ws: &mut (impl AsyncWrite + Unpin), frame: &[u8]) {
    ws.write_all(frame).await.unwrap();
    ws.flush().await.unwrap();
}

#[tokio::test]
async fn a_client_that_answers_nothing_is_found_and_one_that_answers_is_not() {
    let (authority, server) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = to_records(&authority, &server).await;
    let fds = natpulse.fds();
    let (mut client, backend) = session(&natpulse, &authority, &server).await;
    for _ in 0..4 {
        let ping = within("a beat", client.frame()).await.unwrap();
        assert_eq!(ping.opcode(), PING);
        answer(&mut client.io, &frame(FIN | PONG, &ping.payload)).await;
    }
    assert!(natpulse.logged("session closed").is_empty());
    // It reads on, so that its kernel acknowledges everything, and says nothing.
    let begun = Instant::now();
    let mut pings = 0;
    within("the end", async {
        while let Ok(frame) = client.frame().await {
            assert_eq!(frame.opcode(), PING);
            pings += 1;
        }
    })
    .await;
    assert_eq!(pings, 2, "a beat, and once more");
    assert!(begun.elapsed() < Duration::from_millis(1000 + 900 + 1000), "{:?}", begun.elapsed());
    drop((client, backend));
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "client_dead");
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

/// Reads frames, answering the beats between them, until `seen` of the message, or all of it, has come.
async fn read_on(client: &mut RawWs<TlsStream<TcpStream>>, message: &mut Vec<u8>, seen: usize) {
    while message.len() < seen {
        let read = client.frame().await.unwrap();
        match read.opcode() {
            PING => answer(&mut client.io, &frame(FIN | PONG, &read.payload)).await,
            _ => message.extend_from_slice(&read.payload),
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_for_long_is_taken_for_busy_and_gets_everything() {
    let (authority, server) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = to_records(&authority, &server).await;
    let mut record = (BULK as u32).to_be_bytes().to_vec();
    record.extend((0..BULK).map(|at| (at >> 10) as u8));
    let (mut client, mut backend) = session(&natpulse, &authority, &server).await;
    let sending = tokio::spawn(async move {
        backend.write_all(&record).await.unwrap();
        backend
    });
    // Only somebody with bytes before him is busy.
    let mut message = Vec::with_capacity(BULK);
    within("the beginning", read_on(&mut client, &mut message, 1)).await;
    // The stall is what is tested, and the end of it the only event there is.
    tokio::time::sleep(STALL).await;
    assert!(natpulse.logged("session closed").is_empty(), "a slow reader was taken for a dead one");
    assert!(!sending.is_finished());
    within_time(2 * PATIENCE, "everything", read_on(&mut client, &mut message, BULK)).await;
    let backend = within("the backend", sending).await.unwrap();
    // From here on it answers, and lives.
    for _ in 0..2 {
        let ping = within("a beat", client.frame()).await.unwrap();
        assert_eq!(ping.opcode(), PING);
        answer(&mut client.io, &frame(FIN | PONG, &ping.payload)).await;
    }
    assert!(natpulse.logged("session closed").is_empty());
    assert_eq!(message.len(), BULK);
    assert!(message.iter().enumerate().all(|(at, byte)| *byte == (at >> 10) as u8), "it came changed");
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_over_tls_is_beaten_and_dialled_again_when_it_dies() {
    let (authority, server) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = Natpulse::start(&format!(
        "[heartbeat]\npolicy = \"off\"\n[[bridge]]\nname = \"b\"\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = {{ url = \"wss://{}/\", heartbeat = {BEATS}, tls = {{ ca = {:?} }} }}\n",
        server.local_addr().unwrap(),
        authority.file()
    ))
    .await;
    let acceptor = acceptor(&authority.localhost());
    let accept = async || {
        let tcp = server.accept().await.unwrap().0;
        let mut io = BufReader::new(acceptor.accept(tcp).await.unwrap());
        let request = head(&mut io).await;
        let key = request.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        });
        let key = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.unwrap().as_bytes());
        answer(&mut io, switching(&key).as_bytes()).await;
        RawWs { io }
    };
    let addr = natpulse.addr("b");
    let both = async { tokio::join!(TcpStream::connect(addr), accept()) };
    let (client, mut backend) = within("a session", both).await;
    let mut client = client.unwrap();
    for _ in 0..2 {
        let ping = within("a beat", backend.frame()).await.unwrap();
        assert_eq!(ping.opcode(), PING);
        answer(&mut backend.io, &server_frame(FIN | PONG, &ping.payload)).await;
    }
    natpulse.event("dialling again", |event| event["reason"] == "backend_dead").await;
    let mut again = within("another connection", accept()).await;
    client.write_all(b"\0\0\0\x05hello").await.unwrap();
    let (_, message) = within("a message", again.message()).await.unwrap();
    assert_eq!(message, b"hello");
    drop((client, backend, again));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_while_its_backend_is_gone_leaves_nothing_behind() {
    let (authority, server) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nbackend = \"ws://{}/\"\n\
         listen = {{ url = \"tls://127.0.0.1:0\", framing = \"u32be\", tls = {{ {} }} }}\n",
        server.local_addr().unwrap(),
        authority.localhost().files()
    ))
    .await;
    let fds = natpulse.fds();
    let accept = async { RawWs::accept(server.accept().await.unwrap().0).await.unwrap() };
    let connector = connector(&authority, None);
    let both = async { tokio::join!(secured(&natpulse, "b", &connector), accept) };
    let (mut client, backend) = within("a session", both).await;
    drop((server, backend));
    natpulse.event("cannot dial the backend", |_| true).await;
    // TLS says goodbye in bytes that nobody reads now, and only behind them the connection ends.
    client.shutdown().await.unwrap();
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "backend_vanished");
    drop(client);
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn the_network_before_a_backend_with_tls_is_probed_over_tls() {
    let authority = Authority::new();
    let far = Natpulse::start(&format!(
        "[[bridge]]\nname = \"far\"\nbackend = \"echo:\"\n\
         listen = {{ url = \"wss://127.0.0.1:0/\", tls = {{ {} }} }}\n",
        authority.localhost().files()
    ))
    .await;
    let near = Natpulse::start(&format!(
        "[heartbeat]\nmin = \"1s\"\nmax = \"30s\"\nmargin_min = \"200ms\"\nreply_timeout = \"500ms\"\n\
         [[bridge]]\nname = \"near\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         backend = {{ url = \"{}\", tls = {{ ca = {:?} }} }}\n",
        far.url("far"),
        authority.file()
    ))
    .await;
    let client = TcpStream::connect(near.addr("near")).await.unwrap();
    let series = "natpulse_handshakes_total{bridge=\"far\",result=\"probe\"}";
    within("a probe", async { while far.metrics().await[series] < 1.0 {} }).await;
    drop(client);
    near.stop().await;
    far.stop().await;
}
