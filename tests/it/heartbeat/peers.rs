//! Beats between the program and real peers that answer, do not, or are busy.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use crate::endurance::is_long;
use crate::harness::Natpulse;
use crate::process::{within, within_time};
use crate::raw::{BINARY, FIN, PING, PONG, RawWs, frame, server_frame};

const BEATS: &str = r#"{ policy = "fixed", every = "1s", reply_timeout = "900ms" }"#;
/// An interval, a reply timeout and the second that a loaded machine may take.
const FOUND: Duration = Duration::from_millis(1000 + 900 + 1000);

/// A bridge from WebSocket to records on `server`; such beats on the client's side only.
pub async fn to_records(server: &TcpListener, beats: &str) -> Natpulse {
    Natpulse::start(&format!(
        "[log]\nlevel = \"trace\"\n[heartbeat]\npolicy = \"off\"\n[[bridge]]\nname = \"b\"\n\
         listen = {{ url = \"ws://127.0.0.1:0/\", heartbeat = {beats} }}\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\nmax_message = \"128MiB\"\n",
        server.local_addr().unwrap()
    ))
    .await
}

pub async fn session(natpulse: &Natpulse, server: &TcpListener) -> (RawWs, TcpStream) {
    let both = async { tokio::join!(RawWs::open(natpulse.addr("b"), "/"), server.accept()) };
    let (client, backend) = within("a session", both).await;
    (client.unwrap(), backend.unwrap().0)
}

/// The reason and the words with which the only session ended.
async fn ending(natpulse: &Natpulse) -> (String, String) {
    let closed = natpulse.closed_sessions(1).await.remove(0);
    (closed["reason"].as_str().unwrap().to_owned(), closed["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_client_that_answers_nothing_is_found_on_time_and_its_backend_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, BEATS).await;
    let fds = natpulse.fds();
    let (mut client, mut backend) = session(&natpulse, &server).await;
    let begun = Instant::now();
    let mut pings = Vec::new();
    let gone = async {
        // It reads, and so its kernel acknowledges everything.
        while let Ok(frame) = client.frame().await {
            assert_eq!(frame.opcode(), PING);
            pings.push(frame.payload);
        }
        begun.elapsed()
    };
    let mut rest = [0; 1];
    let (took, left) = within("both ends", async { tokio::join!(gone, backend.read(&mut rest)) }).await;
    assert!((Duration::from_millis(1400)..FOUND).contains(&took), "{took:?}");
    assert_eq!(left.unwrap(), 0);
    assert_eq!(pings.len(), 2, "a beat, and once more");
    drop((client, backend));
    let (reason, detail) = ending(&natpulse).await;
    assert_eq!(reason, "client_dead");
    let silence = detail
        .strip_prefix("no answer to a beat after a silence of ")
        .and_then(|rest| rest.strip_suffix(" s"));
    // An interval less its jitter, which halves the first one at most; and rounded.
    assert!((0.5..1.2).contains(&silence.unwrap().parse::<f32>().unwrap()), "{detail}");
    assert_eq!(
        natpulse.metrics().await[r#"natpulse_sessions_closed_total{bridge="b",reason="client_dead"}"#],
        1.0
    );
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_lives_and_each_beat_has_a_payload_of_its_own() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, BEATS).await;
    let (mut client, backend) = session(&natpulse, &server).await;
    let mut payloads = std::collections::HashSet::new();
    for _ in 0..8 {
        let ping = within("a beat", client.frame()).await.unwrap();
        assert_eq!(ping.opcode(), PING);
        assert!(payloads.insert(ping.payload.clone()), "a payload used twice");
        client.send(FIN | PONG, &ping.payload).await.unwrap();
    }
    assert!(natpulse.logged("session closed").is_empty());
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn the_clients_own_beats_count_as_ours() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, BEATS).await;
    let (mut client, backend) = session(&natpulse, &server).await;
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..60 {
        clock.tick().await;
        client.send(FIN | PING, b"mine").await.unwrap();
        let answer = within("an answer", client.frame()).await.unwrap();
        assert_eq!((answer.opcode(), answer.payload), (PONG, b"mine".to_vec()), "no beat of natpulse's");
    }
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_websocket_backend_is_beaten_alike() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[heartbeat]\npolicy = \"off\"\n[[bridge]]\nname = \"b\"\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = {{ url = \"ws://{}/\", heartbeat = {BEATS} }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    let addr = natpulse.addr("b");
    let accept = async { RawWs::accept(server.accept().await.unwrap().0).await };
    let (client, backend) =
        within("a session", async { tokio::join!(TcpStream::connect(addr), accept) }).await;
    let (client, mut backend) = (client.unwrap(), backend.unwrap());
    for _ in 0..3 {
        let ping = within("a beat", backend.frame()).await.unwrap();
        assert_eq!(ping.opcode(), PING);
        backend.io.write_all(&server_frame(FIN | PONG, &ping.payload)).await.unwrap();
    }
    let begun = Instant::now();
    // Its client stays, and natpulse dials again.
    natpulse.event("dialling again", |event| event["reason"] == "backend_dead").await;
    assert!(begun.elapsed() < FOUND, "{:?}", begun.elapsed());
    drop((client, backend, server));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_reply_of_another_payload_is_life_all_the_same() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, BEATS).await;
    let (mut client, backend) = session(&natpulse, &server).await;
    for _ in 0..4 {
        assert_eq!(within("a beat", client.frame()).await.unwrap().opcode(), PING);
        client.send(FIN | PONG, b"something else").await.unwrap();
    }
    assert!(natpulse.logged("session closed").is_empty());
    drop((client, backend));
    natpulse.stop().await;
}

