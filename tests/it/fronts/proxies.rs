//! Real proxies: HAProxy in front and behind, and nginx in front.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{dialled, told};
use crate::harness::{Natpulse, connect_from};
use crate::process::{Process, within};
use crate::raw::{RawWs, upgrade};
use crate::recipes::below;
use crate::tools::{TempDir, free_addr, program};

/// A proxy at work, and where its configuration lies.
struct Proxy {
    _process: Process,
    _dir: TempDir,
}

impl Proxy {
    /// Starts a proxy, and waits until somebody listens at `ready`.
    async fn start(
        name: &str,
        arguments: &[&str],
        config: impl FnOnce(&TempDir) -> String,
        ready: SocketAddr,
    ) -> Proxy {
        let dir = TempDir::new();
        let file = dir.path().join("proxy.conf");
        fs::write(&file, config(&dir)).unwrap();
        let mut command = Command::new(program(name));
        command.args(arguments).arg(&file);
        let process = Process::spawn(command);
        let listening = async { while TcpStream::connect(ready).await.is_err() {} };
        within(&format!("{name} to listen"), listening).await;
        Proxy { _process: process, _dir: dir }
    }
}

/// HAProxy, which refuses whoever connects to `ready`: it binds all its addresses before it accepts anybody.
async fn haproxy(config: &str) -> Proxy {
    let ready = free_addr();
    let config = format!(
        "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
         {config}\nfrontend ready\n  bind {ready}\n  tcp-request connection reject\n"
    );
    Proxy::start("haproxy", &["-db", "-f"], |_| config, ready).await
}

#[tokio::test]
async fn haproxy_in_front_says_who_the_client_is() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\n\
         listen = {{ url = \"ws://127.0.0.1:0/\", proxy_protocol = [\"127.0.0.0/8\"] }}\n\
         backend = {{ url = \"tcp://{}\", proxy_protocol = \"v1\" }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    let [v1, v2, checked] = [free_addr(), free_addr(), free_addr()];
    let ours = natpulse.addr("b");
    let _haproxy = haproxy(&format!(
        "listen v1\n  bind {v1}\n  server s {ours} send-proxy\n\
         listen v2\n  bind {v2}\n  server s {ours} send-proxy-v2\n\
         listen checked\n  bind {checked}\n  server s {ours} send-proxy-v2 proxy-v2-options crc32c,unique-id\n"
    ))
    .await;
    for addr in [v1, v2, checked] {
        let stream = connect_from("127.0.0.9", addr).await.unwrap();
        let port = stream.local_addr().unwrap().port();
        let both = async { tokio::join!(RawWs::upgrade(stream, "/"), dialled(&server)) };
        let (client, mut backend) = within("a session", both).await;
        let line = format!("PROXY TCP4 127.0.0.9 {} {port} {}\r\n", addr.ip(), addr.port());
        assert_eq!(
            told(&mut backend).await.escape_ascii().to_string(),
            line.as_bytes().escape_ascii().to_string()
        );
        drop((client.unwrap(), backend));
    }
    natpulse.kill().await;
}

#[tokio::test]
async fn haproxy_behind_is_told_who_the_client_is() {
    let [plain, named] = [free_addr(), free_addr()];
    let answer = "  mode http\n  http-request return status 200 content-type text/plain lf-string";
    let _haproxy = haproxy(&format!(
        "frontend plain\n  bind {plain} accept-proxy\n{answer} \"%[src]:%[src_port]\"\n\
         frontend named\n  bind {named} accept-proxy\n{answer} \"%[src]:%[src_port] %[fc_pp_unique_id]\"\n"
    ))
    .await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"v1\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         backend = {{ url = \"tcp://{plain}\", proxy_protocol = \"v1\" }}\n\
         [[bridge]]\nname = \"v2\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         backend = {{ url = \"tcp://{named}\", proxy_protocol = \"v2\" }}\n"
    ))
    .await;
    for bridge in ["v1", "v2"] {
        let mut client = connect_from("127.0.0.9", natpulse.addr(bridge)).await.unwrap();
        let ours = client.local_addr().unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        within("the answer", client.read_to_string(&mut answer)).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let (who, name) = body.split_once(' ').unwrap_or((body, ""));
        assert_eq!(who, ours.to_string(), "{bridge}: {answer}");
        drop(client);
        let closed = natpulse.event("session closed", |event| event["bridge"] == bridge).await;
        let number = name.split_once('-').map(|(_, number)| number.to_owned());
        assert_eq!(number, (bridge == "v2").then(|| closed["session"].to_string()), "{name}");
    }
    natpulse.kill().await;
}

#[tokio::test]
async fn nginx_in_front_says_who_the_client_is_whatever_the_client_says() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[access]\ntrusted_proxies = [\"127.0.0.1\"]\n[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/im\"\n\
         backend = {{ url = \"tcp://{}\", proxy_protocol = \"v1\" }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    let (addr, ours) = (free_addr(), natpulse.addr("b"));
    let recipe = below("Behind another proxy").pop().unwrap().text;
    let location = recipe.replace("http://127.0.0.1:8080", &format!("http://{ours}"));
    let config = |dir: &TempDir| {
        let dir = dir.path().display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places: String = kinds.iter().map(|kind| format!("{kind}_temp_path {dir}/{kind};\n")).collect();
        format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{places}\nserver {{\nlisten {addr};\n{location}}}\n}}\n"
        )
    };
    let _nginx = Proxy::start("nginx", &["-e", "stderr", "-c"], config, addr).await;
    let spoofs = [
        "",
        "X-Forwarded-For: 192.0.2.66\r\n",
        "X-Forwarded-For: 192.0.2.66, 127.0.0.1\r\nForwarded: for=192.0.2.66\r\n",
        "Forwarded: for=\"192.0.2.66\r\nX-Forwarded-For: unknown\r\n",
    ];
    for spoof in spoofs {
        let mut client = connect_from("127.0.0.9", addr).await.unwrap();
        let request = upgrade("/im").replacen("Connection:", &format!("{spoof}Connection:"), 1);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut backend = dialled(&server).await;
        let line = String::from_utf8(told(&mut backend).await).unwrap();
        let expected = format!("PROXY TCP4 127.0.0.9 127.0.0.1 0 {}\r\n", ours.port());
        assert_eq!(line, expected, "{spoof}");
        let mut status = [0; 12];
        within("the answer", client.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
        drop((client, backend));
    }
    // Past the proxy nobody is believed, and nobody else is looked for.
    let mut client = connect_from("127.0.0.9", ours).await.unwrap();
    let request = upgrade("/im").replacen("Connection:", &format!("{}Connection:", spoofs[1]), 1);
    client.write_all(request.as_bytes()).await.unwrap();
    let line = told(&mut dialled(&server).await).await;
    assert!(line.starts_with(b"PROXY TCP4 127.0.0.9 127.0.0.1 "), "{}", line.escape_ascii());
    natpulse.kill().await;
}
