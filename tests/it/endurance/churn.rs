//! Clients that come and break off, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{alone, config, is_long};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::{PATIENCE, within, within_time};
use crate::raw::{RawWs, upgrade};

/// How far each client in turn gets, and how it leaves.
async fn come_and_go(addr: std::net::SocketAddr, number: usize) {
    match number % 4 {
        0 => TcpStream::connect(addr).await.unwrap().set_zero_linger().unwrap(),
        1 => {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(&upgrade("/").as_bytes()[..60]).await.unwrap();
            stream.set_zero_linger().unwrap();
        }
        2 => RawWs::open(addr, "/").await.unwrap().abort(),
        _ => drop(RawWs::open(addr, "/").await.unwrap()),
    }
}

async fn many(addr: std::net::SocketAddr, cycles: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..50).map(|_| {
        let next = next.clone();
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= cycles {
                    return;
                }
                come_and_go(addr, number).await;
            }
        }
    });
    futures_util::future::join_all(workers).await;
}

/// Waits until nothing of anybody is left.
async fn all_gone(natpulse: &Natpulse, fds: usize, tasks: f64) {
    // They are accepted one after the other: when this one is served, nobody waits any more.
    RawWs::open(natpulse.addr("ws"), "/").await.unwrap().leave().await;
    let back = async { while natpulse.metrics().await["natpulse_runtime_tasks"] > tasks {} };
    within("the tasks to be back where they were", back).await;
    natpulse.settles_to(fds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_break_off_leave_nothing_behind_however_many_there_are() {
    let _alone = alone().await;
    let cycles = if is_long() { 100_000 } else { 20_000 };
    let backend = Backend::framed_echo().await;
    let natpulse = Natpulse::start(&config("", backend.addr)).await;
    let fds = natpulse.fds();
    let tasks = natpulse.metrics().await["natpulse_runtime_tasks"];
    within("the first clients", many(natpulse.addr("ws"), 1_000)).await;
    all_gone(&natpulse, fds, tasks).await;

    let (before, begun) = (memory(&natpulse), Instant::now());
    within_time(8 * PATIENCE, "all to come and go", many(natpulse.addr("ws"), cycles)).await;
    let took = begun.elapsed().as_secs_f32();
    all_gone(&natpulse, fds, tasks).await;
    println!(
        "{cycles} clients came and broke off in {took:.1} s ({:.0}/s); descriptors {} of {fds}, \
         tasks {} of {tasks}, memory {} KiB of {} KiB",
        cycles as f32 / took,
        natpulse.fds(),
        natpulse.metrics().await["natpulse_runtime_tasks"],
        memory(&natpulse) / 1024,
        before / 1024
    );
    natpulse.stop().await;
}