/// How a busy peer reads.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// 20 KB/s.
    Slow,
    /// Not at all.
    Stalled,
    /// As fast as it can, and then not at all, in turns of half a second.
    Bursty,
}

const BULK: usize = 64 << 20;

/// How a transfer is made hard: beats, and a reader that reads in its way for so long, then what is left as fast as it
/// can.
#[derive(Clone, Copy)]
struct Busy {
    beats: &'static str,
    reader: Reader,
    time: Duration,
}

/// Reads from `stream`; what is read comes out of the pipe. The stream's end is the pipe's, whatever ended it: whoever
/// reads from the pipe knows how much there must be.
fn read_as(busy: Busy, mut stream: impl AsyncRead + Send + Unpin + 'static) -> DuplexStream {
    let (mut inlet, outlet) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        let begun = Instant::now();
        let mut buffer = vec![0; 256 << 10];
        let mut clock = tokio::time::interval(Duration::from_millis(100));
        let mut tick = 0;
        loop {
            let mut most = buffer.len();
            if begun.elapsed() < busy.time {
                clock.tick().await;
                tick += 1;
                match busy.reader {
                    Reader::Slow => most = 2_000,
                    Reader::Bursty if tick / 5 % 2 == 0 => {}
                    Reader::Bursty | Reader::Stalled => continue,
                }
            }
            let count = stream.read(&mut buffer[..most]).await.unwrap_or(0);
            if count == 0 || inlet.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    outlet
}

/// A record of 64 MiB to a client that is busy; it answers what pings it finds behind.
async fn download(busy: Busy) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, busy.beats).await;
    let (client, mut backend) = session(&natpulse, &server).await;
    let sending = async {
        backend.write_all(&(BULK as u32).to_be_bytes()).await.unwrap();
        let piece = vec![7; 1 << 20];
        for _ in 0..BULK >> 20 {
            backend.write_all(&piece).await.unwrap();
        }
    };
    let receiving = async {
        let (frames, mut writer) = tokio::io::split(client.io);
        let mut frames = RawWs { io: BufReader::new(read_as(busy, frames)) };
        let (mut got, mut buffer) = (0, Vec::new());
        while got < BULK {
            let header = frames.header().await.unwrap();
            buffer.resize(header.length as usize, 0);
            frames.io.read_exact(&mut buffer).await.unwrap();
            if header.first & 0xf == PING {
                writer.write_all(&frame(FIN | PONG, &buffer)).await.unwrap();
            } else {
                got += buffer.len();
            }
        }
    };
    let all = async { tokio::join!(sending, receiving) };
    let time = busy.time + Duration::from_secs(150);
    within_time(time, &format!("a download to a {:?} reader", busy.reader), all).await;
    assert!(natpulse.logged("session closed").is_empty(), "{:?}", natpulse.logged("session closed"));
    natpulse.stop().await;
}

