//! Heartbeats of legacy protocols: found wherever they stand between messages, never passed on, never taken
//! for a message or a message for them.

use std::sync::Arc;

use natpulse::wire::websocket::Role;
use natpulse::wire::{Beat, BeatForm, Decoder, Encoder, Framing, Kind, WireError};

use super::end::{End, Message, frame};
use super::pipe::{Heard, Pipe};
use super::samples::MAX;

const CLIENT: End = End::WebSocket { is_client: true };
const SERVER: End = End::WebSocket { is_client: false };

/// Four bytes that chat clients on iOS send by themselves, without a length.
const MAGIC: [u8; 4] = [0xab, 0xcd, 0, 0];
/// What the same bytes are as a length in little-endian order.
const LENGTH: usize = 52_651;

fn on(word: &str, form: BeatForm, bytes: &[u8]) -> Arc<Beat> {
    let framing = Framing::from_word(word).unwrap();
    Arc::new(Beat::on_framing(&framing, form, bytes, bytes).unwrap())
}

fn magic() -> Arc<Beat> {
    on("u32le", BeatForm::Bare, &MAGIC)
}

/// From a client that sends u32le records, and bare beats where it is said which.
fn from_u32le(beat: Option<Arc<Beat>>) -> Pipe {
    let decoder = End::from_word("u32le").decoder(MAX);
    let decoder = beat.map_or_else(|| End::from_word("u32le").decoder(MAX), |beat| decoder.with_beat(beat));
    Pipe::new(decoder, CLIENT.encoder(Kind::Binary))
}

fn payloads(messages: Vec<Message>) -> Vec<Vec<u8>> {
    messages.into_iter().map(|message| message.payload).collect()
}

#[test]
fn four_bytes_are_a_beat_where_they_are_known_and_a_length_where_they_are_not() {
    for size in [1, 2, 3, 4, 5, 7, 1000] {
        let stream = [&MAGIC[..], b"\x02\0\0\0hi", &MAGIC, &MAGIC].concat();
        let mut pipe = from_u32le(Some(magic()));
        pipe.feed_in(&stream, &[size]).unwrap();
        assert_eq!(pipe.heard, [Heard::Beat, Heard::Beat, Heard::Beat], "chunks of {size}");
        assert_eq!(payloads(CLIENT.read(&pipe.sent).messages), [b"hi"], "chunks of {size}");
        assert_eq!((pipe.tally.messages(), pipe.tally.bytes), (1, 2));
        assert!(pipe.may_end());
    }
    let record = [&MAGIC[..], &[b'x'; LENGTH]].concat();
    for size in [1, 3, 1000, 100_000] {
        let mut pipe = from_u32le(None);
        pipe.feed_in(&record, &[size]).unwrap();
        assert_eq!(pipe.heard, []);
        assert_eq!(payloads(CLIENT.read(&pipe.sent).messages), [[b'x'; LENGTH]], "chunks of {size}");
    }
}

#[test]
fn inside_a_record_the_magic_is_payload() {
    let payload = [&MAGIC[..], b"x", &MAGIC, &MAGIC].concat();
    let stream = [&[payload.len() as u8, 0, 0, 0][..], &payload, &MAGIC].concat();
    for size in 1..=stream.len() {
        let mut pipe = from_u32le(Some(magic()));
        pipe.feed_in(&stream, &[size]).unwrap();
        assert_eq!(payloads(CLIENT.read(&pipe.sent).messages), [&payload[..]], "chunks of {size}");
        assert_eq!(pipe.heard, [Heard::Beat], "chunks of {size}");
    }
    // Also in one that is streamed, wherever a read ends.
    let long = MAGIC.repeat(10_000);
    let stream = [&(long.len() as u32).to_le_bytes()[..], &long, &MAGIC].concat();
    for size in [4, 1001, 30_000] {
        let mut pipe = from_u32le(Some(magic()));
        pipe.feed_in(&stream, &[size]).unwrap();
        assert_eq!(payloads(CLIENT.read(&pipe.sent).messages), [&long[..]], "chunks of {size}");
        assert_eq!(pipe.heard, [Heard::Beat], "chunks of {size}");
    }
}

