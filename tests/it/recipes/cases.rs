//! Configs, and what is printed.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::place::Place;
use super::{Block, not_run};
use crate::backends::Backend;
use crate::process::{Process, within};
use crate::raw::{BINARY, FIN, RawWs};

/// Whole configs of a block that may show a part of one. Keys without a table are a bridge's, and one that is there twice
/// shows two ways to write it, each of which is a config. What every bridge must have is added.
pub fn configs(block: &Block) -> Vec<String> {
    assert_eq!(block.language, "toml");
    let lines: Vec<&str> = block.text.lines().collect();
    if lines.iter().any(|line| line.starts_with('[')) {
        let (before, bridges) = block.text.split_once("[[bridge]]\n").unwrap_or((&block.text, ""));
        let bridges = bridges.split("[[bridge]]\n").map(whole);
        return vec![format!("{before}\n{}", bridges.collect::<String>())];
    }
    let key = |line: &str| line.split(" = ").next().unwrap().to_owned();
    let count = |line: &&&str| lines.iter().filter(|other| key(other) == key(line)).count();
    let most = lines.iter().map(|line| count(&line)).max().unwrap_or(0);
    let way = |way: usize| {
        let mut seen = Vec::new();
        let wanted = lines.iter().filter(|line| {
            seen.push(key(line));
            let nth = seen.iter().filter(|other| **other == key(line)).count() - 1;
            count(line) == 1 || nth == way
        });
        whole(&wanted.map(|line| format!("{line}\n")).collect::<String>())
    };
    (0..most).map(way).collect()
}

/// A bridge with what is missing.
fn whole(keys: &str) -> String {
    let needed = [("name", "recipe"), ("listen", "ws://127.0.0.1:8080/"), ("backend", "echo:")];
    let has = |key: &str| keys.lines().any(|line| line.starts_with(&format!("{key} = ")));
    let missing = needed.iter().filter(|(key, _)| !has(key));
    let missing: String = missing.map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
    format!("[[bridge]]\n{missing}{keys}")
}

/// Has natpulse check all configs of a block; they come out whole.
pub async fn checked(place: &Place, block: &Block) -> Vec<String> {
    let configs = configs(block);
    for config in &configs {
        place.write("home/checked.toml", config);
        let (lines, code) = place.run("natpulse check -c checked.toml").await;
        assert_eq!(code, Some(0), "README.md:{}: {lines:#?}\n{config}", block.line);
    }
    configs
}

/// The only one.
pub async fn only(place: &Place, block: &Block) -> String {
    let mut configs = checked(place, block).await;
    assert_eq!(configs.len(), 1, "README.md:{}", block.line);
    configs.remove(0)
}

fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap()
}

pub async fn try_it(blocks: &[Block]) {
    let [run, all] = blocks else { panic!("{blocks:?}") };
    assert_eq!(run.text, "cargo run --release\n");
    let place = Place::new(&[]).await;
    // What cargo runs in the repository, once it has built it.
    let _natpulse = place.serve_config(&shipped()).await;
    let page = place.ask("127.0.0.1:8080", "/", "").await;
    assert!(page.status == 200 && page.body.contains("<html"), "{}", page.head);
    not_run(all, "it is what runs this");
}

pub async fn heartbeats(blocks: &[Block]) {
    let [settings, words, probe, simulate] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[("192.0.2.1", "example.com")]).await;
    checked(&place, settings).await;
    let (_echo, config) =
        (Backend::framed_echo_on(place.listen("127.0.0.1:9000")), only(&place, words).await);
    let natpulse = place.serve_config(&config).await;
    let port = listens(&natpulse).rsplit_once(':').unwrap().1.to_owned();
    let mut client = place.connect(&format!("127.0.0.1:{port}")).await;
    let told = b"\xab\xcd\0\0\x05\0\0\0hello";
    client.write_all(told).await.unwrap();
    let mut heard = [0; 13];
    within("an answer to a beat, and a record", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard.escape_ascii().to_string(), told.escape_ascii().to_string());
    drop(natpulse);

    // The far end, and then as much of a measurement as can be had at once.
    let _far = place.serve("natpulse bridge ws://0.0.0.0:8080/im echo:").await;
    let probing = place.shell(&probe.text);
    probing.wait_line("that it probes", |line| line.starts_with("Probing ws://").then_some(())).await;
    not_run(probe, "to its end, which takes as long as the longest silence; tests/it/probe does that");
    let (lines, code) = place.run(&simulate.text).await;
    assert!(code == Some(0) && lines.iter().any(|line| line.contains("smart")), "{lines:?}");
}

/// Where natpulse listens for its first bridge.
pub fn listens(natpulse: &Process) -> String {
    let events = natpulse.lines().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut listening = events.filter(|event| event["message"] == "listening");
    listening.next().expect("a bridge")["listen"].as_str().unwrap().to_owned()
}

pub async fn limits(blocks: &[Block]) {
    let [limits] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let config = only(&place, limits).await;
    let _natpulse = place.serve_config(&config).await;
    let stream = place.connect("127.0.0.1:8080").await;
    RawWs::upgrade(stream, "/").await.unwrap().leave().await;
}

pub async fn framings(blocks: &[Block]) {
    let [backends] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let configs = checked(&place, backends).await;
    // A header of two bytes and a length of two; then a record between two markers.
    let records: [&[u8]; 2] = [b"\x01\x02\0\x05hello", b"\x7ehello\x7e"];
    let messages: [&[u8]; 2] = [b"\x01\x02\0\x05hello", b"hello"];
    assert_eq!(configs.len(), records.len());
    let server = place.listen("127.0.0.1:9000");
    for ((config, record), message) in configs.iter().zip(records).zip(messages) {
        let _natpulse = place.serve_config(config).await;
        let stream = place.connect("127.0.0.1:8080").await;
        let both = async { tokio::join!(RawWs::upgrade(stream, "/"), server.accept()) };
        let (client, backend) = within("a session", both).await;
        let (mut client, mut backend) = (client.unwrap(), backend.unwrap().0);
        client.send(FIN | BINARY, message).await.unwrap();
        let mut heard = vec![0; record.len()];
        within("a record", backend.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard.escape_ascii().to_string(), record.escape_ascii().to_string());
    }
}

