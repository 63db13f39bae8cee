//! Any bytes, as a stream of any framing, into any other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::wire::Kind;
use natpulse_fuzz::{End, Heard, Input, Parsed, Pipe};

/// Everything that a stream came to, seen from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    parsed: Parsed,
    heard: Vec<Heard>,
    is_refused: bool,
    may_end: bool,
}

fn see(from: &End, to: &End, kind: Kind, max: u64, stream: &[u8], sizes: &[usize]) -> Seen {
    let mut pipe = Pipe::new(from.decoder(max), to.encoder(kind));
    let is_refused = pipe.feed_in(stream, sizes).is_err();
    let mut parsed = to.read(&pipe.sent);
    if *to == End::Raw {
        // A stream without messages shows how far the last one has come, which chunks may decide.
        parsed.messages.clear();
    } else {
        assert_eq!(pipe.tally.messages, parsed.messages.len() as u64);
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
    let (Some(from), Some(to)) = (input.end(), input.end()) else {
        return;
    };
    let kind = input.kind();
    let max = 1 << (input.byte() % 40);
    let sizes = input.chunks();
    let stream = input.stream();
    if stream.is_empty() || from == End::Raw && !takes_pieces(&to) {
        return;
    }
    let chunked = see(&from, &to, kind, max, &stream, &sizes);
    if from == End::Raw {
        // Its messages are whatever came at once.
        return;
    }
    assert_eq!(chunked, see(&from, &to, kind, max, &stream, &[stream.len()]), "{from:?} to {to:?}");
});