/// The record is long enough to be streamed, so nothing else holds its bytes.
#[test]
fn a_record_that_begins_like_the_magic_waits_only_until_it_differs() {
    let beat = on("u32le", BeatForm::Bare, b"\0\0\x01\0magic");
    let mut pipe = from_u32le(Some(beat));
    let mut fed = |bytes: &[u8]| {
        pipe.feed(bytes).unwrap();
        (pipe.tally.bytes, pipe.heard.len(), pipe.unread.len())
    };
    assert_eq!(fed(b"\0\0\x01"), (0, 0, 3));
    assert_eq!(fed(b"\0ma"), (0, 0, 6));
    assert_eq!(fed(b"x"), (3, 0, 0));
    assert_eq!(fed(&[b'y'; 0x1_0000 - 3]), (0x1_0000, 0, 0));
    assert_eq!(fed(b"\0\0\x01\0magi"), (0x1_0000, 0, 8));
    assert_eq!(fed(b"c"), (0x1_0000, 1, 0));
}

/// A short record that is complete is never a part of a beat that may still come: such beats are refused.
#[test]
fn no_complete_record_waits_for_the_rest_of_a_beat() {
    let beat = on("u8", BeatForm::Bare, &MAGIC);
    let decoder = End::from_word("u8").decoder(MAX).with_beat(beat);
    let mut pipe = Pipe::new(decoder, CLIENT.encoder(Kind::Binary));
    pipe.feed(b"\x03\xab\xcd\0").unwrap();
    assert_eq!(pipe.tally.messages(), 1);
    pipe.feed(&[&[0xab][..], &[0xcd; 0xab]].concat()).unwrap();
    assert_eq!((pipe.tally.messages(), pipe.heard.len()), (2, 0));
    // Held back as what may become the magic; the last byte decides.
    pipe.feed(&MAGIC[..3]).unwrap();
    assert_eq!((pipe.heard.len(), pipe.may_end()), (0, false));
    pipe.feed(&MAGIC[3..]).unwrap();
    assert_eq!((pipe.heard.len(), pipe.may_end()), (1, true));
}

#[test]
fn a_record_that_the_peer_would_take_for_a_beat_is_refused() {
    let mut stream = b"\x82\x02hi".to_vec();
    frame(0x82, false, &[b'x'; LENGTH], &mut stream);
    for size in [1, 1000, 100_000] {
        for (beat, is_refused) in [(None, false), (Some(magic()), true)] {
            let encoder = End::from_word("u32le").encoder(Kind::Binary);
            let encoder = match beat {
                Some(beat) => encoder.with_beat(beat),
                None => encoder,
            };
            let mut pipe = Pipe::new(SERVER.decoder(MAX), encoder);
            let result = pipe.feed_in(&stream, &[size]);
            assert_eq!(result.is_err(), is_refused, "chunks of {size}");
            if let Err(error) = result {
                assert_eq!(
                    error.to_string(),
                    "a message whose record begins with the bytes that the other end takes for a heartbeat"
                );
                assert_eq!(pipe.sent, b"\x02\0\0\0hi");
            }
        }
    }
}

