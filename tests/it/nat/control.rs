//! What a NAT does to connections that nobody keeps alive: without these, a test that all connections live
//! would prove nothing.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::Crossing;
use super::network::{Nat, OUTSIDE, SERVER};
use crate::process::within;

const OFF: &str = "[heartbeat]\npolicy = \"off\"";

/// A connection through the NAT without natpulse, from a client of this number.
async fn connection(nat: &Nat, client: u8) -> (TcpStream, TcpStream) {
    let listener = nat.server.listen(SocketAddr::from((SERVER, 0)));
    let both = async { tokio::join!(nat.client(client, listener.local_addr().unwrap()), listener.accept()) };
    let (device, server) = within("a connection through the NAT", both).await;
    let (device, (server, seen)) = (device.unwrap(), server.unwrap());
    assert_eq!(seen.ip(), OUTSIDE, "the NAT hides its clients' addresses");
    (device, server)
}

async fn crosses(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"x").await.unwrap();
    within("a byte", to.read_exact(&mut [0; 1])).await.unwrap();
}

/// The next thing that comes is a reset.
async fn is_reset(stream: &mut TcpStream) {
    let read = within("a reset", stream.read(&mut [0; 1])).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn without_beats_a_silent_session_is_lost_and_neither_side_notices() {
    let timeout = Duration::from_secs(6);
    let nat = Nat::start(timeout).await;
    let crossing = Crossing::start(&nat, OFF).await;
    let (mut speaks_up, mut speaks_down) = (crossing.session().await, crossing.session().await);
    let silent = Instant::now();
    nat.forgets(|_| true).await;
    assert!(silent.elapsed() >= timeout - Duration::from_millis(100), "after {:?}", silent.elapsed());

    speaks_up.device.0.send(b"lost").await;
    speaks_down.service.0.send(b"lost").await;
    nat.refuses("both messages thrice", |refused| refused.outbound >= 3 && refused.inbound >= 3).await;
    assert_eq!(speaks_up.service.1.receive().now_or_never(), None);
    assert_eq!(speaks_down.device.1.receive().now_or_never(), None);
    assert_eq!(crossing.active().await, (2.0, 2.0), "both sides believe in both sessions");

    // It was the silence, not the path.
    crossing.session().await;
}

#[tokio::test]
async fn a_session_that_speaks_thrice_in_every_timeout_is_kept() {
    let timeout = Duration::from_secs(3);
    let nat = Nat::start(timeout).await;
    let crossing = Crossing::start(&nat, OFF).await;
    let mut session = crossing.session().await;
    let mut ticks = interval(timeout / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..=9 {
        ticks.tick().await;
        session.up(b"still here").await;
    }
    session.down(b"so am I").await;
    assert_eq!(nat.refused().await.outbound, 0);
}

/// How long the NAT knows a connection on which nothing crosses any more.
async fn forgotten_after(nat: &Nat, silent: Instant) -> Duration {
    nat.forgets(|_| true).await;
    silent.elapsed()
}

#[tokio::test]
async fn a_silent_connection_is_forgotten_after_the_timeout_its_last_packet_met() {
    let (short, long) = (Duration::from_secs(2), Duration::from_secs(4));
    // The kernel is right to a tick, which is 10 ms at most; a loaded machine looks late.
    let slack = Duration::from_secs(1);
    let nat = Nat::start(short).await;
    let _connection = connection(&nat, 7).await;
    let silent = Instant::now();
    nat.timeout(long);
    let measured = forgotten_after(&nat, silent).await;
    println!("set to {short:?}: forgotten after {measured:?}");
    assert!(measured >= short - Duration::from_millis(100) && measured < short + slack, "{measured:?}");

    let _connection = connection(&nat, 7).await;
    let measured = forgotten_after(&nat, Instant::now()).await;
    println!("set to {long:?}: forgotten after {measured:?}");
    assert!(measured >= long - Duration::from_millis(100) && measured < long + slack, "{measured:?}");
}

#[tokio::test]
async fn a_cut_path_swallows_every_packet_and_gives_them_back_when_restored() {
    let nat = Nat::start(Duration::from_secs(60)).await;
    let crossing = Crossing::start(&nat, OFF).await;
    let (mut speaks_up, mut speaks_down) = (crossing.session().await, crossing.session().await);
    nat.cut().await;
    speaks_up.device.0.send(b"late").await;
    speaks_down.service.0.send(b"late").await;
    nat.refuses("both messages thrice", |refused| refused.cut >= 6).await;
    assert_eq!(speaks_up.service.1.receive().now_or_never(), None);
    assert_eq!(speaks_down.device.1.receive().now_or_never(), None);
    assert_eq!(crossing.active().await, (2.0, 2.0), "no reset, no end");

    nat.restore().await;
    assert_eq!(within("the message up", speaks_up.service.1.receive()).await, b"late");
    assert_eq!(within("the message down", speaks_down.device.1.receive()).await, b"late");
    let refused = nat.refused().await;
    assert_eq!((refused.outbound, refused.inbound), (0, 0), "the NAT knew them all the time");
}

#[tokio::test]
async fn a_nat_that_answers_resets_ends_a_forgotten_connection_from_either_side() {
    let nat = Nat::start(Duration::from_secs(1)).await;
    nat.resets_unknown().await;
    let (mut device, mut left_behind) = connection(&nat, 7).await;
    let (_left_behind, mut server) = connection(&nat, 8).await;
    nat.forgets(|_| true).await;
    device.write_all(b"x").await.unwrap();
    server.write_all(b"x").await.unwrap();
    is_reset(&mut device).await;
    is_reset(&mut server).await;
    // Nobody tells the other side.
    assert!(left_behind.read(&mut [0; 1]).now_or_never().is_none());
}

#[tokio::test]
async fn a_nat_that_recreates_hides_from_the_client_that_the_server_cannot_reach_it() {
    let nat = Nat::start(Duration::from_secs(1)).await;
    nat.recreates(true);
    let (mut device, mut server) = connection(&nat, 7).await;
    nat.forgets(|_| true).await;
    crosses(&mut device, &mut server).await;
    crosses(&mut server, &mut device).await;

    nat.forgets(|_| true).await;
    server.write_all(b"x").await.unwrap();
    nat.refuses("the byte from the server", |refused| refused.inbound >= 3).await;
    let mut byte = [0; 1];
    assert!(device.read(&mut byte).now_or_never().is_none());
    // The client's next word opens the way, and the kernel's next attempt succeeds.
    crosses(&mut device, &mut server).await;
    within("the byte from the server", device.read_exact(&mut byte)).await.unwrap();
}

#[tokio::test]
async fn clients_of_several_addresses_are_forgotten_each_for_itself() {
    let nat = Nat::start(Duration::from_secs(2)).await;
    let (silent, _server) = connection(&nat, 7).await;
    let (mut device, mut server) = connection(&nat, 8).await;
    let client = silent.local_addr().unwrap();
    let forgotten = nat.forgets(|mapping| mapping.client == client);
    let mut ticks = interval(Duration::from_millis(500));
    let speaking = async {
        loop {
            ticks.tick().await;
            crosses(&mut device, &mut server).await;
        }
    };
    tokio::select! {
        () = forgotten => {}
        () = speaking => {}
    }
    let clients: Vec<_> = nat.mappings().await.into_iter().map(|mapping| mapping.client).collect();
    assert_eq!(clients, [device.local_addr().unwrap()]);
}
