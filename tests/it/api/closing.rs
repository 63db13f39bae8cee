//! Closing a session from outside.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ask, error, get, once};
use crate::harness::{Natpulse, Page};
use crate::process::within;
use crate::raw::{CLOSE, FIN, Frame, RawWs, server_frame};
use crate::tools::TempDir;

const TOKEN: &str = "correct horse battery staple";

/// natpulse with these bridges and a token.
async fn start(bridges: &str) -> (Natpulse, TempDir) {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let config = format!("{bridges}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = {file:?}\n");
    (Natpulse::launch(&config, |_| {}).await, dir)
}

/// natpulse beside a device's client, which has a session with a WebSocket service.
async fn device(server: &TcpListener) -> (Natpulse, TempDir, TcpStream, RawWs) {
    let (natpulse, dir) = start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{}/\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let accept = async { RawWs::accept(server.accept().await.unwrap().0).await.unwrap() };
    let both = async { tokio::join!(TcpStream::connect(natpulse.addr("b")), accept) };
    let (client, backend) = within("a session", both).await;
    (natpulse, dir, client.unwrap(), backend)
}

async fn delete(natpulse: &Natpulse, id: u64) -> Page {
    let lines = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    ask(natpulse, "DELETE", &format!("/api/sessions/{id}"), &lines).await
}

/// Closes the only session, whose ends then say their goodbyes.
async fn dismissed(natpulse: &Natpulse) {
    // Its ends know of each other a moment before it is listed.
    once(natpulse, "/api/sessions", |list| list["total"] == 1).await;
    let page = delete(natpulse, 1).await;
    assert_eq!((page.status, page.body.as_str()), (204, ""));
}

/// Waits for the only session's end, which is why it was told to.
async fn ended(natpulse: Natpulse) {
    assert_eq!(natpulse.closed_sessions(1).await[0]["reason"], "dismissed");
    let metrics = natpulse.metrics().await;
    assert_eq!(metrics[r#"natpulse_sessions_closed_total{bridge="b",reason="dismissed"}"#], 1.0);
    assert_eq!(get(&natpulse, "/api/sessions").await["total"], 0);
    let page = delete(&natpulse, 1).await;
    assert_eq!((page.status, error(&page)), (404, "1: no such session is open".to_owned()));
    natpulse.stop().await;
}

fn assert_dismissed(close: &Frame) {
    assert_eq!(close.close_code(), 1001);
    assert_eq!(&close.payload[2..], b"closed by the operator");
}

#[tokio::test]
async fn a_websocket_client_is_told_and_its_backend_left() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (natpulse, _dir) = start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\n\
         backend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n",
        server.local_addr().unwrap()
    ))
    .await;
    let fds = natpulse.fds();
    let both = async { tokio::join!(RawWs::open(natpulse.addr("b"), "/"), server.accept()) };
    let (client, backend) = within("a session", both).await;
    let (mut client, (mut backend, _)) = (client.unwrap(), backend.unwrap());
    dismissed(&natpulse).await;
    let close = within("the goodbye", client.frame()).await.unwrap();
    assert_dismissed(&close);
    assert_eq!(within("the backend's end", backend.read(&mut [0; 1])).await.unwrap(), 0);
    drop(backend);
    client.send(FIN | CLOSE, &close.payload).await.unwrap();
    assert_eq!(within("the client's end", client.io.read(&mut [0; 1])).await.unwrap(), 0);
    natpulse.settles_to(fds).await;
    ended(natpulse).await;
}

#[tokio::test]
async fn ends_that_do_not_answer_are_left_all_the_same() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (natpulse, _dir, mut client, mut backend) = device(&server).await;
    dismissed(&natpulse).await;
    assert_dismissed(&within("the goodbye", backend.frame()).await.unwrap());
    assert_eq!(within("the client's end", client.read(&mut [0; 1])).await.unwrap(), 0);
    // Neither says goodbye, and more of the same changes nothing.
    let still_there = async { while delete(&natpulse, 1).await.status == 204 {} };
    within("the end", still_there).await;
    ended(natpulse).await;
}

#[tokio::test]
async fn a_record_that_is_half_written_does_not_look_whole() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (natpulse, _dir, mut client, mut backend) = device(&server).await;
    // The beginning of a message that is too long to be waited for.
    let mut beginning = server_frame(FIN | crate::raw::BINARY, &[7; 20_000]);
    beginning.truncate(18_000);
    backend.io.write_all(&beginning).await.unwrap();
    within("its beginning", client.read_exact(&mut [0; 4])).await.unwrap();
    dismissed(&natpulse).await;
    let mut rest = Vec::new();
    assert!(within("the cut", client.read_to_end(&mut rest)).await.is_err());
    drop(backend);
    ended(natpulse).await;
}

#[tokio::test]
async fn a_session_whose_backend_is_being_dialled_anew_is_closed_too() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (natpulse, _dir, mut client, backend) = device(&server).await;
    drop((backend, server));
    natpulse.event("cannot dial the backend", |_| true).await;
    dismissed(&natpulse).await;
    assert_eq!(within("the client's end", client.read(&mut [0; 1])).await.unwrap(), 0);
    drop(client);
    ended(natpulse).await;
}