/// What has gone cannot be taken back; it never looks complete.
#[test]
fn a_record_that_turns_out_to_be_a_beat_on_its_way_is_left_unfinished() {
    let encoder = || {
        let beat = on("u32le", BeatForm::Bare, b"\0\0\x01\0magic");
        End::from_word("u32le").encoder(Kind::Binary).with_beat(beat)
    };
    // A message of 64 KiB behind one of two bytes, in the same read.
    let begin = b"\x82\x02hi\x82\x7f\0\0\0\0\0\x01\0\0mag";
    let sent = b"\x02\0\0\0hi\0\0\x01\0mag";
    let mut pipe = Pipe::new(SERVER.decoder(MAX), encoder());
    pipe.feed(begin).unwrap();
    assert_eq!(pipe.sent, sent);
    let rest = [&b"ic"[..], &[b'x'; 0x1_0000 - 5]].concat();
    assert!(matches!(pipe.feed(&rest), Err(WireError::Unframeable(_))));
    assert_eq!(pipe.sent, sent);
    assert!(!pipe.encoder.is_between_messages(), "the connection must be reset");

    let mut pipe = Pipe::new(SERVER.decoder(MAX), encoder());
    pipe.feed(begin).unwrap();
    pipe.feed(&[&b"!!"[..], &[b'x'; 0x1_0000 - 5]].concat()).unwrap();
    assert_eq!(pipe.tally.messages(), 2);
}

/// An end with a beat needs no more memory for a message: its record begins before all of it has come.
#[test]
fn a_long_message_streams_between_ends_with_beats() {
    let encoder = End::from_word("u32le").encoder(Kind::Binary).with_beat(magic());
    let mut pipe = Pipe::new(SERVER.decoder(MAX).with_beat(heart()), encoder);
    pipe.feed(b"\x82\x7f\0\0\0\0\0\x01\0\0x").unwrap();
    assert_eq!(pipe.sent, b"\0\0\x01\0x");
}

/// A piece of a byte stream can be cut shorter, so it is never refused.
#[test]
fn pieces_of_a_byte_stream_avoid_the_length_that_reads_as_a_beat() {
    for len in [LENGTH - 1, LENGTH, LENGTH + 1] {
        let encoder = End::from_word("u32le").encoder(Kind::Binary).with_beat(magic());
        let mut pipe = Pipe::new(Decoder::Raw, encoder);
        pipe.feed(&vec![b'x'; len]).unwrap();
        assert!(pipe.may_end());
        let pieces = payloads(End::from_word("u32le").read(&pipe.sent).messages);
        let lens: Vec<_> = pieces.iter().map(Vec::len).collect();
        assert_eq!(lens, if len == LENGTH { vec![LENGTH - 1, 1] } else { vec![len] });
    }
}

#[test]
fn a_record_that_says_heart_is_a_beat_and_one_that_says_more_is_none() {
    for word in ["u8", "u32be", "varint", "line", "crlf"] {
        let end = End::from_word(word);
        let mut stream = Vec::new();
        for text in ["hi", "heart", "hear", "hearts", "", "heart"] {
            let message = Message { kind: Kind::Binary, payload: text.into() };
            end.write(&message, &[], &[], &mut stream);
        }
        for size in [1, 2, 5, stream.len()] {
            let decoder = end.decoder(MAX).with_beat(on(word, BeatForm::Record, b"heart"));
            let mut pipe = Pipe::new(decoder, CLIENT.encoder(Kind::Text));
            pipe.feed_in(&stream, &[size]).unwrap();
            let messages = payloads(CLIENT.read(&pipe.sent).messages);
            assert_eq!(messages, [&b"hi"[..], b"hear", b"hearts", b""], "{word} in chunks of {size}");
            assert_eq!(pipe.heard, [Heard::Beat, Heard::Beat], "{word} in chunks of {size}");
        }
        let mut out = Vec::new();
        end.encoder(Kind::Binary).with_beat(on(word, BeatForm::Record, b"heart")).beat(&mut out);
        assert_eq!(payloads(end.read(&out).messages), [b"heart"], "{word}");
    }
}

