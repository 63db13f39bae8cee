//! Sessions and handshakes are counted, and given back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{echo, refused, session};
use crate::backends::Backend;
use crate::harness::{Natpulse, connect_from, exchange};
use crate::process::within;
use crate::raw::{RawWs, upgrade};

#[tokio::test]
async fn an_address_gets_so_many_sessions_and_another_gets_its_own() {
    let natpulse = Natpulse::start(&echo("[limits]\nsessions_per_address = 2", "")).await;
    let first = session(&natpulse, "127.0.0.2").await;
    let _second = session(&natpulse, "127.0.0.2").await;
    let page = refused(&natpulse, "127.0.0.2").await;
    assert_eq!(page.status, 429, "{}", page.head);
    assert!(page.head.contains("retry-after: 5"), "{}", page.head);
    natpulse.counts("b", "limited", 1.0).await;
    let _other = session(&natpulse, "127.0.0.3").await;
    first.leave().await;
    natpulse.closed_sessions(1).await;
    session(&natpulse, "127.0.0.2").await.leave().await;
    let told = natpulse
        .event("clients are turned away by a limit; a proxy in front must say who they are", |_| true);
    assert_eq!(told.await["limit"], "limits.sessions_per_address");
    natpulse.kill().await;
}

#[tokio::test]
async fn a_network_gets_so_many_sessions() {
    let natpulse = Natpulse::start(&echo("[limits]\nsessions_per_network = 2", "")).await;
    let _first = session(&natpulse, "127.0.3.2").await;
    let _second = session(&natpulse, "127.0.3.3").await;
    assert_eq!(refused(&natpulse, "127.0.3.4").await.status, 429);
    let _other = session(&natpulse, "127.0.4.2").await;
    natpulse.kill().await;
}

#[tokio::test]
async fn a_bridge_has_so_many_sessions_in_all_and_for_each() {
    let natpulse = Natpulse::start(&echo("", "limits = { sessions = 3, sessions_per_address = 2 }")).await;
    let _first = session(&natpulse, "127.0.0.2").await;
    let _second = session(&natpulse, "127.0.0.2").await;
    assert_eq!(refused(&natpulse, "127.0.0.2").await.status, 429);
    let third = session(&natpulse, "127.0.0.3").await;
    let page = refused(&natpulse, "127.0.0.4").await;
    assert_eq!(page.status, 503, "full is not the client's fault");
    assert!(page.head.contains("retry-after: 5"), "{}", page.head);
    natpulse.counts("b", "unavailable", 1.0).await;
    third.leave().await;
    natpulse.closed_sessions(1).await;
    session(&natpulse, "127.0.0.4").await.leave().await;
    natpulse.kill().await;
}

#[tokio::test]
async fn a_stream_is_closed_without_a_word_and_its_backend_is_left_alone() {
    let backend = Backend::serve(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.map(|_| ())
    })
    .await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"tcp://{}\"\n\
         limits = {{ sessions_per_address = 1 }}\n",
        backend.addr
    ))
    .await;
    let mut first = TcpStream::connect(natpulse.addr("b")).await.unwrap();
    first.write_all(b"hello").await.unwrap();
    within("the echo", first.read_exact(&mut [0; 5])).await.unwrap();
    let mut second = TcpStream::connect(natpulse.addr("b")).await.unwrap();
    assert_eq!(within("the end", second.read(&mut [0; 1])).await.unwrap(), 0);
    natpulse.counts("b", "limited", 1.0).await;
    let dials = "natpulse_backend_dials_total{bridge=\"b\",result=\"connected\"}";
    assert_eq!(natpulse.metrics().await[dials], 1.0);
    drop(first);
    natpulse.stop().await;
}

