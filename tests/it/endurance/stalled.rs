//! Peers that stop reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{MIB, Noise, Session, alone, is_long, start, warm_up};
use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::within_time;
use crate::raw::{BINARY, FIN, frame, frame_header};

const PIECE: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(240);

fn total() -> u64 {
    if is_long() { 1024 * MIB } else { 256 * MIB }
}

/// Lets numbered messages cross against a stream that nobody reads, until that stream has
/// come to a standstill: nothing of it moved while hundreds of messages did. Returns how
/// many crossed, and the most that natpulse's memory grew by.
async fn until_stalled(
    natpulse: &Natpulse,
    written: &AtomicU64,
    bystander: &mut Session,
    send: &mut mpsc::UnboundedSender<u64>,
    arrived: &mut mpsc::UnboundedReceiver<u64>,
) -> (u64, u64) {
    let before = memory(natpulse);
    let (mut crossed, mut peak) = (0, before);
    let stalled = async {
        let mut still = 0;
        while still < 3 {
            let at = written.load(Ordering::Relaxed);
            for _ in 0..100 {
                send.send(crossed).unwrap();
                assert_eq!(arrived.recv().await, Some(crossed), "against the stream");
                crossed += 1;
            }
            bystander.exchange(&[7; 70_000]).await;
            peak = peak.max(memory(natpulse));
            still = if at == written.load(Ordering::Relaxed) { still + 1 } else { 0 };
        }
    };
    within_time(PATIENCE, "a standstill", stalled).await;
    (crossed, peak - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_can_still_be_heard_and_costs_little() {
    let _alone = alone().await;
    let (natpulse, server) = start("").await;
    let fds = natpulse.fds();
    warm_up(&natpulse, &server).await;
    let mut bystander = Session::open(natpulse.addr("ws"), &server).await;
    let Session { client, backend } = Session::open(natpulse.addr("ws"), &server).await;
    let (mut client_reader, mut client_writer) = client.split();
    let (mut reader, mut writer) = backend.into_split();
    let written = Arc::new(AtomicU64::new(0));

    let (progress, noise) = (written.clone(), Arc::new(Noise::new()));
    let stream = noise.clone();
    let pushing = tokio::spawn(async move {
        let mut at = 0;
        while at < total() {
            writer.write_u32(PIECE as u32).await.unwrap();
            let end = at + PIECE;
            while at < end {
                let piece = stream.piece(at, end - at, false);
                writer.write_all(piece).await.unwrap();
                at += piece.len() as u64;
            }
            progress.store(at, Ordering::Relaxed);
        }
        writer
    });
    let (mut send, mut to_send) = mpsc::unbounded_channel::<u64>();
    let sending = tokio::spawn(async move {
        while let Some(number) = to_send.recv().await {
            client_writer.write_all(&frame(FIN | BINARY, &number.to_be_bytes())).await.unwrap();
        }
        client_writer
    });
    let (heard, mut arrived) = mpsc::unbounded_channel();
    let hearing = tokio::spawn(async move {
        while let Ok(length) = reader.read_u32().await {
            assert_eq!(length, 8);
            heard.send(reader.read_u64().await.unwrap()).unwrap();
        }
    });

    let (crossed, grown) = until_stalled(&natpulse, &written, &mut bystander, &mut send, &mut arrived).await;
    let taken = written.load(Ordering::Relaxed);
    println!(
        "client not reading: {} of {} MiB left the backend, {crossed} messages crossed the other way, \
         memory grew by {} KiB",
        taken / MIB,
        total() / MIB,
        grown / 1024
    );
    assert!(taken < total(), "everything was taken in");
    assert!(grown < 2 * MIB, "{grown} bytes");

    // The client comes back to its senses, and nothing is missing.
    let reading = async {
        let mut at = 0;
        while at < total() {
            let (kind, message) = client_reader.message().await.unwrap();
            assert_eq!((kind, message.len() as u64), (BINARY, PIECE));
            noise.check(at, &message);
            at += PIECE;
        }
    };
    within_time(PATIENCE, "the whole stream", reading).await;
    drop((send, pushing.await.unwrap(), client_reader));
    drop(sending.await.unwrap());
    hearing.await.unwrap();
    bystander.end().await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stops_reading_can_still_be_heard_and_costs_little() {
    let _alone = alone().await;
    let (natpulse, server) = start("").await;
    let fds = natpulse.fds();
    warm_up(&natpulse, &server).await;
    let mut bystander = Session::open(natpulse.addr("ws"), &server).await;
    let Session { client, backend } = Session::open(natpulse.addr("ws"), &server).await;
    let (mut client_reader, mut client_writer) = client.split();
    let (mut reader, mut writer) = backend.into_split();
    let written = Arc::new(AtomicU64::new(0));

    let (progress, noise) = (written.clone(), Arc::new(Noise::new()));
    let stream = noise.clone();
    let pushing = tokio::spawn(async move {
        let mut at = 0;
        while at < total() {
            client_writer.write_all(&frame_header(FIN | BINARY, PIECE)).await.unwrap();
            let end = at + PIECE;
            while at < end {
                // A multiple of four, so each frame's mask begins where the stream's does.
                let piece = stream.piece(at, end - at, true);
                client_writer.write_all(piece).await.unwrap();
                at += piece.len() as u64;
            }
            progress.store(at, Ordering::Relaxed);
        }
        client_writer
    });
    let (mut send, mut to_send) = mpsc::unbounded_channel::<u64>();
    let sending = tokio::spawn(async move {
        while let Some(number) = to_send.recv().await {
            writer.write_u32(8).await.unwrap();
            writer.write_u64(number).await.unwrap();
        }
        writer
    });
    let (heard, mut arrived) = mpsc::unbounded_channel();
    let hearing = tokio::spawn(async move {
        while let Ok((kind, message)) = client_reader.message().await {
            assert_eq!(kind, BINARY);
            heard.send(u64::from_be_bytes(message.try_into().unwrap())).unwrap();
        }
    });

    let (crossed, grown) = until_stalled(&natpulse, &written, &mut bystander, &mut send, &mut arrived).await;
    let taken = written.load(Ordering::Relaxed);
    println!(
        "backend not reading: {} of {} MiB left the client, {crossed} messages crossed the other way, \
         memory grew by {} KiB",
        taken / MIB,
        total() / MIB,
        grown / 1024
    );
    assert!(taken < total(), "everything was taken in");
    assert!(grown < 2 * MIB, "{grown} bytes");

    let reading = async {
        let (mut at, mut record) = (0, vec![0; PIECE as usize]);
        while at < total() {
            assert_eq!(u64::from(reader.read_u32().await.unwrap()), PIECE);
            reader.read_exact(&mut record).await.unwrap();
            noise.check(at, &record);
            at += PIECE;
        }
    };
    within_time(PATIENCE, "the whole stream", reading).await;
    drop((send, pushing.await.unwrap(), reader));
    drop(sending.await.unwrap());
    hearing.abort();
    // The task's half of the client's connection goes with it.
    let _ = hearing.await;
    bystander.end().await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}
