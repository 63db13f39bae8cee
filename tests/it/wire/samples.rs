//! Streams to test with: ends, messages, and ways to cut them.

use natpulse::wire::{ByteOrder, Framing, Kind, LengthField, WHOLE, WORDS};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

use super::end::{End, Message, frame};

/// More than any message here, and far from what would overflow.
pub const MAX: u64 = 1 << 40;

/// How the properties are tested: often enough to meet rare combinations within seconds, and every case that
/// ever failed is tried first.
pub fn properties() -> ProptestConfig {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/wire/regressions.txt");
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(regressions)) as Box<_>);
    ProptestConfig { cases: 8000, failure_persistence, ..ProptestConfig::default() }
}

/// A message before it is known who must carry it. Bytes are made from a seed, so that a failing case
/// prints in a line.
#[derive(Clone, Debug)]
pub struct Sample {
    kind: Kind,
    len: usize,
    seed: u64,
    alphabet: Alphabet,
    /// Where a WebSocket cuts it into frames.
    pub pieces: Vec<usize>,
    /// Payload of the ping and pong between those frames; `None` for none.
    pub between: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Alphabet {
    /// Any bytes.
    Bytes,
    /// Letters.
    Ascii,
    /// Characters of one to four bytes.
    Characters,
    /// What markers are made of.
    Markers,
}

impl Sample {
    /// The message, in a form that `from` and `to` can carry if a header is all that is missing.
    pub fn message(&self, from: &End, to: &End) -> Message {
        let body = self.body();
        let body = if matches!(from, End::Field(_)) { from.dress(body) } else { to.dress(body) };
        let kind = if std::str::from_utf8(&body).is_ok() { self.kind } else { Kind::Binary };
        Message { kind, payload: body }
    }

    /// The bytes of a ping and a pong that stand between frames of the message.
    pub fn between(&self, is_client: bool) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(len) = self.between {
            frame(0x89, is_client, &vec![b'i'; len], &mut out);
            frame(0x8a, is_client, &vec![b'o'; len], &mut out);
        }
        out
    }

    fn body(&self) -> Vec<u8> {
        let mut random = self.seed | 1;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 24) as u8
        };
        let mut body = Vec::with_capacity(self.len + 4);
        while body.len() < self.len {
            match self.alphabet {
                Alphabet::Bytes => body.push(next()),
                Alphabet::Ascii => body.push(b'a' + next() % 26),
                Alphabet::Characters => {
                    let letter = ['a', 'é', '語', '🦀'][usize::from(next() % 4)];
                    body.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Alphabet::Markers => body.push(b"\r\n\0~ab"[usize::from(next() % 6)]),
            }
        }
        if !matches!(self.alphabet, Alphabet::Characters) {
            body.truncate(self.len);
        }
        body
    }
}

/// Lengths where something changes: WebSocket's two longer headers, and what crosses in one piece.
fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(0),
        4 => 1..20usize,
        2 => 120..131usize,
        2 => 250..260usize,
        2 => 1000..5000usize,
        2 => WHOLE - 24..WHOLE + 24,
        1 => 65_525..65_546usize,
        1 => 200_000..400_000usize,
    ]
}

pub fn sample() -> impl Strategy<Value = Sample> {
    let kind = prop_oneof![Just(Kind::Text), Just(Kind::Binary)];
    let alphabet = prop_oneof![
        2 => Just(Alphabet::Bytes),
        3 => Just(Alphabet::Ascii),
        2 => Just(Alphabet::Characters),
        1 => Just(Alphabet::Markers),
    ];
    let pieces =
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(prop_oneof![0..9usize, len()], 1..4)];
    let between = prop::option::weighted(0.5, prop_oneof![Just(0), Just(125), 1..125usize]);
    (kind, len(), any::<u64>(), alphabet, pieces, between).prop_map(
        |(kind, len, seed, alphabet, pieces, between)| Sample { kind, len, seed, alphabet, pieces, between },
    )
}

pub fn samples() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec(sample(), 1..8)
}

/// How a stream arrives: chunk sizes, repeated. Single bytes do not come alone, so that a long stream ends.
pub fn chunks() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1..5usize, 5..300usize, 300..20_000usize, 20_000..300_000usize];
    (prop::collection::vec(size, 0..5), 64..100_000usize).prop_map(|(mut sizes, last)| {
        sizes.push(last);
        sizes
    })
}

/// Any end but a raw one.
pub fn end() -> impl Strategy<Value = End> {
    let words: Vec<_> = WORDS.into_iter().filter(|word| *word != "raw").collect();
    prop_oneof![
        3 => any::<bool>().prop_map(|is_client| End::WebSocket { is_client }),
        4 => select(words).prop_map(End::from_word),
        1 => length_field().prop_map(End::Field),
        1 => markers(),
    ]
}

/// An end that takes whatever a byte stream is cut into.
pub fn end_for_pieces() -> impl Strategy<Value = End> {
    let words = vec!["raw", "u8", "u16be", "u16le", "u24be", "u32le", "u64be", "varint"];
    let field = length_field().prop_map(|field| {
        // The value counts more than the message, or as much.
        let adjustment = -(field.adjustment.abs() % 200);
        End::Field(LengthField { offset: 0, adjustment, keep_header: false, ..field })
    });
    prop_oneof![
        2 => any::<bool>().prop_map(|is_client| End::WebSocket { is_client }),
        2 => select(words).prop_map(End::from_word),
        1 => field,
    ]
}

/// A general length field.
pub fn length_field() -> impl Strategy<Value = LengthField> {
    let order = prop_oneof![Just(ByteOrder::Big), Just(ByteOrder::Little)];
    let adjustment = prop_oneof![Just(0), -12..=12i32, -300..=300i32];
    let longest = prop_oneof![3 => Just(u64::MAX), 1 => 300..100_000u64];
    let fields = (0..=9u8, 1..=8u8, order, adjustment, any::<bool>(), longest);
    fields.prop_map(|(offset, length, byte_order, adjustment, keep_header, max_frame_length)| {
        // Only a header that is kept can have something in front of the length.
        let offset = if keep_header { offset } else { 0 };
        // A field of one byte must reach past its adjustment.
        let adjustment = if length == 1 { adjustment.max(-12) } else { adjustment };
        LengthField { offset, length, byte_order, adjustment, keep_header, max_frame_length }
    })
}

/// Markers, also such that overlap themselves or each other.
fn markers() -> impl Strategy<Value = End> {
    let pairs: [(&[u8], &[u8]); 8] = [
        (b"~", b"~"),
        (b"", b"aa"),
        (b"", b"aba"),
        (b"ab", b"ab"),
        (b"\x02", b"\x03"),
        (b"\r\n", b"\n"),
        (b"a", b"\r\n\r\n"),
        (b"begin", b"the end of it, and no doubt about that"),
    ];
    select(pairs.to_vec()).prop_map(|(start, end)| End::Markers { start: start.into(), end: end.into() })
}

#[test]
fn the_tests_know_every_framing_word() {
    for word in WORDS {
        let end = End::from_word(word);
        let same = match &end {
            End::WebSocket { .. } => unreachable!("no word is a WebSocket"),
            End::Field(field) => Framing::length_field(*field).unwrap(),
            End::Varint => Framing::VARINT,
            End::Markers { start, end } => Framing::markers(start, end).unwrap(),
            End::Raw => Framing::RAW,
        };
        assert_eq!(Framing::from_word(word), Some(same), "{word}");
    }
}
