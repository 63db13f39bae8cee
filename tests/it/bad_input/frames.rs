//! WebSocket peers that break RFC 6455.

use tokio::io::AsyncWriteExt;

use super::{Scene, bridge, framed, quoted, rest, told, ws_to_tcp};
use crate::ends::{Backend, Framing};
use crate::process::within;
use crate::raw::{BINARY, CLOSE, CONTINUATION, FIN, MASK, PING, RawWs, TEXT};
use crate::raw::{frame, frame_header, server_frame};
use crate::tools::TempDir;

const LIMIT: u64 = 1 << 20;

/// What is wrong, the bytes, the close code and the reason in the log.
type Case = (&'static str, Vec<u8>, u16, &'static str);

fn close(payload: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, payload)
}

/// A header whose length takes more bytes than it needs.
fn wasteful(marker: u8, length: &[u8]) -> Vec<u8> {
    [&[FIN | BINARY, 0x80 | marker], length, &MASK, &[0; 255]].concat()
}

fn cases() -> Vec<Case> {
    let broke = |what, bytes| (what, bytes, 1002, "client_broke_protocol");
    let invalid = |what, bytes| (what, bytes, 1007, "client_invalid_text");
    let mut cases = vec![
        broke("an unmasked frame", server_frame(FIN | TEXT, b"hi")),
        broke("a ping of 126 bytes", frame(FIN | PING, &[0; 126])),
        broke("a fragmented ping", frame(PING, b"x")),
        broke("a continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        broke("a message inside another", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat()),
        broke("a length in 2 bytes that fits the header", wasteful(126, &[0, 125])),
        broke("a length in 8 bytes that fits 2", wasteful(127, &[0, 0, 0, 0, 0, 0, 0, 255])),
        broke("a length of 64 bits", frame_header(FIN | BINARY, 1 << 63)),
        broke("a close frame with half a code", close(&[3])),
        invalid("text that is not UTF-8", frame(FIN | TEXT, b"\xff\xfe")),
        invalid("text that ends inside a character", frame(FIN | TEXT, b"\xe2\x82")),
        invalid("text with half a surrogate pair", frame(FIN | TEXT, b"\xed\xa0\x80")),
        invalid("an overlong character", frame(FIN | TEXT, b"\xc0\x80")),
        invalid("a later fragment that is not UTF-8", {
            [frame(TEXT, b"ok"), frame(CONTINUATION, b"\xff")].concat()
        }),
        invalid("a close reason that is not UTF-8", close(b"\x03\xe8\xff")),
        ("a message over the limit", frame_header(FIN | BINARY, LIMIT + 1), 1009, "client_too_long"),
        (
            "fragments over the limit",
            [frame(BINARY, b"x"), frame_header(CONTINUATION, LIMIT)].concat(),
            1009,
            "client_too_long",
        ),
    ];
    for bit in [0x40, 0x20, 0x10] {
        cases.push(broke("a reserved bit", frame(FIN | bit | BINARY, b"x")));
    }
    for opcode in [0x3, 0x7, 0xb, 0xf] {
        cases.push(broke("a reserved opcode", frame(FIN | opcode, b"x")));
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        cases.push(broke("a close code that must not be sent", close(&code.to_be_bytes())));
    }
    cases
}

fn limited(bridge: String) -> String {
    format!("{bridge}max_message = {LIMIT}\n")
}

#[tokio::test]
async fn a_client_that_breaks_a_rule_is_told_which_kind_and_nothing_but_what_came_before_crosses() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = limited(bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be)));
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    for (what, bytes, code, reason) in cases() {
        let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
        // A good message right in front of the bad one still arrives.
        let bytes = [frame(FIN | BINARY, b"good"), bytes].concat();
        client.io.write_all(&bytes).await.unwrap();
        assert_eq!(told(&mut client).await, code, "{what}: {bytes:02x?}");
        assert_eq!(rest(&mut backend).await, (b"\0\0\0\x04good".to_vec(), false), "{what}");
        drop((client, backend));
        scene.offended(what, reason).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_message_that_holds_the_other_ends_end_marker_is_refused() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let line = format!("{{ url = \"{url}\", framing = \"line\" }}");
    let config = bridge("calm", &quoted("ws://127.0.0.1:0/calm"), &framed(&url, Framing::U32be))
        + &bridge("line", &quoted("ws://127.0.0.1:0/line"), &line);
    let mut scene = Scene::new(&config, "calm", Framing::Raw, &server).await;
    let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("line"), "/line", &server).await;
    client.send(FIN | TEXT, b"one line").await.unwrap();
    client.send(FIN | TEXT, b"two\nlines").await.unwrap();
    assert_eq!(told(&mut client).await, 1003);
    assert_eq!(rest(&mut backend).await, (b"one line\n".to_vec(), false));
    drop((client, backend));
    scene.offended("a newline in a line", "client_unframeable").await;
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_vanishes_inside_a_long_message_leaves_a_reset_at_the_backend() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("ws", &quoted("ws://127.0.0.1:0/"), &framed(&url, Framing::U32be));
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    for (what, abort) in [("client_vanished", false), ("client_reset", true)] {
        let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("ws"), "/", &server).await;
        client.io.write_all(&frame_header(FIN | BINARY, 70_000)).await.unwrap();
        client.io.write_all(&[0; 40_000]).await.unwrap();
        // The record has begun to cross: a plain end would make it look whole to some.
        let begun = within("the record's beginning", tokio::io::AsyncReadExt::read_u32(&mut backend)).await;
        assert_eq!(begun.unwrap(), 70_000);
        if abort {
            client.abort();
        } else {
            drop(client);
        }
        let (partial, was_reset) = rest(&mut backend).await;
        assert!(was_reset, "{what}: {} bytes and an end", partial.len());
        drop(backend);
        scene.offended(what, what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_backend_that_breaks_a_rule_is_told_so_and_the_client_learns_it_was_not_its_fault() {
    let (server, url) = Backend::bind("ws", TempDir::new().path(), Framing::Raw).await;
    let config = limited(bridge("ws", &quoted("ws://127.0.0.1:0/"), &quoted(&url)));
    let mut scene = Scene::new(&config, "ws", Framing::Raw, &server).await;
    let broke = "backend_broke_protocol";
    // What is wrong, the bytes, what the client and what the backend is told, and the log.
    let cases = [
        ("a masked frame", frame(FIN | BINARY, b"hi"), 1011, 1002, broke),
        ("a reserved bit", server_frame(FIN | 0x40 | BINARY, b"hi"), 1011, 1002, broke),
        ("a reserved opcode", server_frame(FIN | 0x3, b"hi"), 1011, 1002, broke),
        ("a ping of 126 bytes", server_frame(FIN | PING, &[0; 126]), 1011, 1002, broke),
        ("bad text", server_frame(FIN | TEXT, b"\xff"), 1011, 1007, "backend_invalid_text"),
        ("a long message", server_frame(FIN | BINARY, &vec![0; LIMIT as usize + 1]), 1009, 1009, {
            "backend_too_long"
        }),
    ];
    for (what, bytes, to_client, to_backend, reason) in cases {
        let addr = scene.natpulse.addr("ws");
        let both = async {
            let accept = async { RawWs::accept(server.tcp().accept().await.unwrap().0).await };
            tokio::join!(RawWs::open(addr, "/"), accept)
        };
        let (client, backend) = within("a session to break", both).await;
        let (mut client, mut backend) = (client.unwrap(), backend.unwrap());
        // What is still being written when the connection ends may not all be taken.
        let (_, code) = tokio::join!(backend.io.write_all(&bytes), told(&mut client));
        assert_eq!(code, to_client, "{what}");
        let close = within("the backend's close", backend.frame()).await.unwrap();
        assert_eq!(close.close_code(), to_backend, "{what}");
        drop((client, backend));
        scene.offended(what, reason).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_record_that_is_no_text_ends_a_session_that_promises_text() {
    let (server, url) = Backend::bind("tcp", TempDir::new().path(), Framing::U32be).await;
    let config = bridge("calm", &quoted("ws://127.0.0.1:0/calm"), &framed(&url, Framing::U32be))
        + &bridge("text", &quoted("ws://127.0.0.1:0/text"), &framed(&url, Framing::U32be))
        + "message = \"text\"\n";
    let mut scene = Scene::new(&config, "calm", Framing::Raw, &server).await;
    let (mut client, mut backend) = ws_to_tcp(scene.natpulse.addr("text"), "/text", &server).await;
    backend.write_all(b"\0\0\0\x02ok\0\0\0\x01\xff").await.unwrap();
    let good = within("the good record", client.message()).await.unwrap();
    assert_eq!(good, (TEXT, b"ok".to_vec()));
    assert_eq!(told(&mut client).await, 1011);
    drop((client, backend));
    scene.offended("a record that is no text", "backend_invalid_text").await;
    scene.end().await;
}
