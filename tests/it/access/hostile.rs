//! Pages in a real browser, of which one is hostile.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::harness::Natpulse;
use crate::tools::{TempDir, browser, output};

const TOKEN: &str = "open-sesame-0123456789";

/// Shows an empty page to whoever asks for anything.
async fn serve(listener: TcpListener) {
    let page: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
                    return;
                }
            }
            // A browser may have thought better of it.
            let _ = stream.write_all(page).await;
        });
    }
}

#[tokio::test]
async fn a_hostile_page_opens_no_session_unless_it_is_let_in() {
    let hostile = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", hostile.local_addr().unwrap());
    let serving = tokio::spawn(serve(hostile));
    let dir = TempDir::new();
    let file = dir.path().join("tokens");
    fs::write(&file, TOKEN).unwrap();
    let (file, listed) =
        (format!("token_file = \"{}\"", file.display()), format!("origins = [\"{origin}\"]"));
    let bridges = [
        ("default", "/", "demo = true".to_owned()),
        ("listed", "/listed", format!("access = {{ {listed} }}")),
        ("any", "/any", "access = { origins = [\"*\"] }".to_owned()),
        ("token", "/token", format!("access = {{ {listed}, {file} }}")),
        ("both", "/both", format!("access = {{ {listed}, {file} }}\nsubprotocols = [\"chat\"]")),
        ("cookie", "/cookie", format!("access = {{ {file}, cookie = \"sid\" }}\ndemo = true")),
    ];
    let bridges = bridges.iter().map(|(name, path, settings)| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:0{path}\"\nbackend = \"echo:\"\n{settings}\n"
        )
    });
    let natpulse = Natpulse::start(&bridges.collect::<String>()).await;
    let profile = TempDir::new();
    let mut browser = browser("access/hostile.mjs", profile.path());
    browser.args([&origin, &natpulse.addr("default").to_string(), TOKEN]);
    let told = output(Duration::from_secs(120), browser.into()).await;
    assert_eq!(told.lines().last(), Some("all as expected"), "{told}");
    let metrics = natpulse.metrics().await;
    let denied = metrics["natpulse_handshakes_total{bridge=\"default\",result=\"origin_denied\"}"];
    // Foreign twice, by both names, rebound, of no origin; and the demo page, which tries by itself where it is rebound.
    assert!(denied >= 6.0, "{denied}");
    serving.abort();
    natpulse.stop().await;
}
