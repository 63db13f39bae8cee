//! How much is kept: never a long message, whatever is told about it and however it arrives.

use natpulse::wire::{Kind, WHOLE, WireError};

use super::end::End;
use super::pipe::Pipe;
use super::samples::MAX;

const LONG: usize = 64 << 20;
/// What a session reads at once.
const READ: usize = 256 * 1024;
/// What a session may hold in one direction while a message crosses.
const FEW_HUNDRED_KIB: usize = 600 * 1024;

/// The byte of the long message at this place.
fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn a_message_of_64_mib_crosses_in_a_few_hundred_kib() {
    let record = End::from_word("u32be");
    let (client, server) = (End::WebSocket { is_client: true }, End::WebSocket { is_client: false });
    // No frame here is masked, so that payloads can be compared where they are.
    let mut there = Pipe::new(record.decoder(MAX), client.encoder(Kind::Binary));
    let mut back = Pipe::new(server.decoder(MAX), record.encoder(Kind::Binary));
    let header = (LONG as u32).to_be_bytes();
    there.feed(&header).unwrap();
    let mut frame = vec![0x82, 127];
    frame.extend_from_slice(&(LONG as u64).to_be_bytes());
    back.feed(&frame).unwrap();
    let (mut fragments, mut records) = (0, 0);
    for start in (0..LONG).step_by(READ) {
        let chunk: Vec<u8> = (start..LONG.min(start + READ)).map(byte_at).collect();
        there.feed(&chunk).unwrap();
        fragments += there.sent.len();
        let payload = &there.sent[there.sent.len() - chunk.len()..];
        assert!(payload == chunk, "changed on the way at {start}");
        there.sent.clear();
        back.feed(&chunk).unwrap();
        records += back.sent.len();
        assert!(back.sent.ends_with(&chunk), "changed on the way back at {start}");
        back.sent.clear();
        for pipe in [&there, &back] {
            assert!(pipe.largest_batch <= FEW_HUNDRED_KIB, "a batch of {}", pipe.largest_batch);
            assert!(pipe.unread.len() <= WHOLE, "{} bytes kept", pipe.unread.len());
        }
    }
    assert_eq!(records, LONG + 4);
    assert!((LONG..LONG + LONG / 100).contains(&fragments), "{fragments} bytes for {LONG}");
    for pipe in [&there, &back] {
        assert!(pipe.may_end() && pipe.encoder.is_between_messages());
        assert_eq!((pipe.tally.messages(), pipe.tally.bytes), (1, LONG as u64));
    }
}

#[test]
fn a_long_line_crosses_without_being_kept() {
    let mut pipe = Pipe::new(
        End::from_word("crlf").decoder(MAX),
        End::WebSocket { is_client: true }.encoder(Kind::Text),
    );
    let piece = [b'x'; 10_000];
    for _ in 0..1000 {
        pipe.feed(&piece).unwrap();
        assert!(pipe.unread.len() <= WHOLE && pipe.largest_batch <= FEW_HUNDRED_KIB);
        pipe.sent.clear();
    }
    pipe.feed(b"\r").unwrap();
    pipe.feed(b"\n").unwrap();
    assert!(pipe.may_end());
    assert_eq!((pipe.tally.messages(), pipe.tally.bytes), (1, 10_000_000));
}

/// One-byte chunks of the longest message that is waited for: the worst case of what is looked at again.
/// It takes a fraction of a second; the limit only tells a square of the length from a cube.
#[test]
fn a_message_that_comes_byte_by_byte_costs_no_more_than_its_square() {
    let begun = std::time::Instant::now();
    for word in ["line", "crlf", "u32be", "varint"] {
        let end = End::from_word(word);
        let mut stream = Vec::new();
        let payload = vec![b'x'; WHOLE - 16];
        end.write(&super::end::Message { kind: Kind::Binary, payload }, &[], &[], &mut stream);
        let mut pipe = Pipe::new(end.decoder(MAX), End::WebSocket { is_client: true }.encoder(Kind::Binary));
        pipe.feed_in(&stream, &[1]).unwrap();
        assert_eq!(pipe.tally.messages(), 1, "{word}");
    }
    assert!(begun.elapsed().as_secs() < 20, "took {:?}", begun.elapsed());
}

