//! One natpulse follows another on the same sockets, which their supervisor holds, and nobody is turned away.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::harness::Natpulse;
use crate::process::{Process, eventually, within};
use crate::raw::{BINARY, CLOSE, FIN, RawWs};
use crate::tools::{TempDir, free_addr, program};

/// The first descriptor that is handed on (sd_listen_fds(3)).
const FIRST: usize = 3;
/// How long a visitor rests between two visits; who stays says a word four times as rarely.
const PACE: Duration = Duration::from_millis(5);

/// Has a command start with these sockets, as a service manager would start it.
fn hand_on(command: &mut Command, sockets: &[OwnedFd]) {
    let arguments: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let moved = sockets.iter().enumerate();
    let moved: String = moved.map(|(place, fd)| format!("{}<&{} ", FIRST + place, fd.as_raw_fd())).collect();
    let script = format!("exec {moved}; LISTEN_FDS={} LISTEN_PID=$$ exec \"$@\"", sockets.len());
    let mut shell = Command::new(program("bash"));
    shell.args(["-c", &script, "bash"]).args(arguments);
    *command = shell;
}

/// Sockets as a supervisor holds them. No descriptor of theirs is one of those that they get when they are handed on.
fn held(sockets: [BorrowedFd<'_>; 3]) -> Vec<OwnedFd> {
    sockets.iter().map(|fd| fcntl_dupfd_cloexec(fd, 100).unwrap()).collect()
}

async fn start(config: &str, sockets: &[OwnedFd]) -> Natpulse {
    // Whatever else the tests start meanwhile gets them too, and has no use for them.
    sockets.iter().for_each(|fd| fcntl_setfd(fd, FdFlags::empty()).unwrap());
    let natpulse = Natpulse::launch(config, |command| hand_on(command, sockets)).await;
    sockets.iter().for_each(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC).unwrap());
    natpulse
}

/// Where clients connect.
#[derive(Clone)]
struct Places {
    ws: SocketAddr,
    tcp: SocketAddr,
    unix: Arc<Path>,
}

/// How a conversation went on.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// As the client wished.
    Own,
    /// It was asked to leave.
    Asked,
}

/// Says a word; returns whether it was asked to leave instead of being answered.
async fn ws_word(ws: &mut RawWs) -> io::Result<End> {
    ws.send(FIN | BINARY, b"hello").await?;
    let frame = ws.frame().await?;
    if frame.opcode() == CLOSE {
        assert_eq!(frame.close_code(), 1012);
        ws.send(FIN | CLOSE, &frame.payload).await?;
        assert_eq!(ws.io.read(&mut [0; 1]).await?, 0, "something after the close");
        return Ok(End::Asked);
    }
    assert_eq!((frame.first, &frame.payload[..]), (FIN | BINARY, &b"hello"[..]));
    Ok(End::Own)
}

