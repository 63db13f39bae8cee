//! A config that changes while natpulse serves.

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::{Natpulse, Ws, authority, http, http_get, ws_connect};
use crate::process::{eventually, within};
use crate::tools::TempDir;

const REFUSED: &str = "the config cannot be used; going on with the one before";

/// Says `word` to whoever comes, in front of whatever they say, each a record with a byte of length.
async fn server(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut record = [0; 256];
                while stream.read_exact(&mut record[..1]).await.is_ok() {
                    let length = usize::from(record[0]);
                    stream.read_exact(&mut record[1..=length]).await.unwrap();
                    let mut answer = vec![(word.len() + length) as u8];
                    answer.extend_from_slice(word.as_bytes());
                    answer.extend_from_slice(&record[1..=length]);
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    address
}

async fn echoes(ws: &mut Ws, word: &str) -> bool {
    ws.send(Message::text(word)).await.unwrap();
    within("an echo", ws.next()).await.expect("no end").unwrap() == Message::text(word)
}

/// What a server answers.
async fn answer(ws: &mut Ws) -> String {
    ws.send(Message::binary(&b"?"[..])).await.unwrap();
    let heard = within("an answer", ws.next()).await.expect("no end").unwrap();
    String::from_utf8(heard.into_data().to_vec()).unwrap()
}

/// Waits for the close that a bridge's drain brings.
async fn is_asked_to_leave(mut ws: Ws) {
    let heard = within("a close", ws.next()).await.unwrap().unwrap();
    let Message::Close(Some(frame)) = heard else {
        panic!("no close: {heard:?}");
    };
    assert_eq!(frame.code, CloseCode::Restart, "{frame:?}");
    within("the end", async { while ws.next().await.is_some_and(|heard| heard.is_ok()) {} }).await;
}

/// Has natpulse read a config that is of no use, and returns everything that it finds wrong with it.
async fn refused(natpulse: &Natpulse, config: &str) -> Vec<String> {
    let before = natpulse.logged(REFUSED).len();
    natpulse.rewrite(config);
    natpulse.hang_up();
    eventually("the refusal", || natpulse.logged(REFUSED).len() > before).await;
    let lines = natpulse.lines();
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let errors = events.filter(|event| event["level"] == "ERROR");
    errors.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn bridge(name: &str, backend: &str) -> String {
    format!("[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:0/{name}\"\nbackend = {backend}\n")
}

/// Sessions that last, clients that come and go, and how much they did.
struct Load {
    is_over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    echoes: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(url: &str, lasting: usize, coming: usize) -> Load {
        let is_over = Arc::new(AtomicBool::new(false));
        let (opened, echoed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let client = |number: usize| {
            let (is_over, opened, echoed) = (is_over.clone(), opened.clone(), echoed.clone());
            let url = url.to_owned();
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let (mut ws, _) = ws_connect(&url, None).await;
                    opened.fetch_add(1, Ordering::Relaxed);
                    loop {
                        assert!(echoes(&mut ws, "still there?").await);
                        echoed.fetch_add(1, Ordering::Relaxed);
                        // A pause, for a machine on which others want to work as well.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        if number >= lasting || is_over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    ws.close(None).await.unwrap();
                    within("the close", async {
                        while ws.next().await.is_some_and(|heard| heard.is_ok()) {}
                    })
                    .await;
                }
            })
        };
        let clients = (0..lasting + coming).map(client).collect();
        Load { is_over, opened, echoes: echoed, clients }
    }

    /// Comes out with how many sessions there were, and how many echoes.
    async fn end(self) -> (usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            within("a client to end", client).await.unwrap();
        }
        (self.opened.load(Ordering::Relaxed), self.echoes.load(Ordering::Relaxed))
    }
}

/// How many series there are of bridges other than these.
async fn strange_series(natpulse: &Natpulse, bridges: &[&str]) -> usize {
    let metrics = natpulse.metrics().await;
    let is_known = |series: &str| {
        bridges.iter().any(|name| series.contains(&format!("bridge=\"{name}\"")))
            || !series.contains("bridge=")
    };
    metrics.keys().filter(|series| !is_known(series)).count()
}

