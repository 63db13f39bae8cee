//! A crowd that is asked to leave, and must not come back as one.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;

use super::{MANY, alone};
use crate::harness::{Natpulse, http_get};
use crate::process::{PATIENCE, within, within_time};
use crate::raw::{CLOSE, FIN, RawWs};

const SESSIONS: usize = 5_000;
const WINDOW: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_secs(2);
/// How many of them are opened at a time.
const BUSY: usize = 100;

/// Waits to be asked to leave, and leaves; returns when it was asked, and what it was told.
async fn client(mut ws: RawWs) -> (Instant, u16, String) {
    let frame = ws.frame().await.expect("a close frame before the end");
    let at = Instant::now();
    let (code, reason) = (frame.close_code(), String::from_utf8(frame.payload[2..].to_vec()).unwrap());
    ws.send(FIN | CLOSE, &code.to_be_bytes()).await.unwrap();
    assert_eq!(ws.io.read(&mut [0; 1]).await.unwrap(), 0, "nothing behind the close");
    (at, code, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_clients_are_asked_to_leave_one_by_one() {
    let _alone = alone().await;
    let limit = getrlimit(Resource::Nofile);
    let room = limit.maximum.unwrap_or(u64::MAX);
    assert!(room >= SESSIONS as u64 + 3_000, "this test needs more than {room} descriptors");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let mut natpulse = Natpulse::start(&format!(
        "[server]\ndrain_window = \"{}s\"\ndrain_delay = \"{}s\"\n{MANY}\n[heartbeat]\nmin = \"5m\"\n\
         [[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n",
        WINDOW.as_secs(),
        DELAY.as_secs()
    ))
    .await;
    let (addr, admin) = (natpulse.addr("ws"), natpulse.admin());
    let opening = iter(0..SESSIONS).map(|_| RawWs::open(addr, "/")).buffer_unordered(BUSY);
    let clients: Vec<_> = within_time(4 * PATIENCE, "all sessions to open", opening.collect()).await;
    let clients: Vec<_> = clients.into_iter().map(|ws| tokio::spawn(client(ws.unwrap()))).collect();

    let begun = Instant::now();
    natpulse.terminate();
    within("/readyz to say no", async { while http_get(admin, "/readyz").await.status != 503 {} }).await;
    let unready = begun.elapsed();
    let told = async {
        let mut told = Vec::new();
        for client in clients {
            told.push(client.await.unwrap());
        }
        told
    };
    let told = within_time(2 * PATIENCE, "everyone to leave", told).await;
    let all_gone = Instant::now();
    assert_eq!(natpulse.exit().await.code(), Some(0));
    let exit = all_gone.elapsed();

    let mut times: Vec<_> = told.iter().map(|(at, ..)| *at - begun).collect();
    times.sort();
    let (first, last) = (times[0], times[SESSIONS - 1]);
    let mut slices = [0; 24];
    times.iter().for_each(|time| slices[(time.as_secs() as usize).min(23)] += 1);
    // However the slices are laid.
    let mut end = 0;
    let most = (0..SESSIONS).map(|start| {
        end += times[end..].iter().take_while(|time| **time < times[start] + Duration::from_secs(1)).count();
        end - start
    });
    let most = most.max().unwrap();
    println!(
        "not ready after {unready:.1?}, closes from {first:.1?} to {last:.1?}, in each second {slices:?}, at most \
         {most} ({:.1}%) in any; exit {exit:.1?} after the last",
        100.0 * most as f32 / SESSIONS as f32
    );
    for (_, code, reason) in &told {
        assert_eq!((*code, &reason[..]), (1012, "service restart"));
    }
    assert!(unready < first && first >= DELAY);
    assert!(most <= SESSIONS * 15 / 100, "{slices:?}");
    assert!(last < DELAY + WINDOW, "{last:?}");
    assert!(exit < Duration::from_secs(3), "{exit:?} after the last has gone");
}
