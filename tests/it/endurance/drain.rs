//! Leaving while much is going on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::alone;
use crate::backends::Backend;
use crate::harness::{Natpulse, http_get};
use crate::process::{eventually, within};
use crate::raw::{BINARY, CLOSE, FIN, RawWs, frame};

const WS_CLIENTS: usize = 200;
const TCP_CLIENTS: usize = 20;
const CLIENTS: usize = WS_CLIENTS + TCP_CLIENTS;
/// Each side of each session speaks this often.
const PACE: Duration = Duration::from_millis(10);

/// What the backend has of one client.
#[derive(Default)]
struct Record {
    delivered: AtomicU64,
    written: AtomicU64,
    is_over: AtomicBool,
}

/// A backend that is told a client's number first, then numbers each in its place, and that
/// says numbers itself.
async fn recorder(records: Arc<Vec<Record>>) -> Backend {
    Backend::serve(move |mut stream| {
        let records = records.clone();
        async move {
            assert_eq!(stream.read_u32().await?, 8);
            let record = &records[stream.read_u64().await? as usize];
            let (mut reader, mut writer) = stream.split();
            let hearing = async {
                let mut expected = 0;
                while let Ok(length) = reader.read_u32().await {
                    assert_eq!(length, 8);
                    assert_eq!(reader.read_u64().await.unwrap(), expected, "in order, without gaps");
                    expected += 1;
                    record.delivered.store(expected, Ordering::SeqCst);
                }
            };
            let saying = async {
                let mut pace = tokio::time::interval(PACE);
                for number in 0u64.. {
                    pace.tick().await;
                    let said = [&8u32.to_be_bytes()[..], &number.to_be_bytes()].concat();
                    if writer.write_all(&said).await.is_err() {
                        break;
                    }
                    record.written.store(number + 1, Ordering::SeqCst);
                }
            };
            // Once the client has said its last word, so has the backend.
            tokio::select! {
                () = hearing => {}
                () = async { saying.await; std::future::pending().await } => {}
            }
            record.is_over.store(true, Ordering::SeqCst);
            Ok(())
        }
    })
    .await
}

/// How it went for one client.
struct Told {
    /// The close code, on a WebSocket.
    code: Option<u16>,
    at: Instant,
    heard: u64,
    sent: u64,
}

/// Sends numbers as `send` writes them, until `stop`; returns how many.
async fn talk<W: AsyncWrite + Unpin>(
    writer: &mut W,
    client: u64,
    stop: &AtomicBool,
    form: impl Fn(u64) -> Vec<u8>,
) -> u64 {
    writer.write_all(&form(client)).await.unwrap();
    let mut pace = tokio::time::interval(PACE);
    let mut sent = 0;
    while !stop.load(Ordering::SeqCst) {
        writer.write_all(&form(sent)).await.unwrap();
        sent += 1;
        pace.tick().await;
    }
    sent
}

async fn ws_client(addr: std::net::SocketAddr, number: u64) -> Told {
    let (mut reader, mut writer) = RawWs::open(addr, "/").await.unwrap().split();
    let stop = AtomicBool::new(false);
    let hearing = async {
        let mut heard = 0u64;
        loop {
            let frame = reader.frame().await.expect("a close frame before the end");
            if frame.opcode() == CLOSE {
                stop.store(true, Ordering::SeqCst);
                return (frame.close_code(), Instant::now(), heard);
            }
            assert_eq!((frame.first, &frame.payload[..]), (FIN | BINARY, &heard.to_be_bytes()[..]));
            heard += 1;
        }
    };
    let form = |number: u64| frame(FIN | BINARY, &number.to_be_bytes());
    let ((code, at, heard), sent) = tokio::join!(hearing, talk(&mut writer, number, &stop, form));
    writer.write_all(&frame(FIN | CLOSE, &code.to_be_bytes())).await.unwrap();
    assert_eq!(reader.io.read(&mut [0; 1]).await.unwrap(), 0, "nothing behind the close");
    Told { code: Some(code), at, heard, sent }
}

