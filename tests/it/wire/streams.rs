//! What holds for any stream, also a wrong one: how it is cut into chunks decides nothing.

use natpulse::wire::{Kind, WireError};
use proptest::prelude::*;
use proptest::sample::Index;

use super::end::{End, Parsed};
use super::pipe::{Heard, Pipe};
use super::samples::{chunks, end, properties, samples};

/// Low enough that damaged lengths are often over it.
const MAX: u64 = 1 << 20;

/// Everything that a stream came to, seen from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    parsed: Parsed,
    heard: Vec<Heard>,
    error: Option<String>,
    may_end: bool,
}

fn see(from: &End, stream: &[u8], sizes: &[usize]) -> Seen {
    let to = End::WebSocket { is_client: true };
    let mut pipe = Pipe::new(from.decoder(MAX), to.encoder(Kind::Binary));
    let error = pipe.feed_in(stream, sizes).err().map(|error| match error {
        // How much of a message without a length had come depends on the chunks.
        WireError::TooLong { max, .. } => format!("over {max}"),
        error => error.to_string(),
    });
    let mut parsed = to.read(&pipe.sent);
    // So does how much of an unfinished message has been passed on.
    parsed.is_cut = false;
    let may_end = error.is_some() || pipe.may_end();
    Seen { parsed, heard: pipe.heard, error, may_end }
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn chunks_decide_nothing_even_where_the_stream_is_damaged(
        from in end(), samples in samples(), sizes in chunks(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut stream = Vec::new();
        for sample in &samples {
            let message = sample.message(&from, &from);
            if from.carries(&message.payload) {
                let is_client = from == End::WebSocket { is_client: true };
                from.write(&message, &sample.pieces, &sample.between(is_client), &mut stream);
            }
        }
        prop_assume!(!stream.is_empty());
        for (at, byte) in damage {
            *at.get_mut(&mut stream) = byte;
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len()));
        }
        prop_assert_eq!(see(&from, &stream, &sizes), see(&from, &stream, &[stream.len()]));
    }

    #[test]
    fn bytes_at_random_are_read_the_same_in_any_chunks(
        from in end(), stream in prop::collection::vec(any::<u8>(), 0..2000), size in 1..50usize,
    ) {
        prop_assert_eq!(see(&from, &stream, &[size]), see(&from, &stream, &[stream.len()]));
    }
}

/// Damage near the start of frames, where headers are, and often enough that two errors meet.
#[test]
fn every_cut_of_a_damaged_header_gives_the_same_verdict() {
    let stream = [
        &[0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1][..],
        &[0x82, 0xfe, 0, 126, 0, 0, 0, 0],
        &[b'x'; 126],
        &[0x89, 0x80, 9, 9, 9, 9],
    ]
    .concat();
    let from = End::WebSocket { is_client: true };
    for at in (0..20).chain(stream.len() - 6..stream.len()) {
        for byte in 0..=255 {
            let mut stream = stream.clone();
            stream[at] = byte;
            let whole = see(&from, &stream, &[stream.len()]);
            for size in [1, 2, 3, 7] {
                assert_eq!(see(&from, &stream, &[size]), whole, "byte {at} is {byte:#x}, chunks of {size}");
            }
        }
    }
}
