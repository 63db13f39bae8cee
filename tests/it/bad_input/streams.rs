//! Byte streams that do not keep to their framing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Scene, bridge, framed, quoted, rest, tcp_to_tcp, told, ws_to_tcp};
use crate::ends::{Backend, Framing};
use crate::measure::memory;
use crate::process::within;
use crate::raw::{BINARY, CONTINUATION, FIN};
use crate::tools::TempDir;

/// A record with the word "good" in it, for the framings used here.
fn good(framing: Framing) -> Vec<u8> {
    [&framing.prefix(4)[..], b"good"].concat()
}

/// What is wrong, the framing, the bytes, whether the sender then ends its stream, what a
/// WebSocket at the other end is told, and what the log says after "client_" or "backend_".
type Case = (&'static str, Framing, &'static [u8], bool, u16, &'static str);

const CASES: [Case; 7] = [
    ("a length over the limit", Framing::U32be, &[0xff; 8], false, 1009, "too_long"),
    ("a length one over the limit", Framing::U32be, &[1, 0, 0, 1], false, 1009, "too_long"),
    ("a varint that never ends", Framing::Varint, &[0x80; 16], false, 1011, "broke_protocol"),
    ("a varint of 70 bits", Framing::Varint, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", false, 1011, {
        "broke_protocol"
    }),
    ("a varint over the limit", Framing::Varint, b"\xff\xff\xff\xff\x7f", false, 1009, "too_long"),
    ("an end inside a length", Framing::U32be, &[0, 0], true, 1011, "truncated"),
    ("an end inside a record", Framing::U32be, b"\0\0\0\x64ten bytes.", true, 1011, "truncated"),
];

#[tokio::test]
async fn a_backend_that_breaks_its_framing_is_reset_and_the_client_is_told_why() {
    for framing in [Framing::U32be, Framing::Varint] {
        let (server, url) = Backend::bind("tcp", TempDir::new().path(), framing).await;
        let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, framing));
        let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
        for (what, _, bytes, ends, code, reason) in CASES.into_iter().filter(|case| case.1 == framing) {
            let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
            let before = memory(&scene.natpulse);
            backend.write_all(&[&good(framing), bytes].concat()).await.unwrap();
            if ends {
                backend.shutdown().await.unwrap();
            }
            let message = within("the good record", client.message()).await.unwrap();
            assert_eq!(message, (BINARY, b"good".to_vec()), "{what}");
            assert_eq!(told(&mut client).await, code, "{what}");
            assert_eq!(rest(&mut backend).await, (Vec::new(), true), "{what}");
            // Nothing was set aside for the gigabytes that some of these announce.
            let grown = memory(&scene.natpulse).saturating_sub(before);
            assert!(grown < 512 << 10, "{what}: {grown} bytes more memory");
            drop((client, backend));
            scene.offended(what, &format!("backend_{reason}")).await;
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_its_framing_is_reset_and_the_backend_gets_what_was_whole() {
    for framing in [Framing::U32be, Framing::Varint] {
        let (server, url) = Backend::bind("tcp", TempDir::new().path(), framing).await;
        let config = bridge("tcp", &framed("tcp://127.0.0.1:0", framing), &framed(&url, framing));
        let mut scene = Scene::new(&config, "tcp", framing, &server).await;
        for (what, _, bytes, ends, _, reason) in CASES.into_iter().filter(|case| case.1 == framing) {
            let (mut client, mut backend) = tcp_to_tcp(scene.natpulse.addr("tcp"), &server).await;
            let before = memory(&scene.natpulse);
            client.write_all(&[&good(framing), bytes].concat()).await.unwrap();
            if ends {
                client.shutdown().await.unwrap();
            }
            assert_eq!(rest(&mut client).await, (Vec::new(), true), "{what}");
            assert_eq!(rest(&mut backend).await, (good(framing), false), "{what}");
            let grown = memory(&scene.natpulse).saturating_sub(before);
            assert!(grown < 512 << 10, "{what}: {grown} bytes more memory");
            drop((client, backend));
            scene.offended(what, &format!("client_{reason}")).await;
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn a_long_record_that_is_cut_off_never_looks_whole() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be))
        + &bridge("tcp", &framed("tcp://127.0.0.1:0", Framing::U32be), &framed(&url, Framing::U32be));
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    let half = [&100_000u32.to_be_bytes()[..], &[7; 50_000]].concat();

    // Towards a WebSocket: fragments, none of them the last, and a close.
    let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
    backend.write_all(&half).await.unwrap();
    backend.shutdown().await.unwrap();
    let mut arrived = 0;
    let close = within("the fragments and the close", async {
        loop {
            let frame = client.frame().await.unwrap();
            match frame.first {
                BINARY if arrived == 0 => arrived += frame.payload.len(),
                CONTINUATION if arrived > 0 => arrived += frame.payload.len(),
                _ => return frame,
            }
        }
    })
    .await;
    assert_eq!(close.close_code(), 1011);
    assert!((1..=50_000).contains(&arrived), "{arrived} bytes");
    drop((client, backend));
    scene.offended("to a WebSocket", "backend_truncated").await;

    // Towards TCP: a reset, in either direction.
    for (from_client, reason) in [(true, "client_truncated"), (false, "backend_truncated")] {
        let (client, backend) = tcp_to_tcp(scene.natpulse.addr("tcp"), &server).await;
        let (mut sender, mut receiver) = if from_client { (client, backend) } else { (backend, client) };
        sender.write_all(&half).await.unwrap();
        // Only what has begun to cross can be cut off.
        assert_eq!(within("the record's beginning", receiver.read_u32()).await.unwrap(), 100_000);
        sender.shutdown().await.unwrap();
        let (partial, was_reset) = rest(&mut receiver).await;
        assert!(was_reset, "{reason}: {} bytes and an end", partial.len());
        drop((sender, receiver));
        scene.offended(reason, reason).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_line_without_its_newline_is_cut_off() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let line = format!("{{ url = \"{url}\", framing = \"line\" }}");
    let config = bridge("calm", &quoted("ws://127.0.0.1:0/calm"), &framed(&url, Framing::U32be))
        + &bridge("line", &quoted("ws://127.0.0.1:0/line"), &line);
    let mut scene = Scene::new(&config, "calm", Framing::Raw, &server).await;
    let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("line"), "/line", &server).await;
    backend.write_all(b"whole\nhalf").await.unwrap();
    backend.shutdown().await.unwrap();
    let message = within("the whole line", client.frame()).await.unwrap();
    assert_eq!((message.first, &message.payload[..]), (FIN | BINARY, &b"whole"[..]));
    assert_eq!(told(&mut client).await, 1011);
    drop((client, backend));
    scene.offended("half a line", "backend_truncated").await;
    scene.end().await;
}
