//! An operator asks for a drain, and how it goes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{command, ran, status, token_file};
use crate::harness::{Natpulse, http_get};
use crate::process::{eventually, within};
use crate::raw::{BINARY, CLOSE, FIN, RawWs, upgrade};
use crate::tools::{TempDir, free_addr};
use crate::top::Pane;

struct Asked {
    natpulse: Natpulse,
    url: String,
    token: String,
    _dir: TempDir,
}

impl Asked {
    /// natpulse with these lines in `[server]`, a bridge to itself, and a token.
    async fn start(server: &str) -> Asked {
        let dir = TempDir::new();
        let token = token_file(&dir);
        let natpulse = Natpulse::launch(
            &format!(
                "[server]\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{token}\"\n\
                 [[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n"
            ),
            |_| {},
        )
        .await;
        let url = format!("http://{}", natpulse.admin());
        Asked { natpulse, url, token, _dir: dir }
    }

    /// What `natpulse status` says, and its exit code.
    async fn status(&self) -> (Option<i32>, String) {
        ran(&["status", &self.url]).await
    }

    async fn drain(&self) -> (Option<i32>, String) {
        ran(&["drain", &self.url, "--token-file", &self.token]).await
    }

    fn drain_and_wait(&self) -> crate::process::Process {
        command(None, &["drain", &self.url, "--token-file", &self.token, "--wait"])
    }

    async fn client(&self) -> RawWs {
        RawWs::open(self.natpulse.addr("ws"), "/").await.unwrap()
    }
}

