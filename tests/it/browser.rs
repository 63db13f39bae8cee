//! The demo page in a real browser.

use std::path::Path;
use std::time::Duration;

use crate::harness::Natpulse;
use crate::tools::{TempDir, browser, output};

#[tokio::test]
async fn the_demo_page_sends_text_and_bytes_and_shows_them_come_back() {
    // The configuration that the repository ships, so that it is tested as well.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let natpulse = Natpulse::launch(&shipped, |command| {
        command
            .env("NATPULSE__BRIDGE__0__LISTEN", "ws://127.0.0.1:0/echo")
            .env("NATPULSE__ADMIN__LISTEN", "127.0.0.1:0");
    })
    .await;
    let listening = natpulse.logged("listening");
    let url = listening[0]["listen"].as_str().unwrap();
    let page = url.replacen("ws://", "http://", 1);

    let profile = TempDir::new();
    let mut browser = browser("browser.mjs", profile.path());
    browser.arg(&page);
    let told = output(Duration::from_secs(90), browser.into()).await;
    assert_eq!(told.lines().last(), Some("all as expected"), "{told}");

    natpulse.closed_sessions(1).await;
    natpulse.stop().await;
}
