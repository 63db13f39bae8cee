//! RFC 6455, rule by rule.

use natpulse::wire::websocket::{CloseFrame, Role, close_frame, control_frame};
use natpulse::wire::{Kind, WireError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Control as ControlOp;

use super::end::{End, Message, frame};
use super::pipe::{Heard, Pipe};

const CLIENT: End = End::WebSocket { is_client: true };
const SERVER: End = End::WebSocket { is_client: false };

/// A key that changes nothing, so that payloads can be read where they are written.
const MASK: [u8; 4] = [0; 4];

/// Everything that a peer's stream comes to.
fn hear(peer: &End, stream: &[u8]) -> (Result<(), WireError>, Vec<Message>, Vec<Heard>) {
    let mut pipe = Pipe::new(peer.decoder(1 << 20), CLIENT.encoder(Kind::Binary));
    let result = pipe.feed_in(stream, &[1]);
    (result, CLIENT.read(&pipe.sent).messages, pipe.heard)
}

/// A client's frame: first byte, length bytes, payload.
fn client(first: u8, lengths: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[first, lengths[0] | 0x80], &lengths[1..], &MASK, payload].concat()
}

#[test]
fn what_a_client_must_not_send_is_refused_by_name() {
    let ten = [b'x'; 10];
    let long = [b'x'; 126];
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("5.1", [&[0x82, 10], &ten[..]].concat(), "a client frame that is not masked"),
        ("5.2 RSV1", client(0xc2, &[10], &ten), "a reserved bit is set, and no extension was negotiated"),
        ("5.2 RSV2", client(0xa2, &[10], &ten), "a reserved bit is set, and no extension was negotiated"),
        ("5.2 RSV3", client(0x92, &[10], &ten), "a reserved bit is set, and no extension was negotiated"),
        ("5.2 RSV1", client(0xc9, &[0], &[]), "a reserved bit is set, and no extension was negotiated"),
        ("5.2 opcode 3", client(0x83, &[10], &ten), "a reserved opcode"),
        ("5.2 opcode 7", client(0x87, &[0], &[]), "a reserved opcode"),
        ("5.2 opcode b", client(0x8b, &[0], &[]), "a reserved opcode"),
        ("5.2 opcode f", client(0x8f, &[10], &ten), "a reserved opcode"),
        (
            "5.2 minimal",
            client(0x82, &[126, 0, 10], &ten),
            "a payload length written in more bytes than it needs",
        ),
        (
            "5.2 minimal",
            client(0x82, &[126, 0, 125], &long),
            "a payload length written in more bytes than it needs",
        ),
        (
            "5.2 minimal",
            client(0x82, &[127, 0, 0, 0, 0, 0, 0, 0, 126], &long),
            "a payload length written in more bytes than it needs",
        ),
        (
            "5.2 minimal",
            client(0x82, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &long),
            "a payload length written in more bytes than it needs",
        ),
        (
            "5.2 top bit",
            client(0x82, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], &[]),
            "a payload length with its top bit set",
        ),
        ("5.4", client(0x80, &[10], &ten), "a continuation of no message"),
        ("5.4", client(0x00, &[10], &ten), "a continuation of no message"),
        (
            "5.4",
            [client(0x82, &[1], b"x"), client(0x80, &[1], b"x")].concat(),
            "a continuation of no message",
        ),
        ("5.4", [client(0x02, &[1], b"x"), client(0x82, &[1], b"x")].concat(), "a message inside another"),
        ("5.4", [client(0x01, &[0], b""), client(0x01, &[1], b"x")].concat(), "a message inside another"),
        ("5.5", client(0x09, &[0], &[]), "a fragmented control frame"),
        ("5.5", client(0x08, &[2], &[3, 232]), "a fragmented control frame"),
        ("5.5", client(0x89, &[126, 0, 126], &long), "a control frame of more than 125 bytes"),
        ("5.5", client(0x88, &[126, 0, 126], &long), "a control frame of more than 125 bytes"),
        ("8.1", client(0x81, &[2], b"\xc3\x28"), "text that is not UTF-8"),
        ("8.1 cut short", client(0x81, &[1], b"\xc3"), "text that is not UTF-8"),
        ("8.1 overlong", client(0x81, &[2], b"\xc0\xaf"), "text that is not UTF-8"),
        ("8.1 overlong", client(0x81, &[3], b"\xe0\x80\xaf"), "text that is not UTF-8"),
        ("8.1 overlong", client(0x81, &[4], b"\xf0\x80\x80\xaf"), "text that is not UTF-8"),
        ("8.1 surrogate", client(0x81, &[3], b"\xed\xa0\x80"), "text that is not UTF-8"),
        ("8.1 surrogates", client(0x81, &[6], b"\xed\xa0\xbd\xed\xb8\x80"), "text that is not UTF-8"),
        ("8.1 past the end", client(0x81, &[4], b"\xf4\x90\x80\x80"), "text that is not UTF-8"),
        ("8.1 five bytes", client(0x81, &[5], b"\xf8\x88\x80\x80\x80"), "text that is not UTF-8"),
        (
            "8.1 in fragments",
            [client(0x01, &[1], b"\xe2"), client(0x00, &[1], b"\x82"), client(0x80, &[1], b"x")].concat(),
            "text that is not UTF-8",
        ),
        (
            "8.1 cut short in fragments",
            [client(0x01, &[2], b"\xe2\x82"), client(0x80, &[0], b"")].concat(),
            "text that is not UTF-8",
        ),
    ];
    for (section, stream, wrong) in cases {
        // What came before is not lost, and what comes after is not heard.
        let stream = [client(0x82, &[5], b"first"), stream.clone(), client(0x82, &[4], b"last")].concat();
        let (result, messages, _) = hear(&CLIENT, &stream);
        assert_eq!(result.unwrap_err().to_string(), *wrong, "section {section}");
        assert_eq!(messages[0].payload, b"first", "section {section}");
        assert!(messages.iter().all(|message| message.payload != b"last"), "section {section}");
    }
}

