//! Any bytes, as a stream of any framing, into any other, each of them with or without a heartbeat.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::wire::Kind;
use natpulse_fuzz::{End, Heard, Input, OwnBeat, Parsed, Pipe, decoder, encoder, read};

/// Everything that a stream came to, seen from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    parsed: Parsed,
    heard: Vec<Heard>,
    is_refused: bool,
    may_end: bool,
}

type Beating = (End, Option<OwnBeat>);

fn see(from: &Beating, to: &Beating, kind: Kind, max: u64, stream: &[u8], sizes: &[usize]) -> Seen {
    let (theirs, ours) = (from.1.as_ref(), to.1.as_ref().filter(|own| own.is_bare));
    let mut pipe = Pipe::new(decoder(&from.0, theirs, max), encoder(&to.0, to.1.as_ref(), kind));
    let is_refused = pipe.feed_in(stream, sizes).is_err();
    let (mut parsed, mistaken) = read(&to.0, ours, &pipe.sent);
    assert_eq!(mistaken, 0, "a record reads as a beat");
    if to.0 == End::Raw {
        // A stream without messages shows how far the last one has come, which chunks may decide.
        parsed.messages.clear();
    } else {
        assert_eq!(pipe.tally.messages(), parsed.messages.len() as u64);
    }
    parsed.is_cut = false;
    Seen { parsed, heard: pipe.heard.clone(), is_refused, may_end: is_refused || pipe.may_end() }
}

/// Whether the pieces of a byte stream can be messages here; a config with another pair is refused.
fn takes_pieces(to: &End) -> bool {
    match to {
        End::WebSocket { .. } | End::Varint | End::Raw => true,
        End::Field(field) => !field.keep_header && field.adjustment <= 0,
        End::Markers { .. } => false,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (Some(from), Some(to)) = (input.end_with_beat(), input.end_with_beat()) else {
        return;
    };
    let kind = input.kind();
    let max = 1 << (input.byte() % 40);
    let sizes = input.chunks();
    let stream = input.stream();
    if stream.is_empty() || from.0 == End::Raw && !takes_pieces(&to.0) {
        return;
    }
    let chunked = see(&from, &to, kind, max, &stream, &sizes);
    if from.0 == End::Raw {
        // Its messages are whatever came at once.
        return;
    }
    assert_eq!(chunked, see(&from, &to, kind, max, &stream, &[stream.len()]), "{from:?} to {to:?}");
});