#[tokio::test]
async fn who_comes_too_often_is_told_now_and_then_and_else_hung_up_on() {
    let settings = "[limits]\nhandshake_rate = 1\nhandshake_burst = 3";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    for _ in 0..3 {
        session(&natpulse, "127.0.0.2").await.leave().await;
    }
    let page = refused(&natpulse, "127.0.0.2").await;
    assert_eq!(page.status, 429, "{}", page.head);
    let (mut told, mut cut) = (0, 0);
    for _ in 0..100 {
        let mut answer = Vec::new();
        // It may be reset at once.
        let Ok(mut client) = connect_from("127.0.0.2", natpulse.addr("b")).await else {
            cut += 1;
            continue;
        };
        let _ = client.write_all(upgrade("/").as_bytes()).await;
        let _ = within("the end", client.read_to_end(&mut answer)).await;
        match answer.starts_with(b"HTTP/1.1 429 ") {
            true => told += 1,
            // A second may have passed, and then it gets what it wants until it hangs up.
            false => cut += usize::from(answer.is_empty()),
        }
    }
    assert!((1..=20).contains(&told) && cut >= 70, "{told} told, {cut} hung up on");
    session(&natpulse, "127.0.0.3").await.leave().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_who_only_sits_there() {
    let settings =
        "[limits]\nhandshakes = 8\nhandshakes_per_address = 4\n[server]\nhandshake_timeout = \"5m\"";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    let mut silent = Vec::new();
    for host in ["127.0.0.2", "127.0.0.3"] {
        for _ in 0..4 {
            silent.push(connect_from(host, natpulse.addr("b")).await.unwrap());
        }
    }
    // One more of the first, whose own oldest goes, and one of somebody else, for whom the oldest of all goes.
    silent.push(connect_from("127.0.0.2", natpulse.addr("b")).await.unwrap());
    natpulse.counts("b", "timed_out", 1.0).await;
    assert_eq!(within("the end", silent[0].read(&mut [0; 1])).await.unwrap(), 0);
    let client = session(&natpulse, "127.0.0.4").await;
    natpulse.counts("b", "timed_out", 2.0).await;
    assert_eq!(within("the end", silent[1].read(&mut [0; 1])).await.unwrap(), 0);
    // A session is no handshake any more: nobody takes its place.
    for _ in 0..20 {
        silent.push(connect_from("127.0.0.5", natpulse.addr("b")).await.unwrap());
    }
    natpulse.counts("b", "timed_out", 2.0 + 20.0 - 1.0).await;
    client.leave().await;
    natpulse.kill().await;
}

#[tokio::test]
async fn handshakes_in_progress_take_no_places_of_sessions() {
    let settings = "[server]\nmax_sessions = 1\nhandshake_timeout = \"5m\"";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect_from("127.0.0.2", natpulse.addr("b")).await.unwrap());
    }
    session(&natpulse, "127.0.0.2").await.leave().await;
    natpulse.kill().await;
}

/// An upgrade request that came through a proxy.
fn forwarded(header: &str) -> String {
    upgrade("/").replacen("Connection:", &format!("{header}\r\nConnection:"), 1)
}

#[tokio::test]
async fn behind_a_trusted_proxy_limits_are_about_the_client() {
    let settings = "[access]\ntrusted_proxies = [\"127.0.0.2\"]\n\
                    [limits]\nsessions_per_address = 1\nhandshake_rate = 1\nhandshake_burst = 20";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    let open = async |host: &'static str, header: &str| {
        let mut stream = connect_from(host, natpulse.addr("b")).await.unwrap();
        stream.write_all(forwarded(header).as_bytes()).await.unwrap();
        let mut status = [0; 12];
        within("the answer", stream.read_exact(&mut status)).await.unwrap();
        (String::from_utf8(status[9..].to_vec()).unwrap(), stream)
    };
    let (status, _first) = open("127.0.0.2", "X-Forwarded-For: 192.0.2.7").await;
    assert_eq!(status, "101");
    let (status, _) = open("127.0.0.2", "X-Forwarded-For: 198.51.100.1, 192.0.2.7").await;
    assert_eq!(status, "429", "what the client says of itself helps nobody");
    let (status, _second) = open("127.0.0.2", "Forwarded: for=192.0.2.8").await;
    assert_eq!(status, "101");
    // Far more than one address may, each for another client.
    for number in 0..60 {
        let (status, _) = open("127.0.0.2", &format!("X-Forwarded-For: 203.0.113.{number}")).await;
        assert_eq!(status, "101");
    }
    // Who is no proxy is believed nothing.
    let (status, _third) = open("127.0.0.3", "X-Forwarded-For: 192.0.2.9").await;
    assert_eq!(status, "101");
    let (status, _) = open("127.0.0.3", "X-Forwarded-For: 192.0.2.10").await;
    assert_eq!(status, "429");
    let contradiction = "X-Forwarded-For: 192.0.2.11\r\nForwarded: for=192.0.2.12";
    let page = exchange(connect_from("127.0.0.2", natpulse.addr("b")), &forwarded(contradiction)).await;
    assert_eq!((page.status, page.body.contains("different clients")), (400, true));
    natpulse.kill().await;
}

#[tokio::test]
async fn a_client_behind_a_proxy_that_comes_too_often_is_told() {
    let settings =
        "[access]\ntrusted_proxies = [\"127.0.0.2\"]\n[limits]\nhandshake_rate = 1\nhandshake_burst = 2";
    let natpulse = Natpulse::start(&echo(settings, "")).await;
    let addr = natpulse.addr("b");
    let ask = async |client: &str| {
        let request = forwarded(&format!("X-Forwarded-For: {client}")).replace("websocket", "none");
        exchange(connect_from("127.0.0.2", addr), &request).await.status
    };
    assert_eq!([ask("192.0.2.7").await, ask("192.0.2.7").await, ask("192.0.2.7").await], [426, 426, 429]);
    assert_eq!(ask("192.0.2.8").await, 426);
    drop(RawWs::open(addr, "/").await.unwrap());
    natpulse.kill().await;
}
