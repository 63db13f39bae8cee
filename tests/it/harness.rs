//! Starts natpulse on ports the system picks, and looks at it from outside.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::namespace::Namespace;
use crate::process::{Process, eventually, within};
use crate::tools::TempDir;

pub struct Natpulse {
    process: Process,
    /// Where it runs, if not where the tests do.
    namespace: Option<Namespace>,
    // Holds the configuration file for as long as the process may read it.
    dir: TempDir,
}

impl Natpulse {
    /// Starts natpulse with this configuration, and an admin endpoint beside it unless it names one.
    pub async fn start(config: &str) -> Natpulse {
        Natpulse::launch(&with_admin(config), |_| {}).await
    }

    /// [`Natpulse::start`] in a network namespace.
    pub async fn start_in(namespace: &Namespace, config: &str) -> Natpulse {
        Natpulse::launch_in(Some(namespace), &with_admin(config), |_| {}).await
    }

    /// Starts `natpulse run -c FILE` with the file holding exactly `config`, after
    /// `adapt` changed the command, and waits until every listener is bound.
    pub async fn launch(config: &str, adapt: impl FnOnce(&mut Command)) -> Natpulse {
        Natpulse::launch_in(None, config, adapt).await
    }

    /// Starts natpulse with these arguments, in the place of a config file.
    pub async fn told(arguments: &[impl AsRef<OsStr>]) -> Natpulse {
        Natpulse::launch("", |command| {
            *command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
            command.args(arguments).env("NATPULSE__ADMIN__LISTEN", "127.0.0.1:0");
        })
        .await
    }

    /// [`Natpulse::launch`] in a network namespace, if one is named.
    pub async fn launch_in(
        namespace: Option<&Namespace>,
        config: &str,
        adapt: impl FnOnce(&mut Command),
    ) -> Natpulse {
        let dir = TempDir::new();
        let file = dir.path().join("config.toml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
        command.args(["run", "-c"]).arg(&file);
        adapt(&mut command);
        let process = match namespace {
            Some(namespace) => namespace.enter(|| Process::spawn(command)),
            None => Process::spawn(command),
        };
        let natpulse = Natpulse { process, namespace: namespace.cloned(), dir };
        natpulse.event("serving", |_| true).await;
        natpulse
    }

    /// A pair in a row, as two sites would run it: TCP into the first, WebSocket
    /// between them, TCP from the second to `backend`. `framing` is that of both TCP
    /// ends.
    pub async fn pair(framing: &str, backend: SocketAddr) -> Pair {
        let far = Natpulse::start(&format!(
            r#"
            [[bridge]]
            name = "far"
            listen = "ws://127.0.0.1:0/pair"
            backend = {{ url = "tcp://{backend}", framing = "{framing}" }}
            max_message = "32MiB"
            "#
        ))
        .await;
        let near = Natpulse::start(&format!(
            r#"
            [[bridge]]
            name = "near"
            listen = {{ url = "tcp://127.0.0.1:0", framing = "{framing}" }}
            backend = "{}"
            max_message = "32MiB"
            "#,
            far.url("far")
        ))
        .await;
        Pair { near, far }
    }

    /// Writes another configuration in the place of the one that it has read.
    pub fn rewrite(&self, config: &str) {
        fs::write(self.dir.path().join("config.toml"), with_admin(config)).unwrap();
    }

    /// Sends SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Has it go on with another configuration, and returns what it says of that.
    pub async fn reload(&self, config: &str) -> Value {
        let reloaded = || self.logged("the config was read again");
        let before = reloaded().len();
        self.rewrite(config);
        self.hang_up();
        eventually("the reload", || reloaded().len() > before).await;
        reloaded().pop().unwrap()
    }

    /// Waits for a log event with this message for which `pick` says yes.
    pub async fn event(&self, message: &str, pick: impl Fn(&Value) -> bool) -> Value {
        self.process
            .wait_line(&format!("an event {message:?}"), |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                (event["message"] == message && pick(&event)).then_some(event)
            })
            .await
    }

