//! Real servers and their own clients, talking through the bridge.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Natpulse, Ws, ws_connect};
use crate::process::{Process, within};
use crate::tools::{TempDir, free_addr, output, program, script, test_tool};

/// For a whole run of a client, which may be thousands of requests.
const CLIENT_PATIENCE: Duration = Duration::from_secs(120);

/// A started server: the process, and where it listens.
struct Server {
    _process: Process,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it prints `ready`.
    async fn start(mut command: std::process::Command, addr: SocketAddr, ready: &str) -> Server {
        command.env("LC_ALL", "C");
        let process = Process::spawn(command);
        process.wait_line(ready, |line| line.contains(ready).then_some(())).await;
        Server { _process: process, addr }
    }
}

async fn next_binary(ws: &mut Ws) -> Vec<u8> {
    match within("a message", ws.next()).await {
        Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
        other => panic!("instead of a binary message: {other:?}"),
    }
}

// ---- DNS ----

const TYPE_A: u16 = 1;
const TYPE_TXT: u16 = 16;

async fn dns_server() -> Server {
    let addr = free_addr();
    let long = "x".repeat(250);
    let mut command = std::process::Command::new(program("dnsmasq"));
    command
        .args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="])
        .args(["--no-resolv", "--no-hosts", "--bind-interfaces"])
        .arg(format!("--listen-address={}", addr.ip()))
        .arg(format!("--port={}", addr.port()))
        .arg("--host-record=pulse.test,192.0.2.53");
    for number in 0..12 {
        command.arg(format!("--txt-record=long.test,{number} {long}"));
    }
    Server::start(command, addr, "started, version").await
}

fn dns_query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    // Recursion desired; one question and nothing else.
    query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    query
}

/// The answer the server gives to a client that talks to it without the bridge.
async fn dns_direct(addr: SocketAddr, query: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_u16(query.len() as u16).await.unwrap();
        stream.write_all(query).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap() as usize];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    within("a direct DNS answer", exchange).await
}

#[tokio::test]
async fn a_websocket_client_queries_a_real_dns_server() {
    let server = dns_server().await;
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "dns"
        listen = "ws://127.0.0.1:0/dns"
        backend = {{ url = "tcp://{}", framing = "dns" }}
        "#,
        server.addr
    ))
    .await;
    let fds = natpulse.fds();
    let (mut ws, _) = ws_connect(&natpulse.url("dns"), None).await;

    let query = dns_query(0x5eed, "pulse.test", TYPE_A);
    ws.send(Message::binary(query.clone())).await.unwrap();
    let answer = next_binary(&mut ws).await;
    assert_eq!(answer, dns_direct(server.addr, &query).await);
    assert_eq!(answer[..2], [0x5e, 0xed], "the id is the query's");
    assert_eq!(answer[2] & 0x80, 0x80, "it is a response");
    assert_eq!(answer[3] & 0x0f, 0, "without an error");
    assert_eq!(answer[4..8], [0, 1, 0, 1], "one question, one answer");
    assert_eq!(answer[12..query.len()], query[12..], "the question is ours");
    assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 53]);

    // Too long for a datagram, and asked for before the first answer is read: what a
    // client needs TCP for.
    let long = dns_query(7, "long.test", TYPE_TXT);
    let short = dns_query(8, "pulse.test", TYPE_A);
    ws.feed(Message::binary(long.clone())).await.unwrap();
    ws.feed(Message::binary(short.clone())).await.unwrap();
    ws.flush().await.unwrap();
    let answer = next_binary(&mut ws).await;
    assert!(answer.len() > 12 * 250, "{} bytes", answer.len());
    assert_eq!(answer[..2], [0, 7]);
    assert_eq!(answer[6..8], [0, 12], "all twelve records");
    assert_eq!(next_binary(&mut ws).await[..2], [0, 8]);

    ws.close(None).await.unwrap();
    let closed = &natpulse.closed_sessions(1).await[0];
    assert_eq!(closed["uplink_messages"], 3);
    assert_eq!(closed["downlink_messages"], 3);
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