const RELOADS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_are_noticed_by_whom_they_concern() {
    let servers = [server("one").await, server("two").await];
    let config = |round: usize| {
        let backend = format!("{{ url = \"tcp://{}\", framing = \"u8\" }}", servers[round % 2]);
        let mut config = "[server]\ndrain_window = \"2s\"\n".to_owned();
        config += &bridge("steady", "\"echo:\"");
        config += &bridge("changing", &backend);
        if round % 2 == 1 {
            config += &bridge(&format!("passing-{round}"), "\"echo:\"");
            // A socket of its own, which is bound and given back.
            write!(
                config,
                "[[bridge]]\nname = \"raw-{round}\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"echo:\"\n"
            )
            .unwrap();
        }
        config
    };
    let natpulse = Natpulse::start(&config(0)).await;
    let load = Load::begin(&natpulse.url("steady"), 8, 2);
    eventually("all lasting sessions to have opened", || load.opened.load(Ordering::Relaxed) > 8).await;
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for round in 1..=RELOADS {
        let told = natpulse.reload(&config(round)).await;
        assert_eq!(told["unchanged"], 1, "{told}");
        assert_eq!(told["changed"], "[\"changing\"]", "{told}");
        // The new way holds for new clients, the old one for those who were there.
        let (mut ws, _) = ws_connect(&natpulse.url("changing"), None).await;
        assert_eq!(answer(&mut ws).await, ["one?", "two?"][round % 2]);
        if round <= 4 {
            staying.push((round, ws));
        }
        if round % 2 == 1 {
            let (mut ws, _) = ws_connect(&natpulse.url(&format!("passing-{round}")), None).await;
            assert!(echoes(&mut ws, "passing").await);
            leaving.push(tokio::spawn(is_asked_to_leave(ws)));
            let raw = natpulse.url(&format!("raw-{round}"));
            let mut raw = TcpStream::connect(raw.strip_prefix("tcp://").unwrap()).await.unwrap();
            raw.write_all(b"raw").await.unwrap();
            within("an echo", raw.read_exact(&mut [0; 3])).await.unwrap();
        } else {
            let gone = natpulse.url(&format!("raw-{}", round - 1));
            assert!(TcpStream::connect(gone.strip_prefix("tcp://").unwrap()).await.is_err());
            let admin = natpulse.addr("steady");
            assert_eq!(http_get(admin, &format!("/passing-{}", round - 1)).await.status, 404);
        }
    }
    for ws in leaving {
        within("whoever was on a bridge that is gone to have left", ws).await.unwrap();
    }
    for (round, ws) in &mut staying {
        assert_eq!(answer(ws).await, ["one?", "two?"][*round % 2], "of round {round}");
    }
    drop(staying);
    let (opened, echoed) = load.end().await;
    let closed = "natpulse_sessions_closed_total{bridge=\"steady\",reason=\"client_closed\"}";
    within("all to be counted", async { while natpulse.metrics().await[closed] < opened as f64 {} }).await;
    let metrics = natpulse.metrics().await;
    for (series, count) in &metrics {
        let is_refusal = series.starts_with("natpulse_handshakes_total{bridge=\"steady\"")
            && !series.contains("\"accepted\"")
            // Asked for on purpose above.
            && !series.contains("\"rejected\"");
        let is_other_end = series.starts_with("natpulse_sessions_closed_total{bridge=\"steady\"")
            && !series.contains("\"client_closed\"");
        assert!(!(is_refusal || is_other_end) || *count == 0.0, "{series} {count}");
    }
    within("nothing to be left of the bridges that are gone", async {
        while strange_series(&natpulse, &["steady", "changing"]).await > 0 {}
    })
    .await;
    assert!(opened > RELOADS, "only {opened} sessions opened while the config changed");
    println!("{RELOADS} reloads; {opened} sessions of an unchanged bridge, {echoed} echoes, none disturbed");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_config_of_no_use_changes_nothing_and_is_told_whole() {
    let good = bridge("good", "\"echo:\"");
    let natpulse = Natpulse::start(&good).await;
    let gauge = "natpulse_config_last_reload_successful";
    let (mut ws, _) = ws_connect(&natpulse.url("good"), None).await;
    let url = natpulse.url("good");
    assert_eq!(natpulse.metrics().await[gauge], 1.0);

    let bad = format!(
        "{}max_message = \"huge\"\ntypo = 1\n[server]\ndrain_window = 5\n",
        bridge("new", "\"echo:\"")
    );
    let errors = refused(&natpulse, &bad).await;
    for key in ["bridge[0].max_message", "bridge[0].typo", "server.drain_window"] {
        assert!(errors.iter().any(|error| error.contains(key)), "{key} in {errors:?}");
    }
    assert!(errors[0].contains("config.toml:"), "where it is written: {errors:?}");
    assert_eq!(natpulse.metrics().await[gauge], 0.0);
    assert!(echoes(&mut ws, "undisturbed").await);
    assert!(echoes(&mut ws_connect(&url, None).await.0, "as before").await);

    // What is no mistake in the text, and is found when it is tried, among what could be had.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free_address = free.local_addr().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_address = busy.local_addr().unwrap();
    drop(free);
    let bad = format!(
        "[[bridge]]\nname = \"a\"\nlisten = \"ws://{free_address}/\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"b\"\nlisten = \"ws://{busy_address}/\"\nbackend = \"echo:\"\n"
    );
    let errors = refused(&natpulse, &bad).await;
    assert!(
        errors.iter().any(|error| error.contains(&format!("cannot listen on ws://{busy_address}/"))),
        "{errors:?}"
    );
    assert!(TcpStream::connect(free_address).await.is_err(), "half of a config is in use");
    assert_eq!(strange_series(&natpulse, &["good"]).await, 0);
    assert!(echoes(&mut ws, "still undisturbed").await);

    // The config in use, once more: found without being told.
    natpulse.rewrite(&good);
    within("it to be noticed", async { while natpulse.metrics().await[gauge] != 1.0 {} }).await;
    // And one that is of use.
    drop(busy);
    let totals = async || {
        let page = http_get(natpulse.admin(), "/api/status").await;
        let status: Value = serde_json::from_str(&page.body).unwrap();
        (status["sessions"]["opened"].as_u64().unwrap(), status["uplink"]["messages"].as_u64().unwrap())
    };
    let before = totals().await;
    natpulse.reload(&bad).await;
    assert!(echoes(&mut ws_connect(&format!("ws://{busy_address}/"), None).await.0, "new").await);
    is_asked_to_leave(ws).await;
    within("the old bridge to be gone", async {
        while natpulse.exposition().await.contains("bridge=\"good\"") {}
    })
    .await;
    assert_eq!(totals().await, (before.0 + 1, before.1 + 1), "what was counted of it is not forgotten");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_socket_outlives_what_listens_on_it() {
    let natpulse = Natpulse::start(&bridge("web", "\"echo:\"")).await;
    // A port that nobody else gets, because it stays bound from now on.
    let address = natpulse.addr("web");
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let on = |listen: &str| {
        format!(
            "[[bridge]]\nname = \"web\"\nlisten = \"ws://127.0.0.1:0/web\"\nbackend = \"echo:\"\n\
             [[bridge]]\nname = \"other\"\nlisten = {{ url = \"{listen}\" }}\nbackend = \"echo:\"\n"
        )
    };
    natpulse.reload(&on(&format!("unix://{}", path.display()))).await;
    assert_eq!(natpulse.addr("web"), address, "port 0 is still the port that it was");
    let mut unix = UnixStream::connect(&path).await.unwrap();
    unix.write_all(b"a").await.unwrap();
    within("an echo", unix.read_exact(&mut [0; 1])).await.unwrap();
    // Another bridge on the same path: the socket's file is never gone.
    let inode = std::fs::metadata(&path).unwrap().ino();
    let told = natpulse.reload(&on(&format!("unix://{}", path.display())).replace("other", "third")).await;
    assert_eq!((&told["added"], &told["removed"]), (&"[\"third\"]".into(), &"[\"other\"]".into()), "{told}");
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    let mut unix = UnixStream::connect(&path).await.unwrap();
    unix.write_all(b"b").await.unwrap();
    within("an echo", unix.read_exact(&mut [0; 1])).await.unwrap();

    // From one kind of listener to another, on a port of their own, while somebody connects all the time.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap();
    drop(free);
    natpulse.reload(&on(&format!("ws://{port}/other"))).await;
    assert!(std::fs::metadata(&path).is_err(), "the file of a Unix socket goes with it");
    let is_over = Arc::new(AtomicBool::new(false));
    let knocking = tokio::spawn({
        let is_over = is_over.clone();
        async move {
            let mut connections = 0;
            while !is_over.load(Ordering::Relaxed) {
                TcpStream::connect(port).await.unwrap();
                connections += 1;
                // A pause, because who comes too often is turned away.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            connections
        }
    });
    for round in 0..10 {
        let url = format!("{}://{port}{}", ["tcp", "ws"][round % 2], ["", "/other"][round % 2]);
        natpulse.reload(&on(&url)).await;
        if round % 2 == 0 {
            let mut stream = TcpStream::connect(port).await.unwrap();
            stream.write_all(b"c").await.unwrap();
            within("an echo", stream.read_exact(&mut [0; 1])).await.unwrap();
        } else {
            assert!(echoes(&mut ws_connect(&url, None).await.0, "c").await);
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let connections = within("the last connection", knocking).await.unwrap();
    assert!(connections > 0);
    natpulse.stop().await;
}

#[tokio::test]
async fn limits_and_the_log_follow_and_what_waits_for_a_start_is_named() {
    let dir = TempDir::new();
    let token = dir.path().join("token");
    std::fs::write(&token, "correct-horse-battery\n").unwrap();
    let config = |limits: &str, more: &str| {
        format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = {token:?}\n{limits}{more}{}",
            bridge("echo", "\"echo:\"")
        )
    };
    let natpulse = Natpulse::launch(&config("", ""), |_| {}).await;
    let url = natpulse.url("echo");
    let post = async || {
        let admin = natpulse.admin();
        let request = format!(
            "POST /api/reload HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer correct-horse-battery\r\n\
             Connection: close\r\n\r\n"
        );
        let page = http(admin, &request).await;
        assert_eq!(page.status, 200, "{}", page.body);
        serde_json::from_str::<Value>(&page.body).unwrap()
    };
    let (mut first, _) = ws_connect(&url, None).await;
    let (mut second, _) = ws_connect(&url, None).await;
    natpulse.rewrite(&config("[limits]\nsessions_per_address = 1\n", "[log]\nlevel = \"debug\"\n"));
    let told = post().await;
    assert_eq!(told["unchanged"], json!(["echo"]), "{told}");
    assert_eq!(told["needs_restart"], json!([]), "{told}");
    assert!(echoes(&mut first, "one").await && echoes(&mut second, "two").await);
    assert_eq!(upgrade_status(&url).await, 429, "there are more than one already");
    natpulse.event("turned away", |event| event["level"] == "DEBUG").await;

    natpulse.rewrite(&config(
        "[server]\nmax_sessions = 3\n",
        "[networks]\ncapacity = 7\n[log]\nformat = \"json\"\n[events]\nwebhook = \"http://127.0.0.1:1/\"\n",
    ));
    let told = post().await;
    assert_eq!(told["needs_restart"], json!(["networks", "events", "log.format"]), "{told}");
    assert_eq!(natpulse.metrics().await["natpulse_permits_limit"], 3.0);
    assert_eq!(natpulse.metrics().await["natpulse_permits_used"], 2.0);
    let (mut third, _) = ws_connect(&url, None).await;
    assert!(echoes(&mut third, "three").await);
    assert_eq!(upgrade_status(&url).await, 503, "all places are taken");
    drop((first, second, third));
    natpulse.stop().await;
}

/// What an upgrade request is answered.
async fn upgrade_status(url: &str) -> u16 {
    let address = authority(url).parse().unwrap();
    let (_, path) = url.split_once(authority(url)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    http(address, &request).await.status
}

#[tokio::test]
async fn reloads_leave_no_task_and_no_descriptor_behind() {
    let one = server("one").await;
    let tokens = TempDir::new();
    let file = tokens.path().join("tokens");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let config = |round: usize| {
        format!(
            "[[bridge]]\nname = \"a\"\nlisten = \"ws://127.0.0.1:0/a\"\nmax_message = {}\n\
             backend = {{ urls = [\"tcp://{one}\"], health_check = {{ every = \"100ms\" }} }}\n\
             access = {{ token_file = {file:?} }}\n{}",
            1000 + round,
            bridge(&format!("b{}", round % 3), "{ url = \"tcp://127.0.0.1:1\", health_check = {} }")
        )
    };
    let natpulse = Natpulse::start(&config(0)).await;
    let checks = "natpulse_backend_checks_total{bridge=\"a\",result=\"passed\"}";
    within("a check", async { while natpulse.metrics().await[checks] < 1.0 {} }).await;
    let tasks = natpulse.metrics().await["natpulse_runtime_tasks"];
    let fds = natpulse.fds();
    for round in 1..=30 {
        natpulse.reload(&config(round)).await;
    }
    natpulse.reload(&config(30 * 3)).await;
    let checked = natpulse.metrics().await[checks];
    within("the backend of the bridge in use to be checked", async {
        while natpulse.metrics().await[checks] < checked + 2.0 {}
    })
    .await;
    within("the tasks of bridges that are gone to end", async {
        while natpulse.metrics().await["natpulse_runtime_tasks"] > tasks {}
    })
    .await;
    eventually("descriptors to be back where they were", || natpulse.fds() <= fds).await;
    natpulse.stop().await;
}