/// The header is all that has come, and all that was needed.
#[test]
fn a_length_over_the_limit_is_refused_at_the_header() {
    let limit = 1u64 << 20;
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(limit + 1).to_be_bytes());
    frame.extend_from_slice(&[1, 2, 3, 4]);
    let headers: [(End, &[u8]); 6] = [
        (End::WebSocket { is_client: true }, &frame),
        (End::from_word("u32be"), &[0, 0x10, 0, 1]),
        (End::from_word("u64le"), &[1, 0, 0x10, 0, 0, 0, 0, 0]),
        (End::from_word("varint"), &[0x81, 0x80, 0x40]),
        (End::from_word("mysql"), &[0xfd, 0xff, 0x0f]),
        (End::from_word("smpp"), &[0, 0x10, 0, 1]),
    ];
    for (end, header) in headers {
        let mut pipe = Pipe::new(end.decoder(limit), End::Raw.encoder(Kind::Binary));
        for byte in &header[..header.len() - 1] {
            assert_eq!(pipe.feed(&[*byte]), Ok(()), "{end:?}");
        }
        match pipe.feed(&header[header.len() - 1..]) {
            Err(WireError::TooLong { len, max, .. }) => {
                assert_eq!((len, max), (limit + 1, limit), "{end:?}");
            }
            other => panic!("{end:?}: {other:?}"),
        }
        assert!(pipe.sent.is_empty());
    }
}

#[test]
fn a_message_of_exactly_the_limit_crosses() {
    for word in ["u8", "line", "crlf", "varint"] {
        for (len, is_fine) in [(100, true), (101, false)] {
            let end = End::from_word(word);
            let mut stream = Vec::new();
            let payload = vec![b'x'; len];
            end.write(&super::end::Message { kind: Kind::Binary, payload }, &[], &[], &mut stream);
            let mut pipe = Pipe::new(end.decoder(100), End::Raw.encoder(Kind::Binary));
            assert_eq!(pipe.feed(&stream).is_ok(), is_fine, "{word}, {len} bytes");
        }
    }
}

/// A record without a length is refused while it comes, not when it ends.
#[test]
fn a_line_that_does_not_end_is_refused_at_the_limit() {
    let mut pipe = Pipe::new(End::from_word("line").decoder(100_000), End::Raw.encoder(Kind::Binary));
    let refused_at = (1..).find(|_| pipe.feed(&[b'x'; 1000]).is_err());
    assert_eq!(refused_at, Some(101));
}

/// Fragments have no length in all; their sum is what counts.
#[test]
fn fragments_that_add_up_to_more_than_the_limit_are_refused() {
    let end = End::WebSocket { is_client: false };
    let mut pipe = Pipe::new(end.decoder(1000), End::Raw.encoder(Kind::Binary));
    let mut stream = Vec::new();
    super::end::frame(0x02, false, &[0; 600], &mut stream);
    super::end::frame(0x00, false, &[0; 400], &mut stream);
    pipe.feed(&stream).unwrap();
    // The first byte too many is in a frame that has only announced itself.
    assert!(matches!(pipe.feed(&[0x80, 1]), Err(WireError::TooLong { len: 1001, max: 1000, hint: None })));
}

/// A record cannot begin before its length is known, so fragments are gathered for it; but no more of them
/// than it can hold.
#[test]
fn fragments_that_no_record_can_hold_are_not_gathered() {
    let end = End::WebSocket { is_client: false };
    let mut pipe = Pipe::new(end.decoder(MAX), End::from_word("u16be").encoder(Kind::Binary));
    let mut fragment = Vec::new();
    super::end::frame(0x00, false, &[0; 0x8000], &mut fragment);
    fragment[0] = 0x02;
    pipe.feed(&fragment).unwrap();
    fragment[0] = 0x00;
    assert!(matches!(pipe.feed(&fragment), Err(WireError::Unframeable(_))));
    assert!(pipe.sent.is_empty());
}

/// The header that a record brings may come piece by piece; the rest of it is not kept.
#[test]
fn a_long_record_with_its_own_header_streams_however_the_header_is_cut() {
    let mysql = End::from_word("mysql");
    let record = mysql.dress(vec![7; 1 << 20]);
    let client = End::WebSocket { is_client: true };
    let mut frame = Vec::new();
    super::end::frame(0x82, true, &record, &mut frame);
    for first in [14, 15, 16, 17, 18] {
        let mut pipe = Pipe::new(client.decoder(MAX), mysql.encoder(Kind::Binary));
        let (header, rest) = frame.split_at(first);
        pipe.feed(header).unwrap();
        pipe.feed_in(rest, &[READ]).unwrap();
        assert!(pipe.sent == record, "{first} bytes first");
        assert!(pipe.largest_batch <= READ + 16, "a batch of {}", pipe.largest_batch);
    }
}

#[test]
fn empty_fragments_take_no_memory_and_change_nothing() {
    let end = End::WebSocket { is_client: false };
    let mut pipe = Pipe::new(end.decoder(1000), End::from_word("u16be").encoder(Kind::Binary));
    pipe.feed(&[0x02, 0]).unwrap();
    for _ in 0..100_000 {
        pipe.feed(&[0x00, 0]).unwrap();
    }
    assert!(pipe.sent.is_empty());
    pipe.feed(&[0x80, 1, b'x']).unwrap();
    assert_eq!(pipe.sent, [0, 1, b'x']);
}
