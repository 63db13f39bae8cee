//! Several backends, some of which are not there.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{attempts, counts, name_of, status};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::RawWs;
use crate::tools::free_addr;

/// A server that says its name, on an address that it can leave and come back to.
struct Server {
    name: &'static str,
    addr: std::net::SocketAddr,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    async fn start(name: &'static str) -> Server {
        let mut server = Server { name, addr: free_addr(), serving: None };
        server.come().await;
        server
    }

    async fn come(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.addr).unwrap();
        let listener = socket.listen(1024).unwrap();
        self.addr = listener.local_addr().unwrap();
        let name = self.name;
        self.serving = Some(tokio::spawn(async move {
            let mut clients = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if stream.write_all(name.as_bytes()).await.is_ok() {
                    clients.push(stream);
                }
            }
        }));
    }

    /// Leaves at once, and all of its clients with it.
    async fn leave(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
    }
}

fn config(servers: &[&Server], rest: &str) -> String {
    let urls: Vec<_> = servers.iter().map(|server| format!("\"tcp://{}\"", server.addr)).collect();
    format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = {{ urls = [{}]{rest} }}\n",
        urls.join(", ")
    )
}

/// How many of so many sessions, one after the other, each backend got.
async fn shares(natpulse: &Natpulse, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(name_of(natpulse, "b", "/").await).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn backends_take_turns_and_one_that_fails_is_passed_over() {
    let (mut one, two, three) =
        (Server::start("one").await, Server::start("two").await, Server::start("three").await);
    let natpulse = Natpulse::start(&config(&[&one, &two, &three], "")).await;
    let even = [("one", 3), ("two", 3), ("three", 3)].map(|(name, share)| (name.to_owned(), share));
    assert_eq!(shares(&natpulse, 9).await, even.into());
    one.leave().await;
    let left = shares(&natpulse, 8).await;
    assert_eq!(left.values().sum::<usize>(), 8, "nobody was turned away");
    assert!(!left.contains_key("one"));
    // It failed for one client, who got another; after that it was left alone.
    counts(&natpulse, "natpulse_backend_dials_total{bridge=\"b\",result=\"failed\"}", 1.0).await;
    counts(&natpulse, &attempts("backend_failed"), 0.0).await;
    let event = natpulse.event("a backend is down: the others are preferred", |_| true).await;
    assert_eq!(event["backend"], format!("tcp://{}", one.addr));
    natpulse.stop().await;
}

#[tokio::test]
async fn the_backend_with_the_fewest_sessions_gets_the_next() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let natpulse = Natpulse::start(&config(&[&one, &two], ", balance = \"least_sessions\"")).await;
    let open = async || {
        let mut socket = RawWs::open(natpulse.addr("b"), "/").await.unwrap();
        let (_, name) = within("a name", socket.message()).await.unwrap();
        (socket, name)
    };
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(open().await);
    }
    let share = |held: &[(RawWs, Vec<u8>)]| held.iter().filter(|(_, name)| name == b"one").count();
    assert_eq!(share(&held), 3);
    // Those of one leave, and it gets all that come next.
    let (leave, stay): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, name)| name == b"one");
    join_all(leave.into_iter().map(|(socket, _)| socket.leave())).await;
    natpulse.closed_sessions(3).await;
    let mut came = Vec::new();
    for _ in 0..3 {
        came.push(open().await);
    }
    assert_eq!((share(&came), stay.len()), (3, 3));
    natpulse.stop().await;
}

