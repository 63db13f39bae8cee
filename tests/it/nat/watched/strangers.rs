//! Clients who are turned away, or may not stay, for every reason there is.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::local;
use crate::harness::{Natpulse, exchange};
use crate::namespace::Namespace;
use crate::process::within;
use crate::raw::{BINARY, FIN, RawWs, frame, upgrade};
use crate::tls::authority::Authority;
use crate::tools::TempDir;

/// A backend that is checked on, and says nothing.
const CHECKED: SocketAddr = local(9006);
const SECRET: &str = "thirty-two characters, or a few more";
/// How long the token of this test is valid: one interval of Prometheus' and one second more.
const VALID: Duration = Duration::from_secs(2);

/// What the bridges that turn clients away need beside them.
pub struct Doorkeeper {
    authority: Authority,
    dir: TempDir,
    _checked: TcpListener,
}

impl Doorkeeper {
    pub fn new(server: &Namespace) -> Doorkeeper {
        let (authority, dir) = (Authority::new(), TempDir::new());
        fs::write(dir.path().join("secret"), SECRET).unwrap();
        Doorkeeper { authority, dir, _checked: server.listen(CHECKED) }
    }

    /// All that peers may leave waiting, which one that takes nothing does not, and the bridges.
    pub fn config(&self) -> String {
        let (files, secret) = (self.authority.localhost().files(), self.dir.path().join("secret"));
        let ends = |number: u8, more: &str| {
            format!("listen = \"ws://127.0.1.{number}:0/\"\nbackend = \"echo:\"\n{more}\n")
        };
        let bridges = [
            ("listed", ends(1, "access = { allow = [\"192.0.2.1\"] }")),
            (
                "signed",
                ends(2, &format!("access = {{ jwt = {{ secret_file = {secret:?}, algorithms = [\"HS256\"], leeway = \"0s\" }} }}")),
            ),
            ("aged", ends(3, "limits = { sessions_per_address = 1, max_age = \"1s\" }")),
            ("idle", ends(4, "limits = { idle_timeout = \"1s\" }")),
            (
                "proxied",
                "listen = { url = \"ws://127.0.1.5:0/\", proxy_protocol = [\"192.0.2.1\"] }\nbackend = \"echo:\"\n".to_owned(),
            ),
            ("secure", format!("listen = {{ url = \"wss://127.0.1.6:0/\", tls = {{ {files} }} }}\nbackend = \"echo:\"\n")),
            (
                "named",
                "listen = \"ws://127.0.1.7:0/{name}\"\n\
                 backend = { url = \"tcp://{name}.internal:5900\", allow = [\"one.internal:5900\"] }\n".to_owned(),
            ),
            (
                "several",
                format!(
                    "listen = \"ws://127.0.1.8:0/\"\n\
                     backend = {{ urls = [\"tcp://{CHECKED}\", \"tcp://127.0.0.1:1\"], health_check = {{ every = \"1s\" }} }}\n"
                ),
            ),
        ];
        let bridges = bridges.map(|(name, ends)| format!("[[bridge]]\nname = \"{name}\"\n{ends}"));
        format!("[limits]\nbuffered = \"1MiB\"\n{}", bridges.concat())
    }
}

/// Clients come who may not, and others stay for as long as they may.
pub async fn come(natpulse: &Natpulse, server: &Namespace) {
    let ask = async |bridge: &str, request: String| {
        exchange(server.connect(natpulse.addr(bridge)), &request).await.status
    };
    let with = |line: &str| upgrade("/").replacen("Connection:", &format!("{line}\r\nConnection:"), 1);
    assert_eq!(ask("listed", upgrade("/")).await, 403);
    assert_eq!(ask("aged", with("Origin: https://app.example")).await, 403);
    assert_eq!(ask("signed", upgrade("/")).await, 401);
    assert_eq!(ask("named", upgrade("/two%40")).await, 404);
    assert_eq!(ask("named", upgrade("/two")).await, 403);
    for bridge in ["proxied", "secure"] {
        let mut stream = server.connect(natpulse.addr(bridge)).await.unwrap();
        // It is hung up on, which may be before it has said anything.
        let _ = stream.write_all(upgrade("/").as_bytes()).await;
        let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
    }
    let open = async |bridge: &str| {
        RawWs::upgrade(server.connect(natpulse.addr(bridge)).await.unwrap(), "/").await.unwrap()
    };
    let (aged, idle) = (open("aged").await, open("idle").await);
    assert_eq!(ask("aged", upgrade("/")).await, 429, "its only session is taken");
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + VALID;
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::default(), &json!({ "exp": until.as_secs() }), &key).unwrap();
    let mut expiring = server.connect(natpulse.addr("signed")).await.unwrap();
    expiring.write_all(with(&format!("Authorization: Bearer {token}")).as_bytes()).await.unwrap();
    for reason in ["aged", "idle", "token_expired"] {
        natpulse.event("session closed", |event| event["reason"] == reason).await;
    }
    drop((aged, idle, expiring));
}

/// Clients that take nothing, at the most.
const MOST: usize = 30;

/// Clients send and take nothing, until too much waits for one of them. How much that is depends on what the kernel takes.
pub async fn take_nothing(natpulse: &Natpulse, server: &Namespace) {
    let overloaded = "natpulse_sessions_closed_total{bridge=\"im\",reason=\"overloaded\"}";
    let mut pouring = Vec::new();
    while natpulse.metrics().await[overloaded] == 0.0 {
        if pouring.len() < MOST {
            let stream = server.connect(natpulse.addr("im")).await.unwrap();
            let mut client = RawWs::upgrade(stream, "/").await.unwrap();
            pouring.push(tokio::spawn(async move {
                let message = frame(FIN | BINARY, &vec![7; 1 << 20]);
                while client.io.write_all(&message).await.is_ok() {}
            }));
        }
    }
    pouring.iter().for_each(tokio::task::JoinHandle::abort);
}
