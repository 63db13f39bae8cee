//! Thousands of sessions that mostly say nothing.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, iter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{alone, config};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::{PATIENCE, within, within_time};
use crate::raw::{BINARY, FIN, RawWs};

/// With its backend's end, each takes two descriptors of this process, and two of natpulse.
const SESSIONS: usize = 9_000;
/// How many are busy at a time.
const BUSY: usize = 100;

async fn open_all(natpulse: &Natpulse) -> Vec<RawWs> {
    let addr = natpulse.addr("ws");
    let opening = iter(0..SESSIONS).map(|_| RawWs::open(addr, "/")).buffer_unordered(BUSY);
    let clients: Vec<_> = within_time(4 * PATIENCE, "all sessions to open", opening.collect()).await;
    let series = "natpulse_sessions_active{bridge=\"ws\"}";
    within("all to be counted", async { while natpulse.metrics().await[series] < SESSIONS as f64 {} }).await;
    clients.into_iter().map(|client| client.unwrap()).collect()
}

/// How often /metrics is asked for.
const SCRAPES: usize = 51;

#[tokio::test(flavor = "multi_thread")]
async fn nine_thousand_idle_sessions_take_little_memory_and_again_after_they_were_busy() {
    let _alone = alone().await;
    let limit = getrlimit(Resource::Nofile);
    let room = limit.maximum.unwrap_or(u64::MAX);
    assert!(room >= 2 * SESSIONS as u64 + 1_000, "this test needs more than {room} descriptors");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();

    // Echoes records, holding nothing between them.
    let backend = Backend::serve(|mut stream| async move {
        loop {
            let length = stream.read_u32().await?;
            let mut record = vec![0; 4 + length as usize];
            record[..4].copy_from_slice(&length.to_be_bytes());
            stream.read_exact(&mut record[4..]).await?;
            stream.write_all(&record).await?;
        }
    })
    .await;
    let natpulse = Natpulse::start(&config("", backend.addr)).await;
    let (addr, fds) = (natpulse.addr("ws"), natpulse.fds());
    let message = vec![7; 64 << 10];

    let mut first = RawWs::open(addr, "/").await.unwrap();
    first.send(FIN | BINARY, &message).await.unwrap();
    assert!(within("the echo", first.message()).await.unwrap().1 == message);
    first.leave().await;
    natpulse.closed_sessions(1).await;

    let (before, pss_before) = (memory(&natpulse), natpulse.pss());
    let mut clients = open_all(&natpulse).await;
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / SESSIONS as f64;
    let idle = each(memory(&natpulse), before);
    println!(
        "{SESSIONS} idle sessions: {idle:.0} bytes each (Pss {:.0}), of {} KiB before",
        each(natpulse.pss(), pss_before),
        before / 1024
    );
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        natpulse.exposition().await;
        scrapes.push(begun.elapsed());
    }
    scrapes.sort();
    println!(
        "a scrape takes {:.1?}, the slowest of {SCRAPES} {:.1?}",
        scrapes[SCRAPES / 2],
        scrapes[SCRAPES - 1]
    );

    let carried = async {
        let mut waiting = clients.iter_mut();
        let mut busy = FuturesUnordered::new();
        loop {
            while busy.len() < BUSY {
                let Some(client) = waiting.next() else { break };
                busy.push(async {
                    client.send(FIN | BINARY, &message).await.unwrap();
                    assert!(client.message().await.unwrap().1 == message);
                });
            }
            if busy.next().await.is_none() {
                return;
            }
        }
    };
    within_time(4 * PATIENCE, "a message over each session", carried).await;
    let begun = Instant::now();
    let soon = each(memory(&natpulse), before);
    let mut later = soon;
    // The memory may come back by and by; this is how long it may take.
    while later > 4096.0 && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        later = each(memory(&natpulse), before);
    }
    println!(
        "after 64 KiB each way over each: {soon:.0} bytes each at once, {later:.0} after {:.1} s (Pss {:.0})",
        begun.elapsed().as_secs_f32(),
        each(natpulse.pss(), pss_before)
    );
    drop(clients);
    within_time(4 * PATIENCE, "all sessions to close", natpulse.closed_sessions(SESSIONS + 1)).await;
    natpulse.settles_to(fds).await;
    let left = memory(&natpulse);

    // What they left is not lost: as many again need no more.
    let clients = open_all(&natpulse).await;
    let again = each(memory(&natpulse), before);
    println!("after they have gone: {} KiB left; as many again: {again:.0} bytes each", left / 1024);
    drop(clients);
    within_time(4 * PATIENCE, "all sessions to close", natpulse.closed_sessions(2 * SESSIONS + 1)).await;
    natpulse.settles_to(fds).await;
    assert!(idle <= 3.0 * 1024.0, "{idle} bytes for each idle session");
    assert!(later <= 4.0 * 1024.0, "{later} bytes for each session that was busy");
    assert!(again <= 3.0 * 1024.0, "{again} bytes for each of the second nine thousand");
    natpulse.stop().await;
}
