//! When there are no descriptors left.

use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Session, alone, config, start};
use crate::backends::Backend;
use crate::harness::{Natpulse, http_get};
use crate::measure::cpu;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs};

/// How long natpulse is watched for whether it spins.
const WINDOW: Duration = Duration::from_secs(2);

/// The part of a processor that natpulse uses, while it is left alone.
async fn load(natpulse: &Natpulse) -> f32 {
    let before = cpu(natpulse);
    tokio::time::sleep(WINDOW).await;
    (cpu(natpulse) - before).as_secs_f32() / WINDOW.as_secs_f32()
}

/// Starts natpulse with no more than `limit` descriptors.
async fn start_with(limit: u32, config: &str) -> Natpulse {
    let config = format!("{config}[admin]\nlisten = \"127.0.0.1:0\"\n");
    Natpulse::launch(&config, |command| {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {limit} && exec \"$@\""), "sh"]);
        limited.arg(command.get_program()).args(command.get_args());
        *command = limited;
    })
    .await
}

/// What is left to a client when there is no room.
fn is_refusal(error: &io::Error) -> bool {
    error.to_string().starts_with("HTTP/1.1 503 ")
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        )
}

async fn admin_answers(natpulse: &Natpulse) {
    assert_eq!(http_get(natpulse.admin(), "/healthz").await.status, 200);
    assert!(natpulse.metrics().await.contains_key("natpulse_runtime_tasks"));
}

async fn echoes(client: &mut RawWs) {
    client.send(FIN | BINARY, b"still there?").await.unwrap();
    assert_eq!(within("the echo", client.message()).await.unwrap().1, b"still there?");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_descriptors_are_refused_and_the_admin_port_goes_on() {
    let _alone = alone().await;
    let backend = Backend::framed_echo().await;
    let natpulse = start_with(300, &config("", backend.addr)).await;
    let fds = natpulse.fds();
    let addr = natpulse.addr("ws");

    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        match within("an answer", RawWs::open(addr, "/")).await {
            Ok(client) => open.push(client),
            Err(error) if is_refusal(&error) => refused += 1,
            Err(error) => panic!("neither taken nor refused: {error}"),
        }
    }
    // And those who only sit there.
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    admin_answers(&natpulse).await;
    let used = load(&natpulse).await;
    println!(
        "300 descriptors: {} clients in, {refused} refused, 400 silent ones; {} descriptors in use, \
         {:.1} % of a processor",
        open.len(),
        natpulse.fds(),
        used * 100.0
    );
    assert!(used < 0.05, "it spins: {used} of a processor");
    assert!(open.len() > 50 && refused > 50, "{} and {refused}", open.len());
    admin_answers(&natpulse).await;
    for client in &mut open {
        echoes(client).await;
    }

    // Room for one is room for the next.
    drop(silent);
    let tasks = natpulse.metrics().await["natpulse_runtime_tasks"];
    open.pop().unwrap().leave().await;
    let gone = async { while natpulse.metrics().await["natpulse_runtime_tasks"] >= tasks {} };
    within("the client's task to be over", gone).await;
    let mut next = within("an answer", RawWs::open(addr, "/")).await.unwrap();
    echoes(&mut next).await;
    drop((open, next));
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_lowered_below_what_is_in_use_only_makes_newcomers_wait() {
    let _alone = alone().await;
    let (natpulse, server) = start("").await;
    let fds = natpulse.fds();
    let addr = natpulse.addr("ws");
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(Session::open(addr, &server).await);
    }
    // As a monitoring system would, one connection for many questions.
    let mut scraper = TcpStream::connect(natpulse.admin()).await.unwrap();
    ask(&mut scraper, "/healthz").await;

    let lowered = Rlimit { current: Some(60), maximum: Some(20_000) };
    let pid = Pid::from_raw(natpulse.pid() as i32);
    let before = prlimit(pid, Resource::Nofile, lowered).unwrap();
    let (mut waiting, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        waiting.push(tokio::spawn(RawWs::open(addr, "/")));
        let admin = natpulse.admin();
        answered.push(tokio::spawn(async move { http_get(admin, "/healthz").await.status }));
    }
    // That it has noticed is told once, not for every attempt.
    natpulse.event("cannot accept; trying again", |_| true).await;
    let used = load(&natpulse).await;
    println!("limit lowered to 60 with {} in use: {:.1} % of a processor", natpulse.fds(), used * 100.0);
    assert!(used < 0.05, "it spins: {used} of a processor");
    let said = natpulse.logged("cannot accept; trying again").len();
    assert!(said <= 2, "said {said} times");
    ask(&mut scraper, "/healthz").await;
    let metrics = ask(&mut scraper, "/metrics").await;
    assert!(metrics.contains("natpulse_accept_errors_total{bridge=\"ws\"}"), "{metrics}");
    for session in &mut sessions {
        session.exchange(b"still there?").await;
    }

    // Those who came first have the lowest descriptors; when they go, the limit is kept.
    for session in sessions.drain(..40) {
        session.end().await;
    }
    for task in answered {
        assert_eq!(within("the admin port's answer", task).await.unwrap(), 200);
    }
    let mut clients = Vec::new();
    for task in waiting {
        let (backend, _) = within("a newcomer's backend", server.accept()).await.unwrap();
        clients.push((within("a newcomer's turn", task).await.unwrap().unwrap(), backend));
    }
    prlimit(pid, Resource::Nofile, before).unwrap();
    drop((clients, sessions, scraper));
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

/// A question on a connection that is kept; the answer's body.
async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let exchange = async {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the admin port hung up");
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let length = head.to_lowercase().split_once("content-length: ").expect("a length").1.to_owned();
            if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
                return body.to_owned();
            }
        }
    };
    within(&format!("{path} on a kept connection"), exchange).await
}

#[tokio::test]
async fn fewer_descriptors_than_its_reserve_still_serve_one_client_at_a_time() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = start_with(40, &config("", server.local_addr().unwrap())).await;
    let mut session = Session::open(natpulse.addr("ws"), &server).await;
    session.exchange(b"one at a time").await;
    let error = RawWs::open(natpulse.addr("ws"), "/").await.err().expect("no room for two");
    assert!(is_refusal(&error), "{error}");
    admin_answers(&natpulse).await;
    session.end().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn silent_connections_to_the_admin_port_do_not_keep_others_out() {
    let natpulse = start("").await.0;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(natpulse.admin()).await.unwrap());
    }
    let begun = std::time::Instant::now();
    admin_answers(&natpulse).await;
    let took = begun.elapsed();
    println!("100 silent connections to the admin port: it answers after {} ms", took.as_millis());
    // Health checks give up after a second or a few.
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
    natpulse.stop().await;
}