// ---- Redis ----

#[tokio::test]
async fn redis_benchmark_runs_every_command_through_a_pair() {
    let addr = free_addr();
    let dir = TempDir::new();
    let mut command = std::process::Command::new(program("redis-server"));
    command
        .current_dir(dir.path())
        .args(["--bind", &addr.ip().to_string()])
        .args(["--port", &addr.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]);
    let server = Server::start(command, addr, "Ready to accept connections").await;
    let pair = Natpulse::pair("raw", server.addr).await;
    let fds = pair.fds();

    let bench = |requests: &str, pipeline: &str| {
        let mut command = Command::new(program("redis-benchmark"));
        command
            .args(["-h", "127.0.0.1", "-p", &pair.addr().port().to_string()])
            .args(["-n", requests, "-c", "20", "-P", pipeline, "-r", "1000"])
            // -e prints the server's errors, which would else only be counted.
            .args(["-e", "--csv"]);
        output(CLIENT_PATIENCE, command)
    };
    for report in [bench("4000", "16").await, bench("1000", "1").await] {
        assert!(!report.to_lowercase().contains("error"), "{report}");
        for test in ["PING_INLINE", "SET", "GET", "LRANGE_600", "MSET"] {
            assert!(report.contains(&format!("\"{test}")), "no {test}: {report}");
        }
    }

    // What the server itself counted, asked for without the bridge.
    let mut command = Command::new(program("redis-cli"));
    command
        .args(["-h", &server.addr.ip().to_string()])
        .args(["-p", &server.addr.port().to_string()])
        .args(["info", "commandstats"]);
    let stats = output(CLIENT_PATIENCE, command).await;
    let commands: Vec<&str> = stats.lines().filter(|line| line.starts_with("cmdstat_")).collect();
    assert!(commands.len() > 10, "{stats}");
    for line in commands {
        assert!(line.contains("rejected_calls=0"), "{line}");
        assert!(line.trim_end().ends_with("failed_calls=0"), "{line}");
    }

    pair.settles_to(fds).await;
    pair.stop().await;
}

// ---- MariaDB ----

async fn mariadb_server(dir: &TempDir) -> Server {
    let addr = free_addr();
    let mut whoami = Command::new(program("id"));
    whoami.arg("-un");
    let user = output(CLIENT_PATIENCE, whoami).await;
    let user = format!("--user={}", user.trim());
    let data = format!("--datadir={}", dir.path().join("data").display());
    let mut install = Command::new(program("mariadb-install-db"));
    install.args(["--no-defaults", "--skip-test-db", &user, &data]);
    install.arg("--auth-root-authentication-method=normal");
    output(CLIENT_PATIENCE, install).await;

    let mut command = std::process::Command::new(program("mariadbd"));
    command
        .args(["--no-defaults", "--skip-name-resolve", &user, &data])
        .arg(format!("--bind-address={}", addr.ip()))
        .arg(format!("--port={}", addr.port()))
        .arg(format!("--socket={}", dir.path().join("sock").display()))
        .arg(format!("--pid-file={}", dir.path().join("pid").display()))
        .arg("--max-allowed-packet=64M");
    Server::start(command, addr, "ready for connections").await
}

/// Runs a script of statements in MariaDB's own client, and returns the rows.
async fn mariadb(dir: &TempDir, addr: SocketAddr, statements: &str) -> String {
    let file = dir.path().join("statements.sql");
    fs::write(&file, statements).unwrap();
    let mut command = Command::new(program("mariadb"));
    command
        .args(["--no-defaults", "--skip-ssl", "--protocol=tcp", "-uroot"])
        .args(["--batch", "--skip-column-names", "--max-allowed-packet=64M"])
        .args(["-h", "127.0.0.1", "-P", &addr.port().to_string()])
        .args(["-e", &format!("source {}", file.display())]);
    output(CLIENT_PATIENCE, command).await
}