async fn is_closed(addr: SocketAddr) {
    eventually("the port to be closed", || {
        std::net::TcpStream::connect(addr)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
}

#[tokio::test]
async fn clients_still_come_in_while_those_who_send_them_notice() {
    let mut asked = Asked::start("drain_delay = \"1500ms\"\ndrain_window = \"2s\"").await;
    let natpulse = &mut asked.natpulse;
    let (admin, addr) = (natpulse.admin(), natpulse.addr("ws"));
    let mut early = RawWs::open(addr, "/").await.unwrap();
    let begun = Instant::now();
    natpulse.terminate();
    within("/readyz to say no", async { while http_get(admin, "/readyz").await.status != 503 {} }).await;
    let mut late = RawWs::open(addr, "/").await.unwrap();
    late.send(FIN | BINARY, b"still there?").await.unwrap();
    assert_eq!(within("the echo", late.message()).await.unwrap().1, b"still there?");
    let drain = &status(natpulse).await["drain"];
    let between = |from: &str, to: &str| drain[to].as_f64().unwrap() - drain[from].as_f64().unwrap();
    assert!((between("begun", "closing") - 1.5).abs() < 0.002, "{drain}");
    assert!((between("closing", "deadline") - 2.0).abs() < 0.002, "{drain}");
    for client in [&mut early, &mut late] {
        let frame = within("a close", client.frame()).await.unwrap();
        assert_eq!(frame.close_code(), 1012);
        assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
        client.send(FIN | CLOSE, &1012u16.to_be_bytes()).await.unwrap();
    }
    is_closed(addr).await;
    assert_eq!(natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_operator_waits_for_the_last_session_and_the_process_for_its_signal() {
    let mut asked = Asked::start("drain_window = \"300d\"").await;
    let (code, said) = asked.status().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(": ready, up ") && said.contains("\n0 sessions of "), "{said}");
    let mut clients = [asked.client().await, asked.client().await];

    let (code, said) = asked.drain().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said, "draining: 2 sessions left, for 300 d at most");
    let mut waiting = asked.drain_and_wait();
    assert_eq!(http_get(asked.natpulse.admin(), "/readyz").await.status, 503);
    is_closed(asked.natpulse.addr("ws")).await;
    let (code, said) = asked.status().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains(": draining, for 300 d at most, up ") && said.contains("\n2 sessions of "),
        "{said}"
    );

    // Those who are there are served.
    for client in &mut clients {
        client.send(FIN | BINARY, b"hello").await.unwrap();
        assert_eq!(within("the echo", client.message()).await.unwrap().1, b"hello");
    }
    for client in clients {
        client.leave().await;
    }
    assert_eq!(waiting.exit().await.code(), Some(0));
    // No progress where there is no terminal.
    assert_eq!(waiting.lines(), ["drained"]);
    assert_eq!(http_get(asked.natpulse.admin(), "/healthz").await.status, 200);
    let (code, said) = ran(&["status", &asked.url, "--json"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(ran(&["status", "--alive", &asked.url]).await.0, Some(0), "it is alive all the same");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["drain"]["is_over"], &told["sessions"]["active"]), (&true.into(), &0.into()));
    let (code, said) = asked.drain().await;
    assert_eq!((code, &said[..]), (Some(0), "drained"));
    asked.natpulse.terminate();
    assert_eq!(asked.natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_signal_after_the_operator_waits_like_any_other_and_another_one_does_not() {
    let mut asked = Asked::start("drain_window = \"300d\"").await;
    let mut client = asked.client().await;
    let mut waiting = asked.drain_and_wait();
    asked.natpulse.event("draining", |_| true).await;
    asked.natpulse.terminate();
    asked.natpulse.event("told to stop", |_| true).await;
    client.send(FIN | BINARY, b"hello").await.unwrap();
    assert_eq!(within("the echo", client.message()).await.unwrap().1, b"hello");
    client.leave().await;
    assert_eq!(asked.natpulse.exit().await.code(), Some(0));
    assert_eq!(waiting.exit().await.code(), Some(0));

    let mut asked = Asked::start("drain_window = \"300d\"\ndrain_delay = \"300d\"").await;
    let mut client = asked.client().await;
    assert_eq!(asked.drain().await.0, Some(0));
    asked.natpulse.terminate();
    asked.natpulse.event("told to stop", |_| true).await;
    asked.natpulse.terminate();
    // With a reset or an end, and with nothing said.
    let end = within("the client to be cut off", client.io.read(&mut [0; 1])).await;
    assert_eq!(end.unwrap_or(0), 0);
    assert_eq!(asked.natpulse.exit().await.code(), Some(1));
}

#[tokio::test]
async fn who_is_left_when_the_window_is_over_is_told_of() {
    let mut asked = Asked::start("drain_window = \"200ms\"").await;
    let mut client = asked.client().await;
    let mut waiting = asked.drain_and_wait();
    assert_eq!(waiting.exit().await.code(), Some(1));
    assert_eq!(waiting.lines(), ["the drain window is over, and 1 session is left"]);
    assert_eq!(client.frame().await.unwrap().close_code(), 1012);
    asked.natpulse.terminate();
    assert_eq!(asked.natpulse.exit().await.code(), Some(0));
    assert_eq!(within("the end", client.io.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn on_a_terminal_the_operator_sees_how_it_goes() {
    let mut asked = Asked::start("drain_window = \"300d\"").await;
    let (first, last) = (asked.client().await, asked.client().await);
    let pane = Pane::open(80, 24);
    pane.start("", &format!("drain {} --token-file {} --wait", asked.url, asked.token));
    pane.shows(&["draining: 2 sessions left, for 300 d at most"], &[]).await;
    first.leave().await;
    // In the place of what was there.
    pane.shows(&["draining: 1 session left, for 300 d at most"], &["2 sessions"]).await;
    last.leave().await;
    pane.shows(&["\ndrained\nleft with 0"], &["draining:"]).await;
    asked.natpulse.terminate();
    assert_eq!(asked.natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn who_was_accepted_is_served_also_when_its_request_comes_after_the_signal() {
    let mut asked = Asked::start("drain_window = \"20s\"").await;
    let mut late = TcpStream::connect(asked.natpulse.addr("ws")).await.unwrap();
    // It is accepted: whoever came after it was.
    asked.client().await.leave().await;
    asked.natpulse.terminate();
    is_closed(asked.natpulse.addr("ws")).await;
    late.write_all(upgrade("/").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within("an answer", late.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(late);
    assert_eq!(asked.natpulse.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let asked = Asked::start("").await;
    let (code, said) = ran(&["drain", &asked.url]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("401 Unauthorized") && said.ends_with("; name the token with --token-file"),
        "{said}"
    );
    assert_eq!(http_get(asked.natpulse.admin(), "/readyz").await.status, 200);
    asked.natpulse.stop().await;

    let nobody = format!("http://{}", free_addr());
    assert_eq!(ran(&["status", "--alive", &nobody]).await.0, Some(1));
    for command in ["status", "drain"] {
        let (code, said) = ran(&[command, &nobody]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with(&format!("natpulse {command}: cannot reach {nobody}: ")), "{said}");
        let (code, said) = ran(&[command, "127.0.0.1:9464"]).await;
        assert_eq!(code, Some(2), "{said}");
    }
}
