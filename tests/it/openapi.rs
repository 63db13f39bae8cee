//! The OpenAPI document, beside what a running natpulse answers.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

use crate::harness::{Natpulse, Page, Ws, http, ws_connect};
use crate::process::{within, within_time};
use crate::raw::{BINARY, FIN, RawWs};
use crate::tools::{TempDir, script, test_tool};

const TOKEN: &str = "correct-horse-battery";

/// Every path of the document that can be looked at, with a session's number where there is one.
const PATHS: [&str; 12] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/status",
    "/api/events",
    "/api/bridges",
    "/api/sessions",
    "/api/sessions/1",
    "/api/networks",
    "/api/deaths",
    "/api/openapi.json",
];

/// What was answered, for the validator.
#[derive(Default)]
struct Answers(Vec<Value>);

impl Answers {
    /// Asks, and keeps the answer.
    async fn ask(&mut self, admin: SocketAddr, method: &str, path: &str, headers: &str) -> Page {
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {admin}\r\n") };
        let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
        let page = if path == "/api/events" && method == "GET" {
            self.events(admin, &request).await
        } else {
            http(admin, &request).await
        };
        let heads = page.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let heads: Vec<_> = heads.map(|(name, value)| json!([name, value])).collect();
        self.0.push(
            json!({"method": method, "path": path, "status": page.status, "headers": heads, "body": page.body}),
        );
        page
    }

