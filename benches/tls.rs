//! What TLS costs: the same load over `ws:` and over `wss:`, against the built program. A message of 16 KiB goes from a
//! client to a backend on a plain connection and back, and what counts is natpulse's CPU time per message, because
//! the client and the backend share the machine with it; then sessions are left idle, and its memory is counted.
//!
//! `cargo bench --bench tls` prints both as rows of the README's table; `-- --test` sees briefly that it works.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const MESSAGE: usize = 16 << 10;
/// Connections, and messages that are on their way on each.
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 4;
const IDLE: usize = 1_000;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A running natpulse with a bridge `ws:` and a bridge `wss:`.
struct Natpulse {
    child: Child,
    dir: PathBuf,
    plain: SocketAddr,
    secure: SocketAddr,
    connector: TlsConnector,
}

impl Natpulse {
    fn start(backend: SocketAddr) -> Natpulse {
        let dir = std::env::temp_dir().join(format!("natpulse-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let connector = certify(&dir);
        let config = format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
             [[bridge]]\nname = \"plain\"\nlisten = \"ws://127.0.0.1:0/plain\"\n\
             backend = {{ url = \"tcp://{backend}\", framing = \"u32be\" }}\n\
             [[bridge]]\nname = \"secure\"\n\
             listen = {{ url = \"wss://127.0.0.2:0/secure\", tls = {{ cert = {:?}, key = {:?} }} }}\n\
             backend = {{ url = \"tcp://{backend}\", framing = \"u32be\" }}\n",
            dir.join("cert.pem"),
            dir.join("key.pem")
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
        command.args(["run", "-c"]).arg(dir.join("config.toml")).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut addresses = Vec::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = lines.next().expect("natpulse ended").unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            match event["message"].as_str() {
                Some("listening") => {
                    let url = event["listen"].as_str().unwrap().to_owned();
                    addresses.push(url.split('/').nth(2).unwrap().parse().unwrap());
                }
                Some("serving") => break,
                _ => {}
            }
        }
        // Whatever it says from now on must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Natpulse { child, dir, plain: addresses[0], secure: addresses[1], connector }
    }

    /// CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every architecture that Linux runs on today.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// A WebSocket, past its handshake.
    async fn open(&self, is_secure: bool) -> Box<dyn Duplex> {
        let (address, path) = if is_secure { (self.secure, "secure") } else { (self.plain, "plain") };
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut stream: Box<dyn Duplex> = match is_secure {
            true => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(self.connector.connect(name, tcp).await.unwrap())
            }
            false => Box::new(tcp),
        };
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        stream
    }
}

impl Drop for Natpulse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn certify(dir: &std::path::Path) -> TlsConnector {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let root = params.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(params, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Sends back whatever comes.
async fn echo(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 256 << 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Keeps messages on their way for so long; returns how many came back, the time, and natpulse's CPU time.
async fn load(natpulse: &Natpulse, is_secure: bool, time: Duration) -> (f64, Duration, Duration) {
    // A masked binary frame with a length of two bytes; the mask is zero.
    let mut frame = vec![0x82, 0xfe, (MESSAGE >> 8) as u8, MESSAGE as u8, 0, 0, 0, 0];
    frame.resize(8 + MESSAGE, 7);
    let frame = Arc::new(frame);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(natpulse.open(is_secure).await);
    }
    let (begun, cpu) = (Instant::now(), natpulse.cpu());
    let clients = clients.into_iter().map(|mut client| {
        let frame = frame.clone();
        tokio::spawn(async move {
            for _ in 0..IN_FLIGHT {
                client.write_all(&frame).await.unwrap();
            }
            client.flush().await.unwrap();
            let mut message = vec![0; 4 + MESSAGE];
            let mut count = 0_u32;
            while begun.elapsed() < time {
                client.read_exact(&mut message).await.unwrap();
                client.write_all(&frame).await.unwrap();
                client.flush().await.unwrap();
                count += 1;
            }
            count
        })
    });
    let mut count = 0;
    for client in clients.collect::<Vec<_>>() {
        count += client.await.unwrap();
    }
    (f64::from(count), begun.elapsed(), natpulse.cpu() - cpu)
}

async fn idle(natpulse: &Natpulse, is_secure: bool, sessions: usize) -> f64 {
    let first = natpulse.open(is_secure).await;
    let before = natpulse.memory();
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(natpulse.open(is_secure).await);
    }
    let each = natpulse.memory().saturating_sub(before) as f64 / sessions as f64;
    drop((first, clients));
    each
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, time, sessions) =
        if is_test { (1, Duration::from_millis(200), 10) } else { (5, Duration::from_secs(4), IDLE) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    tokio::spawn(echo(listener));
    // Each figure of its own process: what one has left behind is not the other's.
    let mut memory = [0.0; 2];
    for (is_secure, memory) in [false, true].into_iter().zip(&mut memory) {
        *memory = idle(&Natpulse::start(backend), is_secure, sessions).await;
    }
    let natpulse = Natpulse::start(backend);
    let (mut costs, mut rates) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..rounds {
        for (index, is_secure) in [false, true].into_iter().enumerate() {
            let (count, took, cpu) = load(&natpulse, is_secure, time).await;
            costs[index].push(cpu.as_secs_f64() * 1e6 / count);
            rates[index].push(count * MESSAGE as f64 / took.as_secs_f64() / 1e6);
        }
    }
    let [plain, secure] = costs.map(median);
    let [plain_rate, secure_rate] = rates.map(median);
    println!("| | ws: | wss: | wss: of ws: |");
    println!("|---|---:|---:|---:|");
    println!(
        "| 16 KiB there and back, CPU time of natpulse, us | {plain:.1} | {secure:.1} | throughput per core {:.0}% |",
        plain / secure * 100.0
    );
    println!(
        "| the same, MB/s each way with client and backend on the same machine | {plain_rate:.0} | {secure_rate:.0} | {:.0}% |",
        secure_rate / plain_rate * 100.0
    );
    println!(
        "| an idle session, bytes of memory | {:.0} | {:.0} | {:.1} times |",
        memory[0],
        memory[1],
        memory[1] / memory[0].max(1.0)
    );
}
