//! Certificates that are replaced while natpulse serves.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Authority, Named, connector, secured};
use crate::harness::Natpulse;
use crate::process::{eventually, within};

const REPLACEMENTS: usize = 100;
/// Sessions that last as long as the test, and clients that come and go.
const LASTING: usize = 16;
const COMING: usize = 4;

async fn start(named: &Named) -> Natpulse {
    Natpulse::start(&format!(
        "[[bridge]]\nname = \"echo\"\nbackend = \"echo:\"\n\
         listen = {{ url = \"wss://127.0.0.1:0/echo\", tls = {{ {} }} }}\n",
        named.files()
    ))
    .await
}

/// Puts another certificate in the place of the one that is served.
fn replace(served: &Named, new: &Named) {
    fs::copy(&new.cert, &served.cert).unwrap();
    fs::copy(&new.key, &served.key).unwrap();
}

/// Whether natpulse shows this certificate to whoever comes now.
async fn shows(natpulse: &Natpulse, authority: &Authority, named: &Named) -> bool {
    let stream = secured(natpulse, "echo", &connector(authority, None)).await;
    stream.get_ref().1.peer_certificates().unwrap()[0] == named.chain()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_replacements_cost_no_session_and_no_handshake() {
    let authority = Arc::new(Authority::new());
    let served = authority.names("served", &["localhost"]);
    let others = [authority.names("one", &["localhost"]), authority.names("two", &["localhost"])];
    let natpulse = Arc::new(start(&served).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let (echoes, opened) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for number in 0..LASTING + COMING {
        let (authority, natpulse, is_over) = (authority.clone(), natpulse.clone(), is_over.clone());
        let (echoes, opened) = (echoes.clone(), opened.clone());
        clients.push(tokio::spawn(async move {
            let connector = connector(&authority, None);
            // Each session of those that come and go has one echo, the others have as many as there is time for.
            while !is_over.load(Ordering::Relaxed) {
                let stream = secured(&natpulse, "echo", &connector).await;
                let request = natpulse.url("echo").into_client_request().unwrap();
                let (mut ws, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
                loop {
                    ws.send(Message::text("still there?")).await.unwrap();
                    let heard = within("an echo", ws.next()).await.expect("no end").unwrap();
                    assert_eq!(heard, Message::text("still there?"));
                    echoes.fetch_add(1, Ordering::Relaxed);
                    if number >= LASTING || is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                ws.close(None).await.unwrap();
                while within("the close", ws.next()).await.is_some_and(|heard| heard.is_ok()) {}
            }
        }));
    }
    eventually("all lasting sessions to have opened", || opened.load(Ordering::Relaxed) > LASTING).await;
    for number in 0..REPLACEMENTS {
        let new = &others[number % 2];
        replace(&served, new);
        natpulse.hang_up();
        let told = "the config was read again";
        eventually("the config to be read", || natpulse.logged(told).len() > number).await;
        assert!(shows(&natpulse, &authority, new).await, "after {number} replacements");
    }
    let (lasting, coming) = (LASTING, opened.load(Ordering::Relaxed) - LASTING);
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        within("a client to end", client).await.unwrap();
    }
    let sessions = opened.load(Ordering::Relaxed);
    let closed = natpulse.closed_sessions(sessions).await;
    assert!(closed.iter().all(|event| event["reason"] == "client_closed"), "{closed:?}");
    let metrics = natpulse.metrics().await;
    assert!(
        !metrics.keys().any(|series| series.contains("tls_failed")) || {
            metrics["natpulse_handshakes_total{bridge=\"echo\",result=\"tls_failed\"}"] == 0.0
        }
    );
    assert!(coming > REPLACEMENTS / 10, "only {coming} sessions came while certificates were replaced");
    println!("{lasting} sessions lasted, {coming} came and went, {} echoes", echoes.load(Ordering::Relaxed));
    Arc::into_inner(natpulse).unwrap().stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_what_can_is_found_without_being_told() {
    let authority = Authority::new();
    let served = authority.names("served", &["localhost"]);
    let (first, second) =
        (authority.names("first", &["localhost"]), authority.names("second", &["localhost"]));
    let natpulse = start(&served).await;
    let gauge = "natpulse_config_last_reload_successful";
    replace(&served, &first);
    fs::write(&served.key, "no key").unwrap();
    natpulse.hang_up();
    let warned = natpulse.event("cannot use the new files; going on with the old ones", |_| true).await;
    assert!(warned["error"].as_str().unwrap().contains("key must be"), "{warned}");
    within("it to be counted", async { while natpulse.metrics().await[gauge] != 0.0 {} }).await;
    // The old one is still shown.
    assert!(!shows(&natpulse, &authority, &first).await);

    replace(&served, &second);
    natpulse.event("files read again", |_| true).await;
    assert!(shows(&natpulse, &authority, &second).await);
    within("it to be counted", async { while natpulse.metrics().await[gauge] != 1.0 {} }).await;
    natpulse.stop().await;
}
