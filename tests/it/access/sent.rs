//! A token that natpulse itself shows to a backend which asks for one.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bad_input::config::{each_is_told, run};
use crate::harness::Natpulse;
use crate::process::within;
use crate::tools::TempDir;

const TOKEN: &str = "open-sesame-01234567";

/// A client gets no byte. It may be hung up on before it knows that it was connected.
async fn is_hung_up_on(near: &Natpulse) {
    if let Ok(mut refused) = within("an answer", TcpStream::connect(near.addr("near"))).await {
        let ended = within("the end", refused.read(&mut [0; 1])).await;
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_backend_that_asks_for_a_token_is_sent_what_the_file_holds_by_then() {
    let dir = TempDir::new();
    let (listed, own) = (dir.path().join("listed"), dir.path().join("own"));
    fs::write(&listed, TOKEN).unwrap();
    fs::write(&own, "no-such-token-012345\n").unwrap();
    let far = Natpulse::start(&format!(
        "[[bridge]]\nname = \"far\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
         access = {{ token_file = {listed:?} }}\n"
    ))
    .await;
    let near = Natpulse::start(&format!(
        "[[bridge]]\nname = \"near\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = {{ url = {:?}, token_file = {own:?} }}\n",
        far.url("far")
    ))
    .await;

    is_hung_up_on(&near).await;
    let is_denied = |event: &serde_json::Value| event["error"].as_str().is_some_and(|it| it.contains("401"));
    near.event("cannot dial the backend", is_denied).await;

    fs::write(&own, format!(" {TOKEN} \nand more\n")).unwrap();
    let mut client = within("a connection", TcpStream::connect(near.addr("near"))).await.unwrap();
    client.write_all(b"\0\0\0\x02hi").await.unwrap();
    let mut answer = [0; 6];
    within("the echo", client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"\0\0\0\x02hi");
    // The connections that measure the network show it too.
    let probes = r#"natpulse_handshakes_total{bridge="far",result="probe"}"#;
    within("a probe", async { while far.metrics().await[probes] < 1.0 {} }).await;
    fs::remove_file(&own).unwrap();
    is_hung_up_on(&near).await;
    let name = own.display().to_string();
    let is_named = |event: &serde_json::Value| event["error"].as_str().is_some_and(|it| it.contains(&name));
    near.event("cannot dial the backend", is_named).await;

    for natpulse in [&near, &far] {
        assert!(!natpulse.lines().join("\n").contains("sesame"), "a token in the log");
    }
    drop(client);
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_token_for_a_backend_is_checked_at_the_start() {
    let dir = TempDir::new();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, short) = (file("good", TOKEN), file("short", "sesame"));
    let with = |url: &str, key: &str, file: &str| {
        format!(
            "[[bridge]]\nname = \"a\"\nlisten = \"ws://127.0.0.1:0/\"\n\
             backend = {{ url = \"{url}\", {key} = \"{file}\" }}\n"
        )
    };
    let told = |file: &str| format!("bridge[0].backend.token_file = \"{file}\"");
    let [on_good, on_short, on_none] = [&good[..], &short, "/nowhere"].map(told);
    let key = "§token_file";
    each_is_told(&[
        (with("tcp://127.0.0.1:1", key, &good), &on_good, "only a WebSocket has a place for a token"),
        (with("ws://127.0.0.1:1/", key, &short), &on_short, "whose first line has at least 16 characters"),
        (with("ws://127.0.0.1:1/", key, "/nowhere"), &on_none, "that can be read"),
    ])
    .await;

    let warning = "warning: bridge a: backend.token_file is sent without TLS";
    for (url, is_warned) in
        [("ws://127.0.0.1:1/", false), ("wss://192.0.2.1:1/", false), ("ws://192.0.2.1:1/", true)]
    {
        let (lines, code) = run("check", &with(url, "token_file", &good), &[]).await;
        assert_eq!(code, Some(0), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line.starts_with(warning)), is_warned, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(&format!("token_file = \"{good}\""))), "{lines:#?}");
        assert!(!lines.join("\n").contains("sesame"));
    }
}
