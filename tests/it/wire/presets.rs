//! The named framings against records as their specifications, or the programs that speak them, have them.

use natpulse::wire::{Framing, Kind, WireError};

use super::end::End;
use super::pipe::Pipe;

const WEBSOCKET: End = End::WebSocket { is_client: true };

fn preset(word: &str) -> Framing {
    Framing::from_word(word).unwrap_or_else(|| panic!("{word} is no framing"))
}

/// Records on the wire become these WebSocket messages, and these messages those records.
#[track_caller]
fn assert_records(framing: &Framing, wire: &[u8], messages: &[&[u8]]) {
    for size in [1, 3, wire.len()] {
        let mut pipe = Pipe::new(framing.decoder(1 << 20), WEBSOCKET.encoder(Kind::Binary));
        pipe.feed_in(wire, &[size]).unwrap();
        let payloads: Vec<_> = WEBSOCKET.read(&pipe.sent).messages.into_iter().map(|m| m.payload).collect();
        assert_eq!(payloads, messages, "in chunks of {size}");
        assert!(pipe.may_end());
    }
    let mut frames = Vec::new();
    for message in messages {
        super::end::frame(0x82, true, message, &mut frames);
    }
    for size in [1, 3, frames.len()] {
        let mut pipe = Pipe::new(WEBSOCKET.decoder(1 << 20), framing.encoder());
        pipe.feed_in(&frames, &[size]).unwrap();
        assert_eq!(pipe.sent, wire, "in chunks of {size}");
        assert!(pipe.may_end() && pipe.encoder.is_between_messages());
    }
}

/// MySQL internals manual, "COM_QUIT" and "OK_Packet": the header travels with the packet.
#[test]
fn a_mysql_packet_keeps_its_length_and_sequence_number() {
    let quit = [0x01, 0x00, 0x00, 0x00, 0x01];
    let ok = [0x07, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00];
    let query = b"\x09\x00\x00\x00\x03select 1";
    let wire = [&quit[..], &ok, query].concat();
    assert_records(&preset("mysql"), &wire, &[&quit, &ok, query]);
}

/// A packet of 0xffffff bytes, as a larger payload is split into, ends with an empty one.
#[test]
fn an_empty_mysql_packet_is_a_header_alone() {
    assert_records(&preset("mysql"), &[0, 0, 0, 3], &[&[0, 0, 0, 3]]);
}

/// Read holding registers 108 to 110 of unit 17, with its MBAP header; and the answer.
#[test]
fn a_modbus_request_keeps_its_header() {
    let request = [0x00, 0x01, 0x00, 0x00, 0x00, 0x06, 0x11, 0x03, 0x00, 0x6b, 0x00, 0x03];
    let answer = [0, 1, 0, 0, 0, 9, 0x11, 0x03, 0x06, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40];
    let wire = [&request[..], &answer].concat();
    assert_records(&preset("modbus"), &wire, &[&request, &answer]);
}

/// SMPP v3.4 section 4.11: a command_length of 16, which counts itself.
#[test]
fn an_smpp_enquire_link_keeps_its_command_length() {
    let enquire_link = [0, 0, 0, 16, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 1];
    let answer = [0, 0, 0, 16, 0x80, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 1];
    let wire = [enquire_link, answer].concat();
    assert_records(&preset("smpp"), &wire, &[&enquire_link, &answer]);
}

/// RFC 1035 section 4.2.2: a query for example.com, type A, behind two bytes of length.
#[test]
fn a_dns_query_loses_its_length_and_gets_it_back() {
    let query = b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
    let wire = [&[0x00, 0x1d][..], query].concat();
    assert_records(&preset("dns"), &wire, &[query]);
}

/// An ApiVersions request, version 0, correlation id 1, from the client "test".
#[test]
fn a_kafka_request_is_what_stands_behind_its_size() {
    let request = b"\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04test";
    let wire = [&[0, 0, 0, 14][..], request].concat();
    assert_records(&preset("kafka"), &wire, &[request]);
}

/// A sign-on (0800, fields 7, 11 and 70) in ASCII behind two bytes of length in network order.
#[test]
fn an_iso_8583_message_is_what_stands_behind_two_bytes_of_length() {
    let sign_on = b"080082200000000000000400000000000000\x31\x31\x32\x31\x30\x36\x34\x31\x34\x38000001001";
    assert_eq!(sign_on.len(), 0x37);
    let wire = [&[0x00, 0x37][..], sign_on].concat();
    assert_records(&preset("iso8583"), &wire, &[sign_on]);
}

/// A call of `ping` in the binary protocol, as TFramedTransport sends it.
#[test]
fn a_thrift_call_is_what_stands_behind_its_frame_size() {
    let call = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
    let wire = [&[0, 0, 0, 17][..], call].concat();
    assert_records(&preset("thrift"), &wire, &[call]);
}

/// The encoding guide's `Test1 { a: 150 }` as writeDelimitedTo writes it, and one long enough for two bytes.
#[test]
fn protobuf_messages_are_delimited_by_varints() {
    let long = [0x12; 300];
    let wire = [&[0x03, 0x08, 0x96, 0x01][..], &[0xac, 0x02], &long, &[0x00]].concat();
    assert_records(&preset("protobuf"), &wire, &[&[0x08, 0x96, 0x01], &long, &[]]);
}

/// `[NSData dataWithBytes:&length length:4]` on a little-endian machine.
#[test]
fn cocoa_lengths_are_little_endian() {
    assert_records(&preset("cocoa"), b"\x05\0\0\0hello\0\0\0\0", &[b"hello", b""]);
}