#[test]
fn a_server_must_not_mask() {
    let mut masked = Vec::new();
    frame(0x82, true, b"x", &mut masked);
    let (result, ..) = hear(&SERVER, &masked);
    assert_eq!(result, Err(WireError::Protocol("a server frame that is masked")));
}

#[test]
fn what_a_client_may_send_is_heard() {
    let binary = |payload: &[u8]| Message { kind: Kind::Binary, payload: payload.to_vec() };
    let text = |payload: &str| Message { kind: Kind::Text, payload: payload.into() };
    let (xs, ys, zs) = ([b'x'; 125], [b'y'; 126], [b'z'; 0x10000]);
    let cases: &[(&str, Vec<u8>, Vec<Message>)] = &[
        ("5.2 shortest", client(0x82, &[125], &xs), vec![binary(&xs)]),
        ("5.2 16 bits", client(0x82, &[126, 0, 126], &ys), vec![binary(&ys)]),
        ("5.2 64 bits", client(0x82, &[127, 0, 0, 0, 0, 0, 1, 0, 0], &zs), vec![binary(&zs)]),
        (
            "5.6 empty",
            [client(0x81, &[0], b""), client(0x82, &[0], b"")].concat(),
            vec![text(""), binary(b"")],
        ),
        (
            "5.4 fragments of nothing",
            [client(0x01, &[0], b""), client(0x00, &[0], b""), client(0x80, &[0], b"")].concat(),
            vec![text("")],
        ),
        (
            "5.4 fragments",
            [client(0x01, &[3], b"Hel"), client(0x00, &[0], b""), client(0x80, &[2], b"lo")].concat(),
            vec![text("Hello")],
        ),
        (
            "8.1 a character in three frames",
            [client(0x01, &[2], b"\xf0\x9f"), client(0x00, &[1], b"\xa6"), client(0x80, &[1], b"\x80")]
                .concat(),
            vec![text("🦀")],
        ),
        ("8.1 the last character", client(0x81, &[4], b"\xf4\x8f\xbf\xbf"), vec![text("\u{10ffff}")]),
        ("8.1 no character, but UTF-8", client(0x81, &[3], b"\xef\xbf\xbf"), vec![text("\u{ffff}")]),
        ("8.1 is for text only", client(0x82, &[2], b"\xc3\x28"), vec![binary(b"\xc3\x28")]),
    ];
    for (section, stream, expected) in cases {
        let (result, messages, _) = hear(&CLIENT, stream);
        assert_eq!(result, Ok(()), "section {section}");
        assert_eq!(messages, *expected, "section {section}");
    }
}

