//! The status page in a real browser, in front of real sessions.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use natpulse::heartbeat::{Departure, NetworkKey, Networks, Settings};
use natpulse::networks::now;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::{Natpulse, http_get, ws_connect};
use crate::process::{Process, within};
use crate::raw::RawWs;
use crate::tools::{TempDir, browser, free_addr, test_tool};

/// What an earlier run has learned, as natpulse keeps it: of one network a silence that was survived and one that was
/// not, of 14 others a silence that was survived.
fn earlier() -> String {
    let mut networks = Networks::new(Settings::default(), 100);
    let mut learn = |address: [u8; 4], survived, departure| {
        let key = NetworkKey::of(address.into(), 24, 48);
        let (seat, _) = networks.join(key, address.into(), now());
        networks.survived(seat, Duration::from_secs(survived), now());
        let _ = networks.leave(seat, departure, now());
    };
    learn([203, 0, 113, 1], 57, Departure::Lost { silence: Duration::from_secs(62) });
    for number in 0..14 {
        learn([10, 0, number, 1], 20 << (number / 2), Departure::Goodbye);
    }
    networks.export()
}

fn config(admin: SocketAddr, directory: &Path) -> String {
    format!(
        "[admin]\nlisten = \"{admin}\"\n[networks]\ndirectory = {directory:?}\n\
         [heartbeat]\nmin = \"1s\"\nreply_timeout = \"900ms\"\nmargin_min = \"10ms\"\n\
         [[bridge]]\nname = \"echo\"\nlisten = \"ws://127.0.0.1:0/echo\"\nbackend = \"echo:\"\n\
         [[bridge]]\nname = \"im\"\nlisten = \"ws://127.0.0.1:0/im\"\nbackend = \"echo:\"\n"
    )
}

/// Clients that answer pings, and how each of them was told to go.
#[derive(Default)]
struct Clients(HashMap<String, JoinHandle<Option<CloseFrame>>>);

impl Clients {
    /// One more, which has sent so many messages and has them back.
    async fn open(&mut self, natpulse: &Natpulse, bridge: &str, messages: usize) {
        let (mut socket, _) = ws_connect(&natpulse.url(bridge), None).await;
        for _ in 0..messages {
            socket.send(Message::text("hello")).await.unwrap();
            assert_eq!(within("the echo", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
        }
        let address = socket.get_ref().local_addr().unwrap().to_string();
        let told = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(frame) = message {
                    return frame;
                }
            }
            None
        });
        self.0.insert(address, told);
    }

    /// The client whose session the page says it has closed was told so.
    async fn closed(&mut self, browser: &Process) {
        let client = browser
            .wait_line("whose session it closed", |line| {
                let client = line.strip_prefix("closed the session of ")?;
                self.0.contains_key(client).then(|| client.to_owned())
            })
            .await;
        let told = self.0.remove(&client).unwrap();
        let frame = within("the client to be told", told).await.unwrap().unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "closed by the operator"));
    }
}

fn browse(profile: &TempDir, admin: SocketAddr, token: Option<&str>) -> Process {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/status-page");
    fs::create_dir_all(&pictures).unwrap();
    let mut browser = browser("page.mjs", profile.path());
    browser
        .arg(test_tool("node/node_modules/axe-core/axe.min.js"))
        .arg(format!("http://{admin}/"))
        .arg(pictures)
        .args(token);
    Process::spawn(browser)
}

async fn says(browser: &Process, what: &str) {
    browser.wait_line(what, |line| line.starts_with(what).then_some(())).await;
}

#[tokio::test]
async fn the_page_shows_what_lives_closes_a_session_and_survives_a_restart() {
    let dir = TempDir::new();
    fs::write(dir.path().join("echo.clients"), earlier()).unwrap();
    // The same port for both runs.
    let config = config(free_addr(), dir.path());
    let natpulse = Natpulse::launch(&config, |_| {}).await;
    // One that answers no beat, and is found dead.
    let mute = RawWs::open(natpulse.addr("echo"), "/echo").await.unwrap();
    let mut clients = Clients::default();
    for bridge in ["echo", "echo", "echo", "im", "im"] {
        clients.open(&natpulse, bridge, 1).await;
    }
    let profile = TempDir::new();
    let mut browser = browse(&profile, natpulse.admin(), None);

    says(&browser, "shown").await;
    for bridge in ["echo", "echo", "im"] {
        clients.open(&natpulse, bridge, 3).await;
    }
    clients.closed(&browser).await;
    for view in ["light at 1280", "light at 390", "dark at 1280", "dark at 390"] {
        says(&browser, &format!("looked at {view}")).await;
    }
    let reasons: Vec<_> =
        natpulse.closed_sessions(2).await.into_iter().map(|session| session["reason"].clone()).collect();
    assert_eq!(reasons, ["client_dead", "dismissed"]);
    drop(mute);

    natpulse.kill().await;
    says(&browser, "lost it").await;
    let natpulse = Natpulse::launch(&config, |_| {}).await;
    for bridge in ["echo", "im"] {
        clients.open(&natpulse, bridge, 0).await;
    }
    clients.closed(&browser).await;
    says(&browser, "all as expected").await;
    assert_eq!(browser.exit().await.code(), Some(0));
    natpulse.stop().await;
}

#[tokio::test]
async fn the_page_works_with_a_token_that_the_browser_asks_for() {
    let dir = TempDir::new();
    let token_file = dir.path().join("token");
    fs::write(&token_file, "a token of some length\n").unwrap();
    let natpulse = Natpulse::launch(
        &format!(
            "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = {token_file:?}\n\
             [[bridge]]\nname = \"echo\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n"
        ),
        |_| {},
    )
    .await;
    let admin = SocketAddr::from(([127, 0, 0, 1], natpulse.admin().port()));
    assert_eq!(http_get(admin, "/").await.status, 401);
    let mut clients = Clients::default();
    clients.open(&natpulse, "echo", 1).await;
    let profile = TempDir::new();
    let mut browser = browse(&profile, admin, Some("a token of some length"));
    clients.closed(&browser).await;
    says(&browser, "all as expected").await;
    assert_eq!(browser.exit().await.code(), Some(0));
    natpulse.stop().await;
}