pub async fn configuration(blocks: &[Block]) {
    let [said] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let wrong = "[[bridge]]\nname = \"im\"\nlisten = \"ws://8080/im\"\nbackend = \"tcp://127.0.0.1:9000\"\n\
                 max_mesage = \"1MiB\"\n";
    place.write("home/im.toml", wrong);
    let (command, expected) = said.text.split_once('\n').unwrap();
    let (lines, code) = place.run(command.strip_prefix("$ ").unwrap()).await;
    assert_eq!((lines.join("\n").as_str(), code), (expected.trim_end(), Some(2)));
}

pub async fn watching(blocks: &[Block]) {
    let [curl, admin] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[("192.0.2.7", "client.example"), ("192.0.2.1", "example.com")]).await;
    let natpulse = place.serve("natpulse bridge ws://0.0.0.0:8080/ echo:").await;
    let stream = place.connect_from("192.0.2.7", "192.0.2.1:8080").await;
    let client = RawWs::upgrade(stream, "/").await.unwrap();
    // curl says on standard error how fast it is, unless that is a terminal.
    let (lines, code) = place.run(&curl.text).await;
    let told = lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = told.unwrap_or_else(|| panic!("{code:?} {lines:?}"));
    assert!(told.to_string().contains("192.0.2.7"), "{told}");
    drop((client, natpulse));

    let token = "0123456789abcdef0123456789abcdef";
    place.write("etc/natpulse/token", &format!("{token}\n"));
    let config = only(&place, admin).await;
    let _natpulse = place.serve_config(&config).await;
    let far = "192.0.2.1:9464";
    assert_eq!(place.ask(far, "/api/status", "").await.status, 401);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(place.ask(far, "/api/status", &bearer).await.status, 200);
    assert_eq!(place.ask(far, "/metrics", "").await.status, 200);
}

pub async fn running(blocks: &[Block]) {
    let [status] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    let _natpulse = place.serve("natpulse bridge ws://0.0.0.0:8080/ echo:").await;
    let (lines, code) = place.run(&status.text).await;
    assert!(code == Some(0) && lines[0].contains("at http://127.0.0.1:9464: ready, up "), "{lines:?}");
}

pub async fn draining(blocks: &[Block]) {
    let [settings, hook] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    place.write("etc/natpulse/token", "0123456789abcdef0123456789abcdef\n");
    let config = only(&place, settings).await;
    let _natpulse =
        place.serve_config(&format!("{config}[admin]\ntoken_file = \"/etc/natpulse/token\"\n")).await;
    let (lines, code) = place.run(&hook.text).await;
    assert_eq!((&lines[..], code), (&["drained".to_owned()][..], Some(0)));
    let admin = "127.0.0.1:9464";
    assert_eq!(place.ask(admin, "/readyz", "").await.status, 503);
    assert_eq!(place.ask(admin, "/healthz", "").await.status, 200);
}

pub fn terminal(blocks: &[Block]) {
    let [top] = blocks else { panic!("{blocks:?}") };
    not_run(top, "it wants a terminal; tests/it/top.rs gives it one");
}

pub fn dashboards(blocks: &[Block]) {
    let [compose] = blocks else { panic!("{blocks:?}") };
    not_run(compose, "it wants a container engine; tests/it/dashboards/deploy.rs reads the files");
}

pub async fn events(blocks: &[Block]) {
    let [settings, example, verify] = blocks else { panic!("{blocks:?}") };
    let place = Place::new(&[]).await;
    place.write("etc/natpulse/webhook.secret", "a secret of some length\n");
    let receiver = place.listen("127.0.0.1:8000");
    let config = only(&place, settings).await;
    let _natpulse = place.serve_config(&config).await;
    let client = RawWs::upgrade(place.connect("127.0.0.1:8080").await, "/").await.unwrap();
    let (head, body) = within("an event", posted(&receiver)).await;
    assert!(head.starts_with("POST /natpulse HTTP/1.1"), "{head}");
    let keys = |text: &str| {
        let told: Value = serde_json::from_str(text).unwrap();
        told["events"][0].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&body), keys(&example.text));
    let signature = head.lines().find_map(|line| line.strip_prefix("natpulse-signature: ")).expect(&head);
    let script = |body: &str| {
        format!(
            "secret = b'a secret of some length'\nbody = {body:?}.encode()\n\
             headers = {{'natpulse-signature': {signature:?}}}\n{}\n\
             print('signed' if expected == headers['natpulse-signature'] else 'forged')\n",
            verify.text
        )
    };
    for (body, expected) in [(body.clone(), "signed"), (body + " ", "forged")] {
        place.write("home/verify.py", &script(&body));
        let (lines, code) = place.run("python3 verify.py").await;
        assert_eq!((lines.join("\n").as_str(), code), (expected, Some(0)));
    }
    drop(client);
}

/// The head and the body of a request, which is answered.
async fn posted(receiver: &TcpListener) -> (String, String) {
    let (stream, _) = receiver.accept().await.unwrap();
    let mut io = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(io.read_line(&mut head).await.unwrap() > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect(&head);
    let mut body = vec![0; length.parse().unwrap()];
    io.read_exact(&mut body).await.unwrap();
    io.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    (head, String::from_utf8(body).unwrap())
}