    /// Waits until `count` sessions have closed, and returns how each of them ended.
    pub async fn closed_sessions(&self, count: usize) -> Vec<Value> {
        let mut closed = Vec::new();
        self.process
            .wait_line(&format!("{count} events \"session closed\""), |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                if event["message"] == "session closed" {
                    closed.push(event);
                }
                (closed.len() == count).then_some(())
            })
            .await;
        closed
    }

    /// The events with this message that were logged so far.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.process.lines();
        let events = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
        events.filter(|event: &Value| event["message"] == message).collect()
    }

    /// Waits for a line of the log.
    pub async fn line(&self, what: &str, pick: impl Fn(&str) -> bool) {
        self.process.wait_line(what, |line| pick(line).then_some(())).await;
    }

    /// Everything that was logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// The URL a bridge listens on by now, with the port the system picked.
    pub fn url(&self, bridge: &str) -> String {
        let listening = self.logged("listening");
        let event = listening.iter().rev().find(|event| event["bridge"] == bridge);
        let event = event.unwrap_or_else(|| panic!("no bridge {bridge:?} in {listening:?}"));
        event["listen"].as_str().unwrap().to_owned()
    }

    /// The address of a bridge that listens on TCP or WebSocket.
    pub fn addr(&self, bridge: &str) -> SocketAddr {
        authority(&self.url(bridge)).parse().unwrap()
    }

    pub fn admin(&self) -> SocketAddr {
        let events = self.logged("admin listening");
        let listen = events.first().expect("no admin endpoint")["listen"].as_str();
        listen.unwrap().parse().unwrap()
    }

    /// `/metrics`, as text.
    pub async fn exposition(&self) -> String {
        let addr = self.admin();
        let request = get(addr, "/metrics");
        let page = match &self.namespace {
            Some(namespace) => exchange(namespace.connect(addr), &request).await,
            None => http(addr, &request).await,
        };
        assert_eq!(page.status, 200, "{}", page.body);
        page.body
    }

    /// The names of all metrics, without what a histogram adds to its name.
    pub async fn families(&self) -> Vec<String> {
        let text = self.exposition().await;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Every series of `/metrics`, keyed as it is written there, labels included.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let text = self.exposition().await;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').expect(line);
                (name.to_owned(), value.parse().expect(line))
            })
            .collect()
    }

    /// How many sessions have opened. Counted, not read from the log, which comes a moment later.
    pub async fn opened(&self) -> usize {
        let metrics = self.metrics().await;
        let opened =
            metrics.iter().filter(|(series, _)| series.starts_with("natpulse_sessions_opened_total"));
        opened.map(|(_, count)| *count as usize).sum()
    }

    /// Waits until so many handshakes of a bridge had this result: they are counted a moment after they are told.
    pub async fn counts(&self, bridge: &str, result: &str, count: f64) {
        let series = format!("natpulse_handshakes_total{{bridge=\"{bridge}\",result=\"{result}\"}}");
        let what = format!("{series} to be {count}");
        within(&what, async { while self.metrics().await.get(&series) != Some(&count) {} }).await;
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// The memory the process uses, shared pages counted by their share.
    pub fn pss(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:"));
        let kib: u64 = line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// How many connections the process has left in CLOSE_WAIT: the peer has gone and
    /// the process has not noticed or not cared.
    pub fn close_wait(&self) -> usize {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let sockets: Vec<String> = links
            .filter_map(|link| {
                let link = link.to_str()?;
                Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            })
            .collect();
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.process.id())).unwrap();
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[3] == "08" && sockets.iter().any(|inode| inode == row[9])).count()
    }

    /// Waits until nothing of any session is left: every one logged as closed, the
    /// descriptors back at `fds`, no connection half closed, the gauges at zero.
    pub async fn settles_to(&self, fds: usize) {
        let opened = self.opened().await;
        self.closed_sessions(opened).await;
        eventually("descriptors to be back where they were", || self.fds() <= fds && self.close_wait() == 0)
            .await;
        within("no session to be counted as active", async {
            let is_active = |(series, value): (&String, &f64)| {
                series.starts_with("natpulse_sessions_active") && *value != 0.0
            };
            while self.metrics().await.iter().any(is_active) {}
        })
        .await;
    }

    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.exit().await;
    }

    pub async fn exit(&mut self) -> ExitStatus {
        self.process.exit().await
    }

    /// Ends natpulse as a service manager would, and checks that it left cleanly.
    pub async fn stop(mut self) {
        self.terminate();
        assert_eq!(self.exit().await.code(), Some(0));
    }
}

/// Two natpulse in a row; see [`Natpulse::pair`].
pub struct Pair {
    pub near: Natpulse,
    pub far: Natpulse,
}

impl Pair {
    /// Where a TCP client connects to.
    pub fn addr(&self) -> SocketAddr {
        self.near.addr("near")
    }

    pub fn fds(&self) -> (usize, usize) {
        (self.near.fds(), self.far.fds())
    }

    pub async fn settles_to(&self, (near, far): (usize, usize)) {
        self.near.settles_to(near).await;
        self.far.settles_to(far).await;
    }

    pub async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

fn with_admin(config: &str) -> String {
    match config.contains("[admin]") {
        true => config.to_owned(),
        false => format!("{config}\n[admin]\nlisten = \"127.0.0.1:0\"\n"),
    }
}

pub fn authority(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect(url);
    rest.split('/').next().unwrap()
}

pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One plain GET on a connection of its own.
pub async fn http_get(addr: SocketAddr, path: &str) -> Page {
    http(addr, &get(addr, path)).await
}

fn get(addr: SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")
}

/// Sends these bytes on a connection of its own, and reads the answer up to the end of
/// the connection.
pub async fn http(addr: SocketAddr, request: &str) -> Page {
    exchange(TcpStream::connect(addr), request).await
}

/// The same on a connection that is made in some other way.
pub async fn exchange(connecting: impl Future<Output = io::Result<TcpStream>>, request: &str) -> Page {
    let exchange = async {
        let mut stream = connecting.await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that refuses early may reset the connection behind its answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let start = request.lines().next().unwrap_or_default();
    let answer = within(&format!("the answer to {start:?}"), exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).expect(head);
    Page { status: status.parse().expect(head), head: head.to_lowercase(), body: body.to_owned() }
}

/// A connection from a loopback address of one's own.
pub async fn connect_from(host: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(host.parse().unwrap(), 0))?;
    socket.connect(to).await
}

pub type Ws = WebSocketStream<TcpStream>;

/// Opens a WebSocket, asking for `subprotocol` if there is one.
pub async fn ws_connect(url: &str, subprotocol: Option<&str>) -> (Ws, Response) {
    let mut request = url.into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let connect = async {
        let stream = TcpStream::connect(authority(url)).await.unwrap();
        tokio_tungstenite::client_async_with_config(request, stream, Some(limits))
            .await
            .unwrap_or_else(|error| panic!("no WebSocket at {url}: {error}"))
    };
    within(&format!("a WebSocket at {url}"), connect).await
}
