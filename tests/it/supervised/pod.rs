//! A pod with natpulse as its native sidecar, in a network of its own: started first, and stopped in the order that
//! Kubernetes has. When the pod is to end, the preStop hooks of all containers run at once; an application is sent
//! SIGTERM when its own hook, if it has one, has ended; a sidecar when its hook has ended and the application has gone.
//!
//! A message is accepted when natpulse has read it. It is lost if it does not reach the other side and the session
//! does not end with a close code that says so: 1012 and 1000 say that all is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{command, token_file};
use crate::harness::{Natpulse, Page, exchange};
use crate::namespace::Namespace;
use crate::process::{Process, eventually, within};
use crate::raw::{BINARY, CLOSE, FIN, RawWs, TEXT, frame};
use crate::tools::{TempDir, program};

const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const APPLICATION: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

const CLIENTS: usize = 60;
/// Each client speaks this often.
const PACE: Duration = Duration::from_millis(10);

struct Pod {
    network: Namespace,
    natpulse: Natpulse,
    token: String,
    dir: TempDir,
}

impl Pod {
    /// The sidecar has started, and its startup probe has passed; the application has not been started.
    async fn start(framing: &str, message: &str) -> Pod {
        let network = Namespace::alone().await;
        let dir = TempDir::new();
        let token = token_file(&dir);
        let config = format!(
            "[server]\ndrain_delay = \"300ms\"\ndrain_window = \"4s\"\n\
             [admin]\nlisten = \"{ADMIN}\"\ntoken_file = \"{token}\"\n\
             [[bridge]]\nname = \"ws\"\nlisten = \"ws://{SERVICE}/\"\nmessage = \"{message}\"\n\
             backend = {{ url = \"tcp://{APPLICATION}\", framing = \"{framing}\" }}\n"
        );
        let natpulse = Natpulse::launch_in(Some(&network), &config, |command| {
            // The pod's, into which the application comes as well.
            command.process_group(0);
        })
        .await;
        let pod = Pod { network, natpulse, token, dir };
        within("the startup probe", async { while pod.get("/readyz").await.status != 200 {} }).await;
        // Until the application is there, a client is told so.
        let refused = RawWs::upgrade(pod.network.connect(SERVICE).await.unwrap(), "/").await.err().unwrap();
        assert!(refused.to_string().starts_with("HTTP/1.1 502 "), "{refused}");
        pod
    }

    async fn get(&self, path: &str) -> Page {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(self.network.connect(ADMIN), &request).await
    }

    /// Opens a session, as soon as the application serves.
    async fn client(&self) -> RawWs {
        let connecting = async {
            loop {
                if let Ok(ws) = RawWs::upgrade(self.network.connect(SERVICE).await.unwrap(), "/").await {
                    return ws;
                }
                tokio::time::sleep(PACE).await;
            }
        };
        within("the application to be served", connecting).await
    }

    /// The sidecar's preStop hook.
    fn pre_stop(&self) -> Process {
        let url = format!("http://{ADMIN}");
        command(Some(&self.network), &["drain", &url, "--token-file", &self.token, "--wait"])
    }

    /// The application has gone, and so it is the sidecar's turn.
    async fn stop(mut self, mut hook: Process) {
        assert_eq!(self.get("/healthz").await.status, 200);
        assert_eq!(hook.exit().await.code(), Some(0), "{:?}", hook.lines());
        assert_eq!(hook.lines(), ["drained"]);
        let told = std::time::Instant::now();
        self.natpulse.terminate();
        assert_eq!(self.natpulse.exit().await.code(), Some(0));
        println!("natpulse left {} ms after its SIGTERM", told.elapsed().as_millis());
    }
}

/// What an application that finishes its conversations knows of its clients.
#[derive(Default)]
struct Application {
    delivered: Vec<AtomicU64>,
    conversations: TaskTracker,
    is_told: CancellationToken,
}

