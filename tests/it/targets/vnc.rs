//! The screen of a VNC server in noVNC, with natpulse in the place of websockify.

use std::fs;
use std::process::Command;

use crate::harness::Natpulse;
use crate::process::{PATIENCE, Process};
use crate::tools::{TempDir, browser, output, program, test_tool};

/// A page as short as noVNC allows.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>connecting</title>
<div id="screen"></div>
<script type="module">
import RFB from "./core/rfb.js";
const url = `ws://${location.host}/websockify${location.search}`;
const rfb = new RFB(document.getElementById("screen"), url);
rfb.addEventListener("connect", () => { document.title = "connected"; });
rfb.addEventListener("disconnect", () => { document.title = "disconnected"; });
</script>
"#;

/// Paints the screen of an X server.
async fn paint(display: &str, colour: &str) {
    let mut xsetroot = tokio::process::Command::new(program("xsetroot"));
    xsetroot.args(["-display", &format!(":{display}"), "-solid", colour]);
    output(PATIENCE, xsetroot).await;
}

#[tokio::test]
async fn novnc_shows_a_screen_through_a_token_file_and_pages_of_ours() {
    let dir = TempDir::new();
    let socket = dir.path().join("vnc");
    let mut vnc = Command::new(program("Xtigervnc"));
    vnc.args(["-displayfd", "1", "-rfbport", "-1", "-SecurityTypes", "None", "-ac", "-nolisten", "tcp"])
        .args(["-geometry", "320x240", "-depth", "24", "-rfbunixpath"])
        .arg(&socket);
    let vnc = Process::spawn(vnc);
    let display = vnc.wait_line("its display", |line| {
        let is_number = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| line.to_owned())
    });
    let display = display.await;
    paint(&display, "#336699").await;

    let web = dir.path().join("web");
    fs::create_dir(&web).unwrap();
    fs::write(web.join("index.html"), PAGE).unwrap();
    for part in ["core", "vendor"] {
        let mut copy = tokio::process::Command::new("cp");
        copy.arg("-r").arg(test_tool(&format!("node/node_modules/@novnc/novnc/{part}"))).arg(&web);
        output(PATIENCE, copy).await;
    }
    let tokens = dir.path().join("tokens.cfg");
    fs::write(&tokens, format!("screen: unix:{}\n", socket.display())).unwrap();
    let (web, tokens) = (web.to_str().unwrap(), tokens.to_str().unwrap());
    let natpulse = Natpulse::told(&[
        "127.0.0.1:0",
        "--web",
        web,
        "--token-plugin",
        "TokenFile",
        "--token-source",
        tokens,
    ])
    .await;

    let mut browser = browser("novnc.mjs", &dir.path().join("profile"));
    browser.arg(format!("http://{}/", natpulse.addr("bridge"))).args(["rgb(51,102,153)", "rgb(204,51,0)"]);
    let browser = Process::spawn(browser);
    let says = async |words: &str| {
        browser.wait_line(words, |line| (line == words).then_some(())).await;
    };
    says("shows rgb(51,102,153)").await;
    // While somebody looks at it.
    paint(&display, "#cc3300").await;
    says("shows rgb(204,51,0)").await;
    says("all as expected").await;
    natpulse.closed_sessions(1).await;
    natpulse.stop().await;
}