/// The same on a byte stream, which is asked to leave by its end.
async fn stream_word(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<End> {
    stream.write_all(b"hello").await?;
    let mut word = [0; 5];
    match stream.read(&mut word[..1]).await? {
        0 => Ok(End::Asked),
        _ => {
            stream.read_exact(&mut word[1..]).await?;
            assert_eq!(&word, b"hello");
            Ok(End::Own)
        }
    }
}

async fn stream_visit(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    if stream_word(&mut stream).await? == End::Own {
        stream.shutdown().await?;
        assert_eq!(stream.read(&mut [0; 1]).await?, 0);
    }
    Ok(())
}

/// Connects, says a word and leaves.
async fn visit(places: &Places, number: usize) -> io::Result<()> {
    match number % 3 {
        0 => {
            let mut ws = RawWs::open(places.ws, "/").await?;
            if ws_word(&mut ws).await? == End::Own {
                // It may be asked to leave in the same moment; either way the goodbyes are said.
                ws.leave().await;
            }
            Ok(())
        }
        1 => stream_visit(TcpStream::connect(places.tcp).await?).await,
        _ => stream_visit(UnixStream::connect(&places.unix).await?).await,
    }
}

/// Stays until it is asked to leave.
async fn stay(places: Places, number: usize, staying: Arc<AtomicUsize>) -> io::Result<()> {
    macro_rules! stay {
        ($end:ident, $word:ident) => {{
            staying.fetch_add(1, Ordering::SeqCst);
            while $word(&mut $end).await? == End::Own {
                tokio::time::sleep(4 * PACE).await;
            }
        }};
    }
    match number % 3 {
        0 => {
            let mut ws = RawWs::open(places.ws, "/").await?;
            stay!(ws, ws_word)
        }
        1 => {
            let mut stream = TcpStream::connect(places.tcp).await?;
            stay!(stream, stream_word)
        }
        _ => {
            let mut stream = UnixStream::connect(&places.unix).await?;
            stay!(stream, stream_word)
        }
    }
    Ok(())
}

/// How many sessions it says it had.
fn served(natpulse: &Natpulse) -> usize {
    natpulse.logged("session closed").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_is_replaced_under_load_and_nobody_is_turned_away() {
    const STAYING: usize = 60;
    const VISITORS: usize = 12;
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let ws = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let places =
        Places { ws: ws.local_addr().unwrap(), tcp: tcp.local_addr().unwrap(), unix: path.clone().into() };
    let sockets = held([ws.as_fd(), tcp.as_fd(), unix.as_fd()]);
    let config = format!(
        "[server]\ndrain_window = \"4s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\nhandshake_rate = 100000\nhandshake_burst = 100000\n\
         [[bridge]]\nname = \"ws\"\nlisten = \"ws://{}/\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"tcp\"\nlisten = \"tcp://{}\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"unix\"\nlisten = \"unix://{}\"\nbackend = \"echo:\"\n",
        places.ws,
        places.tcp,
        path.display()
    );
    let mut first = start(&config, &sockets).await;
    let (staying, visits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut stayers = JoinSet::new();
    for number in 0..STAYING {
        stayers.spawn(stay(places.clone(), number, staying.clone()));
    }
    eventually("all to be there who stay", || staying.load(Ordering::SeqCst) == STAYING).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        let (places, visits, is_over) = (places.clone(), visits.clone(), is_over.clone());
        visitors.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                visit(&places, number).await?;
                visits.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(PACE).await;
            }
            Ok::<_, io::Error>(())
        });
    }
    let more = |than: usize| {
        let visits = visits.clone();
        async move { eventually("visitors", || visits.load(Ordering::SeqCst) >= than).await }
    };
    more(500).await;

    let second = start(&config, &sockets).await;
    // Both accept for a while, so that the first one is in the midst of it when it is told to leave.
    let both = visits.load(Ordering::SeqCst);
    more(both + 500).await;
    first.terminate();
    let before = visits.load(Ordering::SeqCst);
    while let Some(stayed) = within("those who stay to be asked to leave", stayers.join_next()).await {
        stayed.unwrap().expect("nobody is turned away");
    }
    assert_eq!(first.exit().await.code(), Some(0));
    let after = visits.load(Ordering::SeqCst);
    assert!(path.exists(), "the socket is its supervisor's");
    more(after + 500).await;
    is_over.store(true, Ordering::SeqCst);
    while let Some(visited) = within("the visitors to leave", visitors.join_next()).await {
        visited.unwrap().expect("nobody is turned away");
    }
    let all = STAYING + visits.load(Ordering::SeqCst);
    within("the second to log its last session", async {
        while served(&first) + served(&second) < all {
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    println!(
        "{before} visits before the signal ({both} before the second natpulse served), {} while the first one drained, \
         {} after it had gone; the first had {} sessions, the second {}",
        after - before,
        visits.load(Ordering::SeqCst) - after,
        served(&first),
        served(&second)
    );
    assert_eq!(served(&first) + served(&second), all);
    assert!(served(&second) >= 500);
    second.stop().await;
    assert!(path.exists(), "the socket is its supervisor's");
}

#[tokio::test]
async fn a_bridge_that_comes_back_serves_who_waits_on_its_inherited_socket() {
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let ws = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let sockets = held([ws.as_fd(), tcp.as_fd(), unix.as_fd()]);
    let one = format!(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://{}/\"\nbackend = \"echo:\"\n",
        ws.local_addr().unwrap()
    );
    let both = format!(
        "{one}[[bridge]]\nname = \"tcp\"\nlisten = \"tcp://{address}\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"unix\"\nlisten = \"unix://{}\"\nbackend = \"echo:\"\n",
        path.display()
    );
    let natpulse = start(&format!("{both}[admin]\nlisten = \"127.0.0.1:0\"\n"), &sockets).await;
    stream_visit(TcpStream::connect(address).await.unwrap()).await.unwrap();
    natpulse.reload(&one).await;
    // Nobody serves them, and nobody turns them away: the sockets are their supervisor's.
    let waiting = (TcpStream::connect(address).await.unwrap(), UnixStream::connect(&path).await.unwrap());
    natpulse.reload(&both).await;
    within("a visit", stream_visit(waiting.0)).await.unwrap();
    within("a visit", stream_visit(waiting.1)).await.unwrap();
    natpulse.stop().await;
    assert!(path.exists(), "the file is its supervisor's");
}

#[tokio::test]
async fn systemd_hands_sockets_on_and_one_that_nobody_names_is_told_of() {
    let dir = TempDir::new();
    let (file, path) = (dir.path().join("config.toml"), dir.path().join("socket"));
    let [ws, admin, nobody] = [free_addr(), free_addr(), free_addr()];
    let config = format!(
        "[admin]\nlisten = \"{admin}\"\n[[bridge]]\nname = \"ws\"\nlisten = \"ws://{ws}/\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"unix\"\nlisten = \"unix://{}\"\nbackend = \"echo:\"\n",
        path.display()
    );
    std::fs::write(&file, config).unwrap();
    let mut activate = Command::new(program("systemd-socket-activate"));
    for address in [ws, admin, nobody] {
        activate.arg("-l").arg(address.to_string());
    }
    activate.arg("-l").arg(&path).arg(env!("CARGO_BIN_EXE_natpulse")).args(["run", "-c"]).arg(&file);
    let mut process = Process::spawn(activate);
    let last = format!("Listening on {} as 6", path.display());
    process.wait_line("its last socket", |line| line.contains(&last).then_some(())).await;

    // It is started by its first client, who is served.
    let mut client = within("a session", RawWs::open(ws, "/")).await.unwrap();
    assert_eq!(within("an echo", ws_word(&mut client)).await.unwrap(), End::Own);
    within("a visit", stream_visit(UnixStream::connect(&path).await.unwrap())).await.unwrap();
    assert_eq!(crate::harness::http_get(admin, "/readyz").await.status, 200);
    let told = "an inherited socket that no listener of the config names serves nobody";
    let event =
        |line: &str| serde_json::from_str::<Value>(line).ok().filter(|event| event["message"] == told);
    assert_eq!(process.wait_line(told, event).await["listen"], nobody.to_string());
    client.leave().await;

    // Nobody else holds them, so they close with it.
    process.signal(Signal::TERM);
    assert_eq!(process.exit().await.code(), Some(0));
    for address in [ws, admin, nobody] {
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
    assert!(path.exists(), "the file is its supervisor's");
}