/// SMPP's enquire_link: a record that brings its own header, which is part of the beat.
#[test]
fn a_beat_with_a_header_of_its_own_is_compared_with_the_header() {
    let enquire = [0, 0, 0, 16, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 1];
    let answer = [0, 0, 0, 16, 0x80, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 1];
    let smpp = Framing::from_word("smpp").unwrap();
    let beat = Arc::new(Beat::on_framing(&smpp, BeatForm::Record, &enquire, &answer).unwrap());
    let mut pipe = Pipe::new(smpp.decoder(MAX).with_beat(beat.clone()), CLIENT.encoder(Kind::Binary));
    pipe.feed_in(&[enquire, answer].concat(), &[3]).unwrap();
    assert_eq!(pipe.heard, [Heard::Beat]);
    assert_eq!(payloads(CLIENT.read(&pipe.sent).messages), [&enquire]);
    let mut out = Vec::new();
    smpp.encoder().with_beat(beat).beat(&mut out);
    assert_eq!(out, enquire);
}

fn heart() -> Arc<Beat> {
    Arc::new(Beat::on_websocket(Kind::Text, b"heart", b"heart").unwrap())
}

/// RFC 6455 section 5.4: what a message is does not depend on its fragments, and a control frame between them
/// is answered at once.
#[test]
fn a_websocket_message_is_a_beat_however_it_is_fragmented() {
    let frames = |pieces: &[(u8, &[u8])]| {
        let mut stream = Vec::new();
        for (first, payload) in pieces {
            frame(*first, true, payload, &mut stream);
        }
        stream
    };
    let ping = || Heard::Ping(b"?".to_vec());
    type Case<'a> = (Vec<u8>, &'a [Heard], &'a [&'a [u8]]);
    let cases: [Case<'_>; 9] = [
        (frames(&[(0x81, b"heart")]), &[Heard::Beat], &[]),
        (frames(&[(0x82, b"heart")]), &[Heard::Beat], &[]),
        (frames(&[(0x01, b"he"), (0x80, b"art")]), &[Heard::Beat], &[]),
        (frames(&[(0x01, b""), (0x00, b"heart"), (0x00, b""), (0x80, b"")]), &[Heard::Beat], &[]),
        (frames(&[(0x02, b"he"), (0x89, b"?"), (0x80, b"art")]), &[ping(), Heard::Beat], &[]),
        (frames(&[(0x01, b"he"), (0x89, b"?"), (0x80, b"ar")]), &[ping()], &[b"hear"]),
        (frames(&[(0x01, b"he"), (0x00, b"art"), (0x80, b"s")]), &[], &[b"hearts"]),
        (frames(&[(0x01, b"he"), (0x00, b"y"), (0x80, b"")]), &[], &[b"hey"]),
        (frames(&[(0x02, b"x"), (0x80, b"heart"), (0x81, b"heart")]), &[Heard::Beat], &[b"xheart"]),
    ];
    for to in &[CLIENT, SERVER, End::from_word("u32be"), End::from_word("line")] {
        for (stream, heard, messages) in &cases {
            for size in [1, 2, 3, stream.len()] {
                let mut pipe = Pipe::new(CLIENT.decoder(MAX).with_beat(heart()), to.encoder(Kind::Text));
                pipe.feed_in(stream, &[size]).unwrap();
                assert_eq!(pipe.heard, *heard, "{stream:x?} in chunks of {size}");
                assert_eq!(payloads(to.read(&pipe.sent).messages), *messages, "{stream:x?} to {to:?}");
                let bytes = messages.concat().len() as u64;
                assert_eq!((pipe.tally.messages(), pipe.tally.bytes), (messages.len() as u64, bytes));
                assert!(pipe.may_end() && pipe.encoder.is_between_messages());
            }
        }
    }
}

/// Fragments that might become a beat take no memory, however many they are.
#[test]
fn a_beat_that_never_ends_keeps_nothing() {
    let mut pipe = Pipe::new(SERVER.decoder(MAX).with_beat(heart()), CLIENT.encoder(Kind::Binary));
    pipe.feed(b"\x01\x02he").unwrap();
    pipe.feed(&[0, 0].repeat(100_000)).unwrap();
    assert!(pipe.unread.is_empty() && pipe.sent.is_empty());
    assert!(!pipe.may_end() && pipe.encoder.is_between_messages());
    pipe.feed(b"\x80\x03art").unwrap();
    assert_eq!(pipe.heard, [Heard::Beat]);
}