async fn tcp_client(addr: std::net::SocketAddr, number: u64) -> Told {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let stop = AtomicBool::new(false);
    let hearing = async {
        let mut heard = 0u64;
        while let Some(said) = record_or_end(&mut reader).await {
            assert_eq!(said, heard);
            heard += 1;
        }
        stop.store(true, Ordering::SeqCst);
        (Instant::now(), heard)
    };
    let form = |number: u64| [&8u32.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let ((at, heard), sent) = tokio::join!(hearing, talk(&mut writer, number, &stop, form));
    writer.shutdown().await.unwrap();
    Told { code: None, at, heard, sent }
}

/// The next record, or none where the stream ends between two; a reset is an error.
async fn record_or_end(reader: &mut (impl AsyncRead + Unpin)) -> Option<u64> {
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await.unwrap() == 0 {
        return None;
    }
    reader.read_exact(&mut length[1..]).await.unwrap();
    assert_eq!(u32::from_be_bytes(length), 8);
    Some(reader.read_u64().await.unwrap())
}

async fn start(window: &str, records: Arc<Vec<Record>>) -> (Natpulse, Backend) {
    let backend = recorder(records).await;
    let end = format!("{{ url = \"tcp://{}\", framing = \"u32be\" }}", backend.addr);
    let natpulse = Natpulse::start(&format!(
        "[server]\ndrain_window = \"{window}\"\n\
         [[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = {end}\n\
         [[bridge]]\nname = \"tcp\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = {end}\n"
    ))
    .await;
    (natpulse, backend)
}

fn records() -> Arc<Vec<Record>> {
    Arc::new((0..CLIENTS).map(|_| Record::default()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_under_load_loses_no_message_that_was_on_its_way() {
    const WINDOW: Duration = Duration::from_secs(4);
    let _alone = alone().await;
    let records = records();
    let (mut natpulse, _backend) = start("4s", records.clone()).await;
    let (ws, tcp) = (natpulse.addr("ws"), natpulse.addr("tcp"));
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|number| match (number as usize) < WS_CLIENTS {
            true => tokio::spawn(ws_client(ws, number)),
            false => tokio::spawn(tcp_client(tcp, number)),
        })
        .collect();
    let all = |least: u64| {
        records.iter().all(|record| {
            record.delivered.load(Ordering::SeqCst) >= least && record.written.load(Ordering::SeqCst) >= least
        })
    };
    eventually("everyone to be talking", || all(20)).await;
    let written: Vec<u64> = records.iter().map(|record| record.written.load(Ordering::SeqCst)).collect();
    let begun = Instant::now();
    natpulse.terminate();

    let mut told = Vec::new();
    for client in clients {
        told.push(within("a client to be told", client).await.unwrap());
    }
    let last = told.iter().map(|told| told.at).max().unwrap();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    println!(
        "left {} ms after the last of {CLIENTS} clients was told, {} ms after the signal",
        last.elapsed().as_millis(),
        begun.elapsed().as_millis()
    );
    eventually("the backend to see the ends", || {
        records.iter().all(|record| record.is_over.load(Ordering::SeqCst))
    })
    .await;

    for (number, (told, record)) in told.iter().zip(records.iter()).enumerate() {
        assert_eq!(told.code, (number < WS_CLIENTS).then_some(1012), "client {number}");
        // What the backend had said by the time of the signal was said well before the close.
        assert!(told.heard >= written[number], "client {number}: {} of {}", told.heard, written[number]);
        // All that the client sent before its own goodbye has arrived.
        assert_eq!(record.delivered.load(Ordering::SeqCst), told.sent, "client {number}");
    }
    // And natpulse counted what arrived, the clients' numbers included.
    let mut counted: Vec<_> = natpulse
        .closed_sessions(records.len())
        .await
        .iter()
        .map(|event| event["uplink_messages"].as_u64().unwrap())
        .collect();
    let mut delivered: Vec<_> =
        records.iter().map(|record| record.delivered.load(Ordering::SeqCst) + 1).collect();
    counted.sort();
    delivered.sort();
    assert_eq!(counted, delivered);

    // The closes are spread over three quarters of the window, evenly as far as chance goes:
    // of 220, each third gets 40 to 107 but once in a million.
    let mut thirds = [0; 3];
    for told in &told {
        let part = told.at.duration_since(begun).as_secs_f32() / WINDOW.as_secs_f32() / 0.75;
        thirds[((part * 3.0) as usize).min(2)] += 1;
    }
    println!("closes in each third of the spread: {thirds:?}");
    assert!(thirds.iter().all(|third| (40..=107).contains(third)), "{thirds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_as_soon_as_the_last_client_has_gone_by_itself() {
    let _alone = alone().await;
    let records = records();
    let (mut natpulse, _backend) = start("1h", records.clone()).await;
    let (ws, tcp) = (natpulse.addr("ws"), natpulse.addr("tcp"));
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(RawWs::open(ws, "/").await.unwrap());
    }
    natpulse.terminate();
    natpulse.event("draining", |_| true).await;
    // Nobody comes in any more.
    for addr in [ws, tcp] {
        eventually("the port to be closed", || {
            let connected = std::net::TcpStream::connect(addr);
            connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        })
        .await;
    }
    for client in clients {
        client.leave().await;
    }
    let gone = Instant::now();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    println!("left {} ms after the last client, of a window of an hour", gone.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_ignore_their_close_hold_nothing_up_beyond_the_window() {
    let _alone = alone().await;
    let records = records();
    let (mut natpulse, _backend) = start("1s", records.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(RawWs::open(natpulse.addr("ws"), "/").await.unwrap());
    }
    let begun = Instant::now();
    natpulse.terminate();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    println!("left {} ms after the signal, of a window of 1 s", begun.elapsed().as_millis());
    for client in &mut clients {
        assert_eq!(within("a close", client.frame()).await.unwrap().close_code(), 1012);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_however_busy_it_is() {
    let _alone = alone().await;
    let records = records();
    let (mut natpulse, _backend) = start("1h", records.clone()).await;
    let (ws, admin) = (natpulse.addr("ws"), natpulse.admin());
    let told = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let told = told.clone();
            tokio::spawn(async move {
                let mut client = RawWs::open(ws, "/").await.unwrap();
                client.send(FIN | BINARY, &u64::to_be_bytes(number)).await.unwrap();
                // Numbers, until the connection is gone.
                while client.frame().await.is_ok() {}
                told.lock().unwrap().push(number);
            })
        })
        .collect();
    eventually("everyone to be served", || {
        records[..20].iter().all(|record| record.written.load(Ordering::SeqCst) >= 5)
    })
    .await;
    natpulse.terminate();
    within("/readyz to say no", async { while http_get(admin, "/readyz").await.status != 503 {} }).await;
    let begun = Instant::now();
    natpulse.terminate();
    let code = natpulse.exit().await.code();
    println!("left {} ms after the second signal, with exit code {code:?}", begun.elapsed().as_millis());
    for client in clients {
        within("a client to be cut off", client).await.unwrap();
    }
    assert_eq!(told.lock().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_slower_than_its_backend_is_told_to_leave_too_between_two_messages() {
    const RECORD: usize = 64 << 10;
    let _alone = alone().await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut natpulse = Natpulse::start(&format!(
        "[server]\ndrain_window = \"8s\"\n[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    let addr = natpulse.addr("ws");
    let (client, backend) =
        within("a session", async { tokio::join!(RawWs::open(addr, "/"), server.accept()) }).await;
    let (mut client, (mut backend, _)) = (client.unwrap(), backend.unwrap());
    // There is always more to say.
    let talking = tokio::spawn(async move {
        let record = [&(RECORD as u32).to_be_bytes()[..], &[7; RECORD]].concat();
        while backend.write_all(&record).await.is_ok() {}
    });
    let reading = async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        for number in 0u64.. {
            if number == 100 {
                natpulse.terminate();
            }
            pace.tick().await;
            let frame = client.frame().await.expect("a close frame before the end");
            if frame.opcode() == CLOSE {
                return frame.close_code();
            }
        }
        unreachable!()
    };
    assert_eq!(within("a close", reading).await, 1012);
    client.send(FIN | CLOSE, &1012u16.to_be_bytes()).await.unwrap();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    within("the backend to hear of it", talking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_not_asked_for_anything_yet_holds_nothing_up() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut natpulse = Natpulse::start(&format!(
        "[server]\ndrain_window = \"1h\"\nhandshake_timeout = \"1h\"\n[[bridge]]\nname = \"ws\"\n\
         listen = \"ws://127.0.0.1:0/\"\nbackend = \"ws://{}/\"\ndial_timeout = \"1h\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let mut silent = TcpStream::connect(natpulse.addr("ws")).await.unwrap();
    let mut dialling = TcpStream::connect(natpulse.addr("ws")).await.unwrap();
    dialling.write_all(crate::raw::upgrade("/").as_bytes()).await.unwrap();
    // The backend has been reached, and does not answer.
    let _backend = within("the dialling", server.accept()).await.unwrap();
    let begun = Instant::now();
    natpulse.terminate();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    println!("left {} ms after the signal, of a window of an hour", begun.elapsed().as_millis());
    for stream in [&mut silent, &mut dialling] {
        assert_eq!(within("the end", stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
    }
}