#[tokio::test]
async fn checks_find_who_is_down_and_who_is_back() {
    let (mut one, two) = (Server::start("one").await, Server::start("two").await);
    let check = ", health_check = { every = \"100ms\", timeout = \"5s\" }";
    let natpulse = Natpulse::start(&config(&[&one, &two], check)).await;
    let state = |state: &str| format!("natpulse_backends{{bridge=\"b\",state=\"{state}\"}}");
    counts(&natpulse, &state("healthy"), 2.0).await;
    one.leave().await;
    counts(&natpulse, &state("unhealthy"), 1.0).await;
    assert_eq!(shares(&natpulse, 4).await, BTreeMap::from([("two".to_owned(), 4)]));
    // The checks found it, and no client had to.
    counts(&natpulse, "natpulse_backend_dials_total{bridge=\"b\",result=\"failed\"}", 0.0).await;
    one.come().await;
    counts(&natpulse, &state("healthy"), 2.0).await;
    assert_eq!(shares(&natpulse, 4).await.values().copied().collect::<Vec<_>>(), [2, 2]);
    let metrics = natpulse.metrics().await;
    for result in ["passed", "failed"] {
        let series = format!("natpulse_backend_checks_total{{bridge=\"b\",result=\"{result}\"}}");
        assert!(metrics[&series] >= 1.0, "{series}");
    }
    natpulse.event("a backend is well again", |event| event["bridge"] == "b").await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_that_is_silent_leaves_time_for_the_others() {
    // A queue of one that is full: the kernel lets further connections wait.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent: TcpListener = socket.listen(0).unwrap();
    let addr = silent.local_addr().unwrap();
    let _queued = TcpStream::connect(addr).await.unwrap();
    let two = Server::start("two").await;
    let deaf = Server { name: "deaf", addr, serving: None };
    let config = config(&[&deaf, &two], "") + "dial_timeout = \"2s\"\n";
    let natpulse = Natpulse::start(&config).await;
    assert_eq!(name_of(&natpulse, "b", "/").await, "two");
    assert_eq!(name_of(&natpulse, "b", "/").await, "two");
    counts(&natpulse, "natpulse_backend_dials_total{bridge=\"b\",result=\"timed_out\"}", 1.0).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn backends_that_come_and_go_cost_no_client_its_session() {
    let mut servers = [Server::start("one").await, Server::start("two").await, Server::start("three").await];
    let check = ", health_check = { every = \"100ms\" }";
    let natpulse = Natpulse::start(&config(&servers.each_ref(), check)).await;
    let healthy = "natpulse_backends{bridge=\"b\",state=\"healthy\"}";
    counts(&natpulse, healthy, 3.0).await;
    let addr = natpulse.addr("b");
    let crowd = tokio::spawn(async move {
        let client = async || {
            for _ in 0..100 {
                assert_eq!(status(addr, "/").await, 101);
            }
        };
        join_all((0..4).map(|_| client())).await;
    });
    // One at a time goes and comes back, for as long as the crowd lasts.
    let mut rounds = 0;
    while !crowd.is_finished() || rounds < servers.len() {
        let server = &mut servers[rounds % 3];
        server.leave().await;
        counts(&natpulse, healthy, 2.0).await;
        server.come().await;
        counts(&natpulse, healthy, 3.0).await;
        rounds += 1;
    }
    within("the crowd", crowd).await.unwrap();
    counts(&natpulse, &attempts("accepted"), 400.0).await;
    counts(&natpulse, &attempts("backend_failed"), 0.0).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_may_go_on_with_another_backend() {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         backend = {{ urls = [\"ws://{}/\", \"ws://{}/\"] }}\n",
        first.local_addr().unwrap(),
        second.local_addr().unwrap()
    ))
    .await;
    let mut client = TcpStream::connect(natpulse.addr("b")).await.unwrap();
    let (stream, _) = within("the first dial", first.accept()).await.unwrap();
    let backend = RawWs::accept(stream).await.unwrap();
    // It goes for good, in the middle of nothing.
    drop(first);
    backend.abort();
    let (stream, _) = within("the second dial", second.accept()).await.unwrap();
    let mut backend = RawWs::accept(stream).await.unwrap();
    client.write_all(b"again").await.unwrap();
    assert_eq!(within("the message", backend.message()).await.unwrap().1, b"again");
    drop(client);
    natpulse.stop().await;
}