/// Where records become the kind of message that the peer sends: its text beats say nothing about that.
#[test]
fn a_beat_is_not_the_latest_message() {
    let mut pipe = Pipe::new(SERVER.decoder(MAX).with_beat(heart()), CLIENT.encoder(Kind::Binary));
    pipe.feed(b"\x81\x05heart").unwrap();
    assert_eq!(pipe.decoder.last_kind(), None);
    pipe.feed(b"\x82\x01x\x81\x05heart\x01\x02he").unwrap();
    assert_eq!(pipe.decoder.last_kind(), Some(Kind::Binary));
    pipe.feed(b"\x80\x01y").unwrap();
    assert_eq!(pipe.decoder.last_kind(), Some(Kind::Text));
}

#[test]
fn a_beat_to_a_websocket_server_is_masked() {
    let mut encoder = SERVER.encoder(Kind::Binary).with_beat(heart());
    encoder.set_default_kind(Kind::Binary);
    let mut out = Vec::new();
    encoder.beat(&mut out);
    encoder.beat(&mut out);
    // Reading checks the masks; their keys differ.
    assert_eq!(SERVER.read(&out).messages, vec![Message { kind: Kind::Text, payload: b"heart".into() }; 2]);
    assert_ne!(out[..11], out[11..]);
    let bytes = Arc::new(Beat::on_websocket(Kind::Binary, b"\xff", b"x").unwrap());
    let role = Role::Client { mask_key: || [1, 2, 3, 4] };
    let encoder = natpulse::wire::websocket::Encoder::new(role, Kind::Text);
    let mut out = Vec::new();
    Encoder::WebSocket(encoder).with_beat(bytes).beat(&mut out);
    assert_eq!(out, [0x82, 0x81, 1, 2, 3, 4, 0xfe]);
}

/// Between the fragments of a message that is gathered, nothing of it has been written yet.
#[test]
fn a_beat_can_be_written_while_a_message_is_gathered() {
    let forms: [(BeatForm, &[u8], &[u8]); 2] =
        [(BeatForm::Record, b"heart", b"\0\0\0\x05heart"), (BeatForm::Bare, b"\0\0\0\0", b"\0\0\0\0")];
    for (form, bytes, written) in forms {
        let encoder = End::from_word("u32be").encoder(Kind::Binary).with_beat(on("u32be", form, bytes));
        let mut pipe = Pipe::new(SERVER.decoder(MAX), encoder);
        pipe.feed(b"\x02\x03one").unwrap();
        assert!(pipe.encoder.is_between_messages());
        pipe.encoder.beat(&mut pipe.sent);
        pipe.feed(b"\x80\x03two").unwrap();
        assert_eq!(pipe.sent, [written, b"\0\0\0\x06onetwo"].concat());
    }
}

#[test]
fn an_end_without_a_beat_writes_none_and_is_no_larger() {
    let mut out = Vec::new();
    for word in ["u32be", "line", "raw"] {
        End::from_word(word).encoder(Kind::Binary).beat(&mut out);
    }
    assert!(out.is_empty());
    // Two of each are in every idle session.
    assert!(size_of::<Decoder>() <= 64 && size_of::<Encoder>() <= 64);
}