impl Application {
    /// Serves until it is told to stop, and ends when its last conversation has.
    async fn run(self: Arc<Self>, network: Namespace) {
        let listener = network.listen(APPLICATION);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.is_told.cancelled() => break,
            };
            let (mut stream, _) = accepted.unwrap();
            stream.set_nodelay(true).unwrap();
            let application = self.clone();
            self.conversations.spawn(async move {
                // A client says its number, and then numbers in their order; each is said back.
                let mut client = None;
                while let Ok(length) = stream.read_u32().await {
                    assert_eq!(length, 8);
                    let number = stream.read_u64().await.unwrap();
                    let delivered = match client {
                        None => {
                            client = Some(&application.delivered[number as usize]);
                            continue;
                        }
                        Some(delivered) => delivered,
                    };
                    assert_eq!(delivered.load(Ordering::SeqCst), number, "in order, without gaps");
                    delivered.store(number + 1, Ordering::SeqCst);
                    let said = [&8u32.to_be_bytes()[..], &number.to_be_bytes()].concat();
                    stream.write_all(&said).await.unwrap();
                }
            });
        }
        drop(listener);
        self.conversations.close();
        self.conversations.wait().await;
    }
}

/// Says numbers until it is told to leave; returns how many it said and how many came back.
async fn talk(ws: RawWs, client: u64) -> (u64, u64) {
    let (mut reader, mut writer) = ws.split();
    let is_told = AtomicBool::new(false);
    let hearing = async {
        let mut heard = 0u64;
        loop {
            let frame = reader.frame().await.expect("a close frame before the end");
            if frame.opcode() == CLOSE {
                assert_eq!(frame.close_code(), 1012);
                is_told.store(true, Ordering::SeqCst);
                return heard;
            }
            assert_eq!(frame.payload, heard.to_be_bytes());
            heard += 1;
        }
    };
    let talking = async {
        let mut pace = tokio::time::interval(PACE);
        let mut sent = 0u64;
        writer.write_all(&frame(FIN | BINARY, &client.to_be_bytes())).await.unwrap();
        while !is_told.load(Ordering::SeqCst) {
            writer.write_all(&frame(FIN | BINARY, &sent.to_be_bytes())).await.unwrap();
            sent += 1;
            pace.tick().await;
        }
        sent
    };
    let (heard, sent) = tokio::join!(hearing, talking);
    writer.write_all(&frame(FIN | CLOSE, &1012u16.to_be_bytes())).await.unwrap();
    assert_eq!(reader.io.read(&mut [0; 1]).await.unwrap(), 0, "nothing behind the close");
    (sent, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_finishes_its_conversations_is_told_to_stop_with_its_sidecar() {
    let pod = Pod::start("u32be", "binary").await;
    let delivered = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let application = Arc::new(Application { delivered, ..Application::default() });
    let running = tokio::spawn(application.clone().run(pod.network.clone()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS as u64 {
        let ws = pod.client().await;
        clients.spawn(async move { (number, talk(ws, number).await) });
    }
    let delivered = |number: usize| application.delivered[number].load(Ordering::SeqCst);
    eventually("everyone to be heard", || (0..CLIENTS).all(|number| delivered(number) >= 20)).await;

    let hook = pod.pre_stop();
    application.is_told.cancel();
    let mut all = 0;
    while let Some(client) = within("a client to be told", clients.join_next()).await {
        let (number, (sent, heard)) = client.unwrap();
        assert_eq!(delivered(number as usize), sent, "client {number}: what it said has arrived");
        assert!(heard <= sent);
        all += sent;
    }
    within("the application to end", running).await.unwrap();
    println!("{all} messages of {CLIENTS} clients, all of which arrived");
    pod.stop(hook).await;
}

/// redis-server as the application, when it serves; it writes down each word before it answers.
async fn redis(pod: &Pod) -> Process {
    let mut redis = Command::new(program("redis-server"));
    let port = APPLICATION.port().to_string();
    redis.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(pod.dir.path());
    redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
    redis.process_group(pod.natpulse.pid() as i32);
    let redis = pod.network.enter(|| Process::spawn(redis));
    redis
        .wait_line("that it serves", |line| line.contains("Ready to accept connections").then_some(()))
        .await;
    redis
}

/// How many words it has counted.
async fn words(pod: &Pod) -> u64 {
    let asking = async {
        let mut stream = pod.network.connect(APPLICATION).await.unwrap();
        stream.write_all(b"GET words\r\nQUIT\r\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said.lines().nth(1).unwrap().parse::<u64>().unwrap()
    };
    within("the application to say how much it heard", asking).await
}

/// Says a word and waits for its answer, until it is told to leave; returns why, when its last word had no answer.
async fn count(mut ws: RawWs, said: Arc<AtomicU64>) -> u16 {
    loop {
        ws.send(FIN | TEXT, b"INCR words").await.unwrap();
        said.fetch_add(1, Ordering::SeqCst);
        let frame = ws.frame().await.unwrap();
        if frame.opcode() == CLOSE {
            ws.send(FIN | CLOSE, &frame.close_code().to_be_bytes()).await.unwrap();
            assert_eq!(ws.io.read(&mut [0; 1]).await.unwrap(), 0);
            return frame.close_code();
        }
        assert_eq!((frame.first, frame.payload[0]), (FIN | TEXT, b':'), "{frame:?}");
        tokio::time::sleep(PACE).await;
    }
}

/// A pod with redis in it, and clients that talk with it; how many words they have said.
async fn counting() -> (Pod, Process, JoinSet<u16>, Arc<AtomicU64>) {
    let pod = Pod::start("crlf", "text").await;
    let redis = redis(&pod).await;
    let (mut clients, said) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..CLIENTS {
        clients.spawn(count(pod.client().await, said.clone()));
    }
    let enough = 20 * CLIENTS as u64;
    eventually("everyone to be heard", || said.load(Ordering::SeqCst) >= enough).await;
    (pod, redis, clients, said)
}

async fn codes(clients: JoinSet<u16>) -> Vec<u16> {
    within("the clients to leave", clients.join_all()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_just_ends_is_told_to_stop_when_its_sidecar_has_drained() {
    let (pod, mut redis, clients, said) = counting().await;
    let mut hook = pod.pre_stop();
    // The application's own preStop hook waits for the sidecar's.
    assert_eq!(hook.exit().await.code(), Some(0), "{:?}", hook.lines());
    assert_eq!(codes(clients).await, [1012; CLIENTS]);
    let words = words(&pod).await;
    assert_eq!(words, said.load(Ordering::SeqCst), "every word has arrived");
    println!("{words} words of {CLIENTS} clients, all of which arrived");
    redis.signal(Signal::TERM);
    assert_eq!(redis.exit().await.code(), Some(0));
    pod.stop(hook).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_ends_in_the_midst_of_its_conversations_is_outlived() {
    let (pod, mut first, clients, said) = counting().await;
    let hook = pod.pre_stop();
    pod.natpulse.event("draining", |_| true).await;
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await.code(), Some(0));
    assert_eq!(pod.get("/healthz").await.status, 200);
    let codes = codes(clients).await;
    let drained = codes.iter().filter(|code| **code == 1012).count();
    // The others are told that the application has said goodbye, or has gone without a word.
    let cut = codes.iter().filter(|code| matches!(code, 1000 | 1011)).count();
    assert_eq!(drained + cut, CLIENTS, "{codes:?}");

    // What it has written down is what it was told, but for the last word of each: one that was asked to leave in this
    // moment had its code before its word was read.
    let mut again = redis(&pod).await;
    let (words, said) = (words(&pod).await, said.load(Ordering::SeqCst));
    println!("{words} words of {said} arrived; {drained} clients were drained, {cut} lost the application");
    assert!((said - CLIENTS as u64..=said).contains(&words));
    again.signal(Signal::TERM);
    assert_eq!(again.exit().await.code(), Some(0));
    pod.stop(hook).await;
}