#[test]
fn lines_may_be_empty_and_strings_may_hold_newlines() {
    assert_records(&preset("line"), b"a\n\nb\r\n", &[b"a", b"", b"b\r"]);
    assert_records(&preset("crlf"), b"EHLO x\r\n\r\n\r\r\n", &[b"EHLO x", b"", b"\r"]);
    assert_records(&preset("nul"), b"{\n}\0\0", &[b"{\n}", b""]);
}

/// A JT/T 808 heartbeat: 0x7e on both sides, escapes and checksum left to the application.
#[test]
fn a_jt_808_heartbeat_stands_between_two_flags() {
    let heartbeat = b"\x00\x02\x00\x00\x01\x23\x45\x67\x89\x01\x00\x01\x8b";
    let wire = [b"\x7e", &heartbeat[..], b"\x7e\x7e", heartbeat, b"\x7e"].concat();
    let framing = Framing::markers(b"\x7e", b"\x7e").unwrap();
    assert_records(&framing, &wire, &[heartbeat, heartbeat]);
}

#[test]
fn a_record_that_does_not_begin_with_its_marker_is_refused() {
    let framing = Framing::markers(b"\x02\x02", b"\x03").unwrap();
    let mut pipe = Pipe::new(framing.decoder(100), WEBSOCKET.encoder(Kind::Binary));
    pipe.feed(b"\x02\x02ok\x03\x02").unwrap();
    let error = pipe.feed(b"x").unwrap_err();
    assert_eq!(error, WireError::Protocol("a record that does not begin with the start marker"));
    assert_eq!(WEBSOCKET.read(&pipe.sent).messages.len(), 1);
}

/// The mistake that costs an evening: a client that writes its length in the other order.
#[test]
fn a_length_in_the_wrong_byte_order_is_recognized() {
    let mut pipe = Pipe::new(preset("u32be").decoder(16 << 20), WEBSOCKET.encoder(Kind::Binary));
    let error = pipe.feed(b"\x05\0\0\0hello").unwrap_err().to_string();
    assert_eq!(
        error,
        "a message of 83,886,080 bytes is over the limit of 16,777,216: \
         05 00 00 00 is 83,886,080 big-endian, 5 little-endian: is the framing u32le?"
    );
    let mut pipe = Pipe::new(preset("u32le").decoder(16 << 20), WEBSOCKET.encoder(Kind::Binary));
    let error = pipe.feed(b"\0\0\0\x05hello").unwrap_err().to_string();
    assert!(error.ends_with("5 big-endian: is the framing u32be?"), "{error}");
    // Neither order makes sense: nothing is suggested. These are the first bytes of an HTTP request.
    let mut pipe = Pipe::new(preset("u32be").decoder(16 << 20), WEBSOCKET.encoder(Kind::Binary));
    let error = pipe.feed(b"GET / HTTP/1.1\r\n").unwrap_err().to_string();
    assert_eq!(error, "a message of 1,195,725,856 bytes is over the limit of 16,777,216");
}

#[test]
fn lengths_that_no_record_can_have_are_refused() {
    for (word, bytes) in [
        // Shorter than the field that says so.
        ("smpp", &[0, 0, 0, 3][..]),
        // 2^64 bytes and more.
        ("varint", &[0xff; 10]),
        ("varint", &[0x80; 10]),
        ("varint", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
    ] {
        let mut pipe = Pipe::new(preset(word).decoder(u64::MAX), WEBSOCKET.encoder(Kind::Binary));
        assert_eq!(pipe.feed(&bytes[..bytes.len() - 1]), Ok(()), "{word}");
        let refused = pipe.feed(&bytes[bytes.len() - 1..]);
        assert!(matches!(refused, Err(WireError::BadLength(_))), "{word}: {refused:?}");
    }
}

#[test]
fn a_stream_that_ends_inside_a_record_can_be_told() {
    for (word, record) in [
        ("u16be", &b"\x00\x05hello"[..]),
        ("varint", b"\x05hello"),
        ("line", b"hello\n"),
        ("crlf", b"hello\r\n"),
        ("mysql", b"\x05\0\0\0hello"),
        ("smpp", b"\0\0\0\x09hello"),
    ] {
        for cut in 0..=record.len() {
            let mut pipe = Pipe::new(preset(word).decoder(100), WEBSOCKET.encoder(Kind::Binary));
            pipe.feed(record).unwrap();
            pipe.feed(&record[..cut]).unwrap();
            assert_eq!(pipe.may_end(), cut == 0 || cut == record.len(), "{word} cut at {cut}");
        }
        // A long record has begun to cross when it is cut.
        if word == "u16be" {
            let mut pipe = Pipe::new(preset(word).decoder(u64::MAX), WEBSOCKET.encoder(Kind::Binary));
            pipe.feed(&[0xff, 0xff, 1, 2, 3]).unwrap();
            assert!(!pipe.may_end() && !pipe.encoder.is_between_messages() && pipe.unread.is_empty());
        }
    }
}

/// A message with a header of its own must say its own length, or the reader would be out of step for ever.
#[test]
fn a_message_whose_header_lies_is_not_passed_on() {
    for (word, message) in [
        ("mysql", &b"\x04\0\0\0hello"[..]),
        ("mysql", b"\x06\0\0\0hello"),
        ("mysql", b"\0\0\0"),
        ("mysql", b""),
        ("modbus", b"\0\x01\0\0\0\x06\x11\x03\0\x6b\0"),
        ("smpp", b"\0\0\0\x05hello"),
    ] {
        let mut frames = Vec::new();
        super::end::frame(0x82, true, message, &mut frames);
        let mut pipe = Pipe::new(WEBSOCKET.decoder(1 << 20), preset(word).encoder());
        let refused = pipe.feed(&frames);
        assert!(matches!(refused, Err(WireError::Unframeable(_))), "{word}: {refused:?}");
        assert!(pipe.sent.is_empty());
    }
}
