//! Faults that natpulse once had, each as the shortest story that shows it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::RawWs;

/// Short, so that a session soon is older than it.
const LINGER: Duration = Duration::from_millis(400);

async fn bridge(listen: &str, backend: &TcpListener) -> Natpulse {
    let backend = backend.local_addr().unwrap();
    Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "b"
        listen = "{listen}"
        backend = "tcp://{backend}"
        linger = "{}ms"
        "#,
        LINGER.as_millis()
    ))
    .await
}

/// The clock of a half-closed session ran from the session's start, so that one older than `linger` was cut.
#[tokio::test]
async fn a_session_older_than_linger_is_still_told_goodbye() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = bridge("ws://127.0.0.1:0/", &listener).await;
    let (client, accepted) = tokio::join!(RawWs::open(natpulse.addr("b"), "/"), listener.accept());
    let mut client = client.unwrap();
    // Growing old is what the test is about; nothing is waited for.
    sleep(2 * LINGER).await;
    drop(accepted);
    let close = within("the close frame", client.frame()).await.unwrap();
    assert_eq!(close.close_code(), 1000);
    natpulse.stop().await;
}

/// The same for a client that has sent its request and waits for the answer.
#[tokio::test]
async fn a_half_closed_session_older_than_linger_still_gets_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = bridge("tcp://127.0.0.1:0", &listener).await;
    let (client, accepted) = tokio::join!(TcpStream::connect(natpulse.addr("b")), listener.accept());
    let (mut client, (mut backend, _)) = (client.unwrap(), accepted.unwrap());
    sleep(2 * LINGER).await;
    client.shutdown().await.unwrap();
    let mut end = [0; 1];
    assert_eq!(within("the client's end of stream", backend.read(&mut end)).await.unwrap(), 0);
    backend.write_all(b"answer").await.unwrap();
    drop(backend);
    let mut answer = Vec::new();
    within("the answer", client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
    natpulse.stop().await;
}

/// Beats of the backend counted as progress, so that a client that was asked to leave and did not answer could stay.
#[tokio::test]
async fn beats_keep_nobody_who_was_asked_to_leave() {
    let natpulse = Natpulse::start(
        r#"
        [[bridge]]
        name = "b"
        listen = { url = "ws://127.0.0.1:0/", heartbeat = "off" }
        backend = { url = "echo:", heartbeat = { policy = "fixed", every = "300ms", reply_timeout = "250ms" } }
        limits = { max_age = "1s" }
        "#,
    )
    .await;
    let mut client = within("a session", RawWs::open(natpulse.addr("b"), "/")).await.unwrap();
    let close = within("the close frame", client.frame()).await.unwrap();
    assert_eq!(close.close_code(), 1012);
    let left = within("the end", client.io.read(&mut [0; 1])).await;
    assert!(!matches!(left, Ok(1..)), "{left:?}");
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "aged");
    natpulse.stop().await;
}