/// A message of 64 MiB to a backend that is busy; meanwhile the client is not read from, nor are its pongs.
async fn upload(busy: Busy) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = to_records(&server, busy.beats).await;
    let (client, backend) = session(&natpulse, &server).await;
    let (frames, mut writer) = tokio::io::split(client.io);
    let mut frames = RawWs { io: BufReader::new(frames) };
    let (pings, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let listening = tokio::spawn(async move {
        while let Ok(ping) = frames.frame().await {
            assert_eq!(ping.opcode(), PING);
            pings.send(ping.payload).unwrap();
        }
    });
    let sending = async {
        let payload = vec![7; 1 << 20];
        let first = frame(BINARY, &payload);
        let [middle, last] = [0, FIN].map(|first| frame(first, &payload));
        for index in 0..BULK >> 20 {
            // Pongs go between the pieces of the message, as a client's library sends them.
            while let Ok(payload) = answers.try_recv() {
                writer.write_all(&frame(FIN | PONG, &payload)).await.unwrap();
            }
            let is_last = index == (BULK >> 20) - 1;
            let piece = if is_last {
                &last
            } else if index == 0 {
                &first
            } else {
                &middle
            };
            writer.write_all(piece).await.unwrap();
        }
        while let Some(payload) = answers.recv().await {
            writer.write_all(&frame(FIN | PONG, &payload)).await.unwrap();
        }
    };
    let receiving = async {
        let mut record = read_as(busy, backend).take(4 + BULK as u64);
        assert_eq!(tokio::io::copy(&mut record, &mut tokio::io::sink()).await.unwrap(), 4 + BULK as u64);
    };
    let all = async {
        tokio::select! {
            () = sending => panic!("the client was hung up on"),
            () = receiving => {}
        }
    };
    let time = busy.time + Duration::from_secs(150);
    within_time(time, &format!("an upload to a {:?} reader", busy.reader), all).await;
    assert!(natpulse.logged("session closed").is_empty(), "{:?}", natpulse.logged("session closed"));
    listening.abort();
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_peers_are_never_killed() {
    // The more beats fall due while a peer is busy, the better; but on a machine that runs other tests beside this one,
    // a client may well take a quarter of a second to answer.
    let (beats, time, runs) = match is_long() {
        true => (r#"{ policy = "fixed", every = "300ms", reply_timeout = "250ms" }"#, 10, 20),
        false => (BEATS, 4, 3),
    };
    for run in 0..runs {
        println!("run {run}");
        for reader in [Reader::Slow, Reader::Stalled, Reader::Bursty] {
            let busy = Busy { beats, reader, time: Duration::from_secs(time) };
            tokio::join!(download(busy), upload(busy));
        }
    }
}

/// Ten minutes of it, where there is time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_outlives_any_number_of_beats() {
    let beats = r#"{ policy = "fixed", every = "2s", reply_timeout = "1s" }"#;
    let time = Duration::from_secs(if is_long() { 600 } else { 12 });
    let busy = Busy { beats, reader: Reader::Slow, time };
    tokio::join!(download(busy), upload(busy));
}