#[tokio::test]
async fn the_mariadb_client_works_through_a_pair() {
    let dir = TempDir::new();
    let server = mariadb_server(&dir).await;
    let pair = Natpulse::pair("mysql", server.addr).await;
    let fds = pair.fds();

    let blob: String =
        (0u32..1 << 18).map(|word| format!("{:08X}", word.wrapping_mul(0x9e37_79b9))).collect();
    let rows = mariadb(
        &dir,
        pair.addr(),
        &format!(
            "CREATE DATABASE pulse;\nUSE pulse;\n\
             CREATE TABLE t (id INT PRIMARY KEY, word VARCHAR(20), b LONGBLOB);\n\
             INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', NULL);\n\
             SELECT id, word FROM t ORDER BY id;\n\
             UPDATE t SET b = X'{blob}' WHERE id = 2;\n\
             SELECT LENGTH(b) FROM t WHERE id = 2;\n\
             SELECT HEX(b) FROM t WHERE id = 2;\n"
        ),
    )
    .await;
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[..3], ["1\tone", "2\ttwo", "1048576"]);
    assert!(rows[3] == blob, "the blob came back changed");

    // A value of 2^24 bytes or more goes as a full packet and a continuation, each
    // with its own header.
    let rows = mariadb(&dir, pair.addr(), "SELECT REPEAT('0123456789', 2000000);").await;
    assert!(rows.trim_end() == "0123456789".repeat(2_000_000));

    pair.settles_to(fds).await;
    pair.stop().await;
}

// ---- Modbus ----

async fn modbus_device() -> Server {
    let mut command = std::process::Command::new(test_tool("venv/bin/python"));
    command.arg(script("modbus_device.py"));
    let process = Process::spawn(command);
    let addr = process
        .wait_line("its port", |line| {
            let port = line.strip_prefix("listening on port ")?;
            format!("127.0.0.1:{port}").parse().ok()
        })
        .await;
    Server { _process: process, addr }
}

#[tokio::test]
async fn a_websocket_client_sends_whole_modbus_records_to_a_device() {
    let device = modbus_device().await;
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "plc"
        listen = "ws://127.0.0.1:0/plc"
        backend = {{ url = "tcp://{}", framing = "modbus" }}
        "#,
        device.addr
    ))
    .await;
    let (mut ws, _) = ws_connect(&natpulse.url("plc"), None).await;

    // Transaction, protocol 0, length, unit 1, then the request: write 0xbeef to
    // register 5, which the device echoes, then read registers 4 to 6.
    let write = [0, 1, 0, 0, 0, 6, 1, 6, 0, 5, 0xbe, 0xef];
    let read = [0, 2, 0, 0, 0, 6, 1, 3, 0, 4, 0, 3];
    let values = [0, 2, 0, 0, 0, 9, 1, 3, 6, 0, 40, 0xbe, 0xef, 0, 60];
    ws.send(Message::binary(write.to_vec())).await.unwrap();
    assert_eq!(next_binary(&mut ws).await, write);
    ws.send(Message::binary(read.to_vec())).await.unwrap();
    assert_eq!(next_binary(&mut ws).await, values);

    ws.close(None).await.unwrap();
    natpulse.closed_sessions(1).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_modbus_client_reaches_a_device_through_a_pair() {
    let device = modbus_device().await;
    let pair = Natpulse::pair("modbus", device.addr).await;
    let fds = pair.fds();
    let mut client = Command::new(test_tool("venv/bin/python"));
    client.arg(script("modbus_client.py")).arg(pair.addr().port().to_string());
    assert_eq!(output(CLIENT_PATIENCE, client).await, "all as expected\n");
    pair.settles_to(fds).await;
    pair.stop().await;
}