/// Section 5.7, as printed.
#[test]
fn the_examples_of_the_rfc_are_heard() {
    let hello = |kind| vec![Message { kind, payload: b"Hello".to_vec() }];
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(hear(&SERVER, &unmasked), (Ok(()), hello(Kind::Text), vec![]));
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(hear(&CLIENT, &masked), (Ok(()), hello(Kind::Text), vec![]));
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(hear(&SERVER, &fragmented), (Ok(()), hello(Kind::Text), vec![]));
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(hear(&SERVER, &ping), (Ok(()), vec![], vec![Heard::Ping(b"Hello".to_vec())]));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(hear(&CLIENT, &pong), (Ok(()), vec![], vec![Heard::Pong(b"Hello".to_vec())]));
    let long = [&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat();
    assert_eq!(hear(&SERVER, &long).1[0].payload, [7; 256]);
}

/// Section 5.4: control frames may stand between the fragments of a message, and change nothing about it.
#[test]
fn control_frames_between_fragments_are_heard_at_once() {
    let stream = [
        client(0x89, &[2], b"p0"),
        client(0x01, &[3], b"Hel"),
        client(0x89, &[2], b"p1"),
        client(0x00, &[1], b"l"),
        client(0x8a, &[0], b""),
        client(0x80, &[1], b"o"),
        client(0x88, &[2], &[3, 232]),
    ]
    .concat();
    let (result, messages, heard) = hear(&CLIENT, &stream);
    assert_eq!(result, Ok(()));
    assert_eq!(messages, [Message { kind: Kind::Text, payload: b"Hello".to_vec() }]);
    let ping = |payload: &[u8]| Heard::Ping(payload.to_vec());
    assert_eq!(heard, [ping(b"p0"), ping(b"p1"), Heard::Pong(vec![]), Heard::Close(vec![3, 232])]);
}

/// Sections 5.5.1, 7.4.1 and 7.4.2.
#[test]
fn close_payloads_are_read_by_the_book() {
    assert_eq!(CloseFrame::parse(b""), Ok(CloseFrame { code: None, reason: String::new() }));
    let one_byte = WireError::Protocol("a close frame with a payload of one byte");
    assert_eq!(CloseFrame::parse(&[3]), Err(one_byte));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999u16]
    {
        let payload = [&code.to_be_bytes(), "später".as_bytes()].concat();
        let close = CloseFrame { code: Some(code), reason: "später".into() };
        assert_eq!(CloseFrame::parse(&payload), Ok(close), "{code}");
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535u16] {
        let refused = CloseFrame::parse(&code.to_be_bytes());
        assert_eq!(refused, Err(WireError::Protocol("a close code that must not be sent")), "{code}");
    }
    assert_eq!(CloseFrame::parse(b"\x03\xe8\xc3\x28"), Err(WireError::InvalidUtf8));
}

#[test]
fn close_reasons_are_cut_where_a_character_ends() {
    let close = CloseFrame { code: Some(1000), reason: "é".repeat(100) };
    let mut out = Vec::new();
    close_frame(Role::Server, &close, &mut out);
    // 123 bytes would end inside the 62nd é.
    assert_eq!(out[..4], [0x88, 124, 3, 232]);
    assert_eq!(CloseFrame::parse(&out[2..]), Ok(CloseFrame { code: Some(1000), reason: "é".repeat(61) }));
    let mut out = Vec::new();
    close_frame(Role::Server, &CloseFrame::default(), &mut out);
    assert_eq!(out, [0x88, 0]);
}

#[test]
fn control_frames_are_written_as_they_are_read() {
    for payload in [&b""[..], b"x", &[b'p'; 125]] {
        for (role, peer) in [(Role::Server, &SERVER), (Role::Client { mask_key: || [1, 2, 3, 4] }, &CLIENT)] {
            let mut stream = Vec::new();
            control_frame(role, ControlOp::Ping, payload, &mut stream);
            control_frame(role, ControlOp::Pong, payload, &mut stream);
            let (result, _, heard) = hear(peer, &stream);
            assert_eq!(result, Ok(()));
            assert_eq!(heard, [Heard::Ping(payload.to_vec()), Heard::Pong(payload.to_vec())]);
        }
    }
}

/// What the peer calls its messages is known even where the other end has no word for it.
#[test]
fn the_kind_of_the_latest_message_is_remembered() {
    let mut pipe = Pipe::new(CLIENT.decoder(100), End::from_word("u8").encoder(Kind::Binary));
    assert_eq!(pipe.decoder.last_kind(), None);
    pipe.feed(&client(0x81, &[1], b"x")).unwrap();
    assert_eq!(pipe.decoder.last_kind(), Some(Kind::Text));
    pipe.feed(&client(0x02, &[1], b"x")).unwrap();
    pipe.feed(&client(0x89, &[1], b"x")).unwrap();
    assert_eq!(pipe.decoder.last_kind(), Some(Kind::Binary));
}

/// Records become the other kind from the next one on, never in the middle of one.
#[test]
fn a_new_default_kind_does_not_change_a_message_under_way() {
    let record = End::from_word("u32be");
    let mut pipe = Pipe::new(record.decoder(1 << 20), SERVER.encoder(Kind::Binary));
    pipe.feed(&[0, 0, 0x80, 0]).unwrap();
    pipe.feed(&[b'x'; 0x4000]).unwrap();
    pipe.encoder.set_default_kind(Kind::Text);
    pipe.feed(&[0xff; 0x4000]).unwrap();
    pipe.feed(b"\0\0\0\x02hi").unwrap();
    let kinds: Vec<_> = SERVER.read(&pipe.sent).messages.into_iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [Kind::Binary, Kind::Text]);
    let error = pipe.feed(b"\0\0\0\x02\xff\xff").unwrap_err();
    assert_eq!(error, WireError::InvalidUtf8);
}