    /// The beginning of an answer that has no end, if it is one.
    async fn events(&mut self, admin: SocketAddr, request: &str) -> Page {
        let mut stream = within("the admin port", TcpStream::connect(admin)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let is_enough = |text: &str| {
            let is_refused = !text.starts_with("HTTP/1.1 200") && text.ends_with('}');
            is_refused || text.split("event: status\ndata: ").nth(2).is_some_and(|data| data.contains("\n\n"))
        };
        while !is_enough(&text) {
            let mut bytes = [0; 16384];
            let read = within("an event", stream.read(&mut bytes)).await.unwrap();
            assert_ne!(read, 0, "{text}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = body.lines();
        while let Some(line) = lines.next() {
            if let Some(event) = line.strip_prefix("event: ") {
                let data = lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                self.0.push(json!({"event": event, "body": data}));
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// The items of a list.
    async fn items(&mut self, admin: SocketAddr, path: &str) -> Vec<Value> {
        let page = self.ask(admin, "GET", path, "").await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let mut list: Value = serde_json::from_str(&page.body).unwrap();
        list["items"].as_array_mut().map(std::mem::take).unwrap()
    }
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/openapi.json");
    path.to_str().unwrap().to_owned()
}

/// A natpulse with sessions of every kind, a network of which something is known, and a client that died and came back.
struct Busy {
    natpulse: Natpulse,
    // Held, so that their sessions stay open.
    _clients: Vec<Ws>,
    _unix: UnixStream,
}

async fn busy(dir: &TempDir, answers: &mut Answers) -> Busy {
    let token = dir.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let (token, socket) = (token.display(), dir.path().join("socket"));
    let natpulse = Natpulse::launch(
        &format!(
            r#"
            [admin]
            listen = "127.0.0.1:0"
            token_file = "{token}"
            [[bridge]]
            name = "mortal"
            listen = {{ url = "ws://127.0.0.1:0/mortal", heartbeat = {{ min = "1s", reply_timeout = "300ms" }} }}
            backend = "echo:"
            [[bridge]]
            name = "unix"
            listen = {{ url = "unix://{}", framing = "line" }}
            backend = "echo:"
            [[bridge]]
            name = "ws"
            listen = "ws://127.0.0.1:0/ws"
            backend = "echo:"
            "#,
            socket.display()
        ),
        |_| {},
    )
    .await;
    let admin = natpulse.admin();
    let mut dead = RawWs::open(natpulse.addr("mortal"), "/mortal").await.unwrap();
    dead.send(FIN | BINARY, b"the last word").await.unwrap();
    // It reads, and answers nothing.
    within("the end of a client", async { while dead.frame().await.is_ok() {} }).await;
    natpulse.event("session closed", |event| event["reason"] == "client_dead").await;
    let mut clients = vec![ws_connect(&natpulse.url("mortal"), None).await.0];
    let deaths = answers.items(admin, "/api/deaths").await;
    assert!(deaths[0]["returned"].is_f64() && deaths[0]["last_message"].is_f64(), "{deaths:?}");

    let mut unix = UnixStream::connect(socket).await.unwrap();
    unix.write_all(b"hello\n").await.unwrap();
    within("an echo", unix.read_exact(&mut [0; 6])).await.unwrap();
    // So many that some are left whenever one looks at the drain.
    for _ in 0..20 {
        clients.push(ws_connect(&natpulse.url("ws"), None).await.0);
    }
    let sessions = answers.items(admin, "/api/sessions?sort=bridge&order=desc").await;
    assert!(sessions[0]["client"].is_string() && sessions[0]["last_message"].is_null(), "{sessions:?}");
    assert!(sessions[20]["client"].is_null() && sessions[20]["last_message"].is_f64(), "{sessions:?}");
    let networks = answers.items(admin, "/api/networks").await;
    assert_eq!(networks[0]["name"], "127.0.0.0/24", "{networks:?}");
    Busy { natpulse, _clients: clients, _unix: unix }
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let mut answers = Answers::default();
    let dir = TempDir::new();
    let busy = busy(&dir, &mut answers).await;
    let natpulse = &busy.natpulse;
    let admin = natpulse.admin();
    let id = answers.items(admin, "/api/sessions?filter=ws").await[0]["id"].clone();
    let session = format!("/api/sessions/{id}");
    for path in PATHS {
        let path = if path == "/api/sessions/1" { &session } else { path };
        assert_eq!(answers.ask(admin, "GET", path, "").await.status, 200, "{path}");
        assert_eq!(answers.ask(admin, "PATCH", path, "").await.status, 405, "{path}");
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            assert_eq!(answers.ask(admin, "GET", path, "Host: example.com\r\n").await.status, 403, "{path}");
        }
    }
    for path in ["/api/bridges", "/api/sessions", "/api/networks", "/api/deaths"] {
        assert_eq!(answers.ask(admin, "GET", &format!("{path}?limit=0"), "").await.status, 400, "{path}");
    }
    assert_eq!(answers.ask(admin, "GET", "/nowhere", "").await.status, 404);
    assert_eq!(answers.ask(admin, "GET", "/api/sessions/999", "").await.status, 404);

    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let foreign = format!("{bearer}Origin: http://example.com\r\n");
    assert_eq!(answers.ask(admin, "DELETE", &session, "").await.status, 401);
    assert_eq!(answers.ask(admin, "DELETE", &session, &foreign).await.status, 403);
    assert_eq!(answers.ask(admin, "DELETE", &session, &bearer).await.status, 204);
    natpulse.event("session closed", |event| event["session"] == id).await;
    assert_eq!(answers.ask(admin, "DELETE", &session, &bearer).await.status, 404);
    for method in ["GET", "PATCH"] {
        assert_eq!(answers.ask(admin, method, "/api/drain", "").await.status, 405);
    }

    let reload = "/api/reload";
    assert_eq!(answers.ask(admin, "POST", reload, "").await.status, 401);
    assert_eq!(answers.ask(admin, "POST", reload, &foreign).await.status, 403);
    assert_eq!(answers.ask(admin, "GET", reload, "").await.status, 405);
    assert_eq!(answers.ask(admin, "POST", reload, &bearer).await.status, 200);
    natpulse.rewrite("[admin]\nlisten = \"nowhere\"\n");
    let refused = answers.ask(admin, "POST", reload, &bearer).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("admin.listen") && refused.body.contains("bridge is missing"),
        "{}",
        refused.body
    );

    // As many as may look on at once, and one more.
    let mut onlookers = Vec::new();
    while answers.0.last().is_none_or(|last| last["status"] != 503) {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        within("an answer", stream.read_exact(&mut line)).await.unwrap();
        onlookers.push(stream);
        if &line != b"HTTP/1.1 200" {
            answers.ask(admin, "GET", "/api/events", "").await;
        }
    }
    drop(onlookers);

    assert_eq!(answers.ask(admin, "POST", "/api/drain", "").await.status, 401);
    assert_eq!(answers.ask(admin, "POST", "/api/drain", &foreign).await.status, 403);
    assert_eq!(answers.ask(admin, "GET", "/readyz", "").await.status, 200);
    assert_eq!(answers.ask(admin, "POST", "/api/drain", &bearer).await.status, 202);
    natpulse.event("draining", |_| true).await;
    assert_eq!(answers.ask(admin, "GET", "/api/status", "").await.status, 200);
    assert_eq!(answers.ask(admin, "GET", "/readyz", "").await.status, 503);
    assert_eq!(answers.ask(admin, "POST", reload, &bearer).await.status, 503);

    let token = dir.path().join("token");
    let locked = format!(
        "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"{}\"\n[[bridge]]\nname = \"ws\"\n\
         listen = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n",
        token.display()
    );
    let locked = Natpulse::launch(&locked, |_| {}).await;
    let admin = SocketAddr::from(([127, 0, 0, 1], locked.admin().port()));
    for path in PATHS {
        let status = answers.ask(admin, "GET", path, "").await.status;
        let is_open = matches!(path, "/healthz" | "/readyz" | "/metrics");
        assert_eq!(status, if is_open { 200 } else { 401 }, "{path}");
    }
    let told = validated(&answers).await;
    assert_eq!(told.lines().last(), Some("all as documented"), "{told}");
    refused_where_the_document_says_so(&locked, &told).await;
}

/// What the validator says of the answers.
async fn validated(answers: &Answers) -> String {
    let mut lines = Vec::new();
    for answer in &answers.0 {
        writeln!(lines, "{answer}").unwrap();
    }
    let mut validator = Command::new(test_tool("venv/bin/python"))
        .arg(script("openapi.py"))
        .arg(document())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = validator.stdin.take().unwrap();
    let told = async {
        // A validator that ends early says why.
        let _ = input.write_all(&lines).await;
        drop(input);
        validator.wait_with_output().await.unwrap()
    };
    let told = within_time(Duration::from_secs(60), "the validator", told).await;
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}

/// Asks for the bounds of every parameter of a list, for what is beyond them, and for every word that it may be.
async fn refused_where_the_document_says_so(natpulse: &Natpulse, told: &str) {
    let admin = SocketAddr::from(([127, 0, 0, 1], natpulse.admin().port()));
    let mut asked = 0;
    for line in told.lines().filter(|line| line.starts_with('{')) {
        let parameter: Value = serde_json::from_str(line).unwrap();
        let (path, name, schema) =
            (parameter["path"].as_str().unwrap(), &parameter["name"], &parameter["schema"]);
        let name = name.as_str().unwrap();
        let words =
            schema["enum"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned());
        let mut cases: Vec<(String, u16)> = words.map(|word| (word, 200)).collect();
        for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
            if let Some(bound) = schema[bound].as_i64() {
                cases.extend([(bound.to_string(), 200), ((bound + beyond).to_string(), 400)]);
            }
        }
        if schema.get("enum").is_some() {
            cases.push(("nonsense".to_owned(), 400));
        }
        for (value, status) in cases {
            let request = format!(
                "GET {path}?{name}={value} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Connection: close\r\n\r\n"
            );
            let page = http(admin, &request).await;
            assert_eq!(page.status, status, "{path}?{name}={value}: {}", page.body);
            asked += 1;
        }
    }
    assert!(asked > 40, "only {asked} values");
}

#[test]
fn the_document_is_of_this_version() {
    let text = std::fs::read_to_string(document()).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}
