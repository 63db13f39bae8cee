//! Peers that leave at the wrong moment, or do not leave when they should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Scene, bridge, framed, quoted, ws_to_tcp};
use crate::ends::{Backend, Framing};
use crate::measure::memory;
use crate::process::{eventually, within};
use crate::raw::{BINARY, CLOSE, FIN, PING, frame, frame_header, upgrade};
use crate::tools::TempDir;

async fn scene(settings: &str) -> (Scene, Backend) {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be)) + settings;
    let scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    (scene, server)
}

/// Writes `bytes` again and again, until the connection takes no more for as long as the
/// bystander exchanges a hundred messages. The writer is given back by the task, which is
/// to be aborted.
async fn clog<W>(scene: &mut Scene, mut writer: W, bytes: Vec<u8>) -> tokio::task::JoinHandle<W>
where
    W: tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let written = Arc::new(AtomicU64::new(0));
    let progress = written.clone();
    let clogging = tokio::spawn(async move {
        while writer.write_all(&bytes).await.is_ok() {
            progress.fetch_add(1, Ordering::Relaxed);
        }
        writer
    });
    loop {
        let before = written.load(Ordering::Relaxed);
        for _ in 0..100 {
            scene.undisturbed().await;
        }
        if before > 0 && before == written.load(Ordering::Relaxed) {
            return clogging;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_while_its_backend_does_not_read_is_noticed() {
    let (mut scene, server) = scene("").await;
    let (client, backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    client.io.get_ref().set_zero_linger().unwrap();
    let clogging = clog(&mut scene, client.io.into_inner(), frame(FIN | BINARY, &[7; 65536])).await;
    clogging.abort();
    assert!(clogging.await.is_err(), "the connection goes with its task");
    scene.offended("a reset behind a backlog", "client_reset").await;
    drop(backend);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_resets_while_its_client_does_not_read_is_noticed() {
    let (mut scene, server) = scene("").await;
    let (client, backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    backend.set_zero_linger().unwrap();
    let record = [&65536u32.to_be_bytes()[..], &[7; 65536]].concat();
    let clogging = clog(&mut scene, backend, record).await;
    clogging.abort();
    assert!(clogging.await.is_err(), "the connection goes with its task");
    scene.offended("a reset behind a backlog", "backend_reset").await;
    drop(client);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_goodbye_and_reads_nothing_more_is_not_waited_for() {
    let (mut scene, server) = scene("linger = \"300ms\"\n").await;
    let (client, backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    let (mut reader, writer) = backend.into_split();
    let record = [&65536u32.to_be_bytes()[..], &[7; 65536]].concat();
    let clogging = clog(&mut scene, writer, record).await;
    let mut client = client.io.into_inner();
    client.write_all(&frame(FIN | CLOSE, &1000u16.to_be_bytes())).await.unwrap();
    // The backend hears of it at once, whatever is on its way to the client.
    assert_eq!(within("the end at the backend", reader.read(&mut [0; 1])).await.unwrap(), 0);
    scene.offended("a goodbye and no reading", "client_closed").await;
    clogging.abort();
    drop((clogging.await, reader, client));
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_goes_on_after_it_was_told_to_leave_is_cut_off() {
    let (mut scene, server) = scene("").await;
    for (what, offence, code, reason) in [
        ("a reserved opcode", frame(FIN | 0x3, b"x"), 1002, "client_broke_protocol"),
        ("a long message", frame_header(FIN | BINARY, 1 << 40), 1009, "client_too_long"),
    ] {
        let (mut client, _backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
        client.io.write_all(&offence).await.unwrap();
        assert_eq!(within("a close", client.frame()).await.unwrap().close_code(), code);
        // It does not care, and talks until it no longer can.
        let going_on = async {
            let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
            while client.send(FIN | BINARY, &[7; 1000]).await.is_ok() {
                pace.tick().await;
            }
        };
        within("the end of its talk", going_on).await;
        scene.offended(what, reason).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_backend_is_dialled_leaves_nothing_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("calm", &quoted("ws://127.0.0.1:0/calm"), &framed(&url, Framing::U32be))
        + &bridge(
            "ws",
            &quoted("ws://127.0.0.1:0/bad"),
            &quoted(&format!("ws://{}/", silent.local_addr().unwrap())),
        )
        + "dial_timeout = \"500ms\"\n";
    let mut scene = Scene::new(&config, "calm", Framing::Raw, &server).await;
    for reset in [true, false] {
        let mut client = TcpStream::connect(scene.natpulse.addr("ws")).await.unwrap();
        client.write_all(upgrade("/bad").as_bytes()).await.unwrap();
        // It is being dialled, and says nothing.
        let (backend, _) = within("the dialling", silent.accept()).await.unwrap();
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        scene.undisturbed().await;
        drop(backend);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pings_and_reads_no_pongs_costs_little_memory() {
    let (mut scene, server) = scene("").await;
    let (client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    let (reader, mut writer) = client.split();
    let before = memory(&scene.natpulse);
    let ping = frame(FIN | PING, &[7; 125]);
    let pings = ping.repeat(10_000);
    for _ in 0..40 {
        within("room for pings", writer.write_all(&pings)).await.unwrap();
    }
    writer.write_all(&frame(FIN | BINARY, b"done")).await.unwrap();
    let mut record = [0; 8];
    within("the message behind them", backend.read_exact(&mut record)).await.unwrap();
    assert_eq!(&record, b"\0\0\0\x04done");
    let grown = memory(&scene.natpulse).saturating_sub(before);
    println!("400,000 pings unanswered: memory grew by {} KiB", grown / 1024);
    assert!(grown < 2 << 20, "{grown} bytes");
    scene.undisturbed().await;
    drop((reader, writer, backend));
    eventually("its session to be over", || scene.natpulse.logged("session closed").len() == 1).await;
    scene.offences += 1;
    scene.end().await;
}