#[test]
fn a_beat_that_cannot_work_is_refused_by_name() {
    use BeatForm::{Bare, Record};
    let size = "1 to 256 bytes";
    let cut = "as long as the start marker or length that it stands in place of, or longer";
    let waits =
        "bytes that do not begin with a complete record, which would have to wait for what follows it";
    let one = "bytes that do not read as the length 1; a record can be a beat too";
    let raw = "left out where the framing is raw: in a byte stream nothing tells a beat from data";
    let cases: &[(&str, BeatForm, &[u8], Option<&str>)] = &[
        ("raw", Bare, &MAGIC, Some(raw)),
        ("raw", Record, b"heart", Some(raw)),
        ("u32le", Bare, b"", Some(size)),
        ("u32le", Record, b"", Some(size)),
        ("u32le", Record, &[b'x'; 256], None),
        ("u32le", Record, &[b'x'; 257], Some(size)),
        ("u32le", Bare, &MAGIC, None),
        ("u32le", Bare, &MAGIC[..3], Some(cut)),
        ("u32be", Bare, b"\0", Some(cut)),
        ("u32be", Bare, b"\0\0\0\0", None),
        ("u32be", Bare, b"\0\0\0\x01", Some(one)),
        ("u8", Bare, b"\xff", None),
        ("u8", Bare, b"\x02ok", None),
        ("u8", Bare, b"\x02ok!", Some(waits)),
        (
            "u8",
            Record,
            &[b'x'; 256],
            Some(
                "a message that the framing can carry, which it cannot: a message of 256 bytes does not fit the other end's length field",
            ),
        ),
        ("varint", Bare, b"\xff", Some(cut)),
        ("varint", Bare, b"\xff\x01", None),
        ("varint", Bare, &[0xff; 10], None),
        ("mysql", Bare, b"\x05\0\0", None),
        ("mysql", Bare, b"\0\0\0\0", None),
        ("mysql", Bare, b"\0\0\0\0\0", Some(waits)),
        ("mysql", Record, b"\x01\0\0\0\x0e", None),
        (
            "mysql",
            Record,
            b"heart",
            Some(
                "a message that the framing can carry, which it cannot: a message of 5 bytes whose header holds the length 6382952 would put the other end out of step",
            ),
        ),
        // A type byte that stands in front of the length decides by itself.
        ("modbus", Bare, b"\xff\xff", None),
        ("modbus", Bare, b"\xff\xff\0\0\0", Some(cut)),
        ("line", Bare, b"\0", None),
        ("line", Bare, b"PING\n", None),
        ("line", Bare, b"\n", None),
        ("line", Bare, b"PING\nPING\n", Some(waits)),
        ("crlf", Bare, b"\r\n\r\n", Some(waits)),
        (
            "line",
            Record,
            b"PI\nNG",
            Some(
                "a message that the framing can carry, which it cannot: a message that contains the other end's end marker",
            ),
        ),
    ];
    for (word, form, bytes, rule) in cases {
        let framing = Framing::from_word(word).unwrap();
        // What is found is held to the same rules as what is sent.
        let fine: &[u8] = match (*word, form) {
            ("mysql", Record) => b"\0\0\0\0",
            ("modbus" | "varint", _) => &[0xff; 10],
            _ => b"\xff\xfe\xfd\xfc",
        };
        for (send, expect, key) in [(*bytes, fine, "send"), (fine, *bytes, "expect")] {
            let error = Beat::on_framing(&framing, *form, send, expect).err();
            let found = error.as_ref().map(|error| &*error.rule);
            assert_eq!(found, *rule, "{word} {form:?} {key} {bytes:x?}");
            let key = if *word == "raw" { "send" } else { key };
            assert!(error.is_none_or(|error| error.key == key), "{word} {form:?} {key} {bytes:x?}");
        }
    }
    let flags = Framing::markers(b"~", b"~").unwrap();
    assert_eq!(Beat::on_framing(&flags, Bare, b"~", b"x").unwrap_err().rule, cut);
    assert!(Beat::on_framing(&flags, Bare, b"x", b"~x~").is_ok());
    let error = Beat::on_websocket(Kind::Text, b"\xff", b"x").unwrap_err();
    assert_eq!((error.key, &*error.rule), ("send", "UTF-8 where it is sent as text"));
    assert!(Beat::on_websocket(Kind::Binary, b"\xff", b"").is_err());
}
