//! What holds for any sequence of messages and heartbeats, and for any heartbeat: each is heard once, and the
//! messages cross as if there were none.

use natpulse::wire::{Decoder, Kind};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::beat::{OwnBeat, decoder, encoder, read};
use super::end::{End, Message};
use super::oracle::{Refused, expected};
use super::pipe::{Heard, Pipe};
use super::samples::{MAX, Sample, chunks, end, end_for_pieces, properties, samples};

const CLIENT: End = End::WebSocket { is_client: true };

/// Where the bytes of a beat come from: from anywhere, or from a message that could be taken for it.
#[derive(Clone, Debug)]
enum Bytes {
    Given(Vec<u8>),
    Of(Index, usize),
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let known: [&[u8]; 8] =
        [b"\xab\xcd\0\0", b"heart", b"\0", b"\0\0\0\0", b"\r\n", b"~", b"ab", b"\xff\xff\xff"];
    prop_oneof![
        2 => select(known.to_vec()).prop_map(|bytes| Bytes::Given(bytes.into())),
        2 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Bytes::Given),
        4 => (any::<Index>(), 1..20usize).prop_map(|(sample, len)| Bytes::Of(sample, len)),
    ]
}

impl Bytes {
    fn of(&self, end: &End, is_bare: bool, samples: &[Sample]) -> Vec<u8> {
        let mut bytes = match self {
            Bytes::Given(bytes) => bytes.clone(),
            Bytes::Of(sample, _) if is_bare => {
                let message = sample.get(samples).message(end, end);
                let mut record = Vec::new();
                if end.carries(&message.payload) {
                    end.write(&message, &[], &[], &mut record);
                }
                record
            }
            Bytes::Of(sample, _) => sample.get(samples).message(&CLIENT, &CLIENT).payload,
        };
        if let Bytes::Of(_, len) = self {
            bytes.truncate(*len);
        }
        if is_bare { bytes } else { end.dress(bytes) }
    }
}

/// A heartbeat that may not be possible.
fn own_beat(end: &End, is_bare: bool, send: &Bytes, expect: &Bytes, samples: &[Sample]) -> Option<OwnBeat> {
    let is_bare = is_bare && !matches!(end, End::WebSocket { .. });
    let (send, expect) = (send.of(end, is_bare, samples), expect.of(end, is_bare, samples));
    let own = OwnBeat { is_bare, send, expect };
    own.on(end).is_ok().then_some(own)
}

/// The control frames among the pieces of what is written for a sample.
fn heard_between(from: &End, sample: &Sample) -> Vec<Heard> {
    let pings = sample.between.filter(|_| matches!(from, End::WebSocket { .. }));
    let pair = pings.map(|len| [Heard::Ping(vec![b'i'; len]), Heard::Pong(vec![b'o'; len])]);
    sample.pieces.iter().flat_map(|_| pair.clone()).flatten().collect()
}

proptest! {
    #![proptest_config(properties())]

    /// Each of the two ends has a beat, where the one that was made up is possible.
    #[test]
    fn messages_and_beats_cross_in_order_between_any_two_ends(
        from in end(), to in end(), samples in samples(), sizes in chunks(), is_text in any::<bool>(),
        bare in any::<(bool, bool)>(), bytes in prop::array::uniform4(bytes()),
        counts in prop::collection::vec(0..3usize, 8),
    ) {
        let [a, b, c, d] = &bytes;
        let theirs = own_beat(&from, bare.0, a, b, &samples);
        let ours = own_beat(&to, bare.1, c, d, &samples);
        let kind = if is_text { Kind::Text } else { Kind::Binary };
        let (mut stream, mut messages, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, count) in samples.iter().zip(counts) {
            let between = sample.between(from == CLIENT);
            for own in theirs.iter().flat_map(|own| std::iter::repeat_n(own, count)) {
                own.write(&from, &sample.pieces, &between, &mut stream);
                heard.extend(heard_between(&from, sample));
                heard.push(Heard::Beat);
            }
            let message = sample.message(&from, &to);
            if !from.carries(&message.payload) || theirs.as_ref().is_some_and(|own| own.hides(&from, &message)) {
                continue;
            }
            from.write(&message, &sample.pieces, &between, &mut stream);
            heard.extend(heard_between(&from, sample));
            messages.push(message);
        }
        let expected = expected(&from, &to, kind, &messages);
        let expected = match &ours {
            Some(own) => own.limit(&to, expected),
            None => expected,
        };
        let mut pipe =
            Pipe::new(decoder(&from, theirs.as_ref(), MAX), encoder(&to, ours.as_ref(), kind));
        let (mut error, mut written, mut rest) = (None, 0, &stream[..]);
        for size in sizes.iter().cycle() {
            if rest.is_empty() || error.is_some() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            error = pipe.feed(chunk).err().map(|error| Refused::from_error(&error));
            rest = after;
            if ours.is_some() && pipe.encoder.is_between_messages() {
                pipe.encoder.beat(&mut pipe.sent);
                written += 1;
            }
        }
        prop_assert_eq!(&error, &expected.error);
        prop_assert_eq!(pipe.tally.messages(), expected.messages.len() as u64);
        let (arrived, beats) = read(&to, ours.as_ref(), &pipe.sent);
        // A message may be the same as a beat; only its sender knows which it is.
        let is_beat = |message: &Message| {
            ours.as_ref().is_some_and(|own| own.is_message(&to) && message.payload == own.send)
        };
        let (same, others): (Vec<_>, Vec<_>) = expected.messages.into_iter().partition(is_beat);
        prop_assert_eq!(arrived.messages, others);
        prop_assert_eq!(beats, written + same.len());
        prop_assert!(!arrived.is_cut || !pipe.encoder.is_between_messages());
        if error.is_none() {
            prop_assert_eq!(&pipe.heard, &heard);
            prop_assert!(pipe.may_end() && pipe.encoder.is_between_messages());
            let bytes = messages.iter().map(|message| message.payload.len() as u64).sum::<u64>();
            prop_assert_eq!(pipe.tally.bytes, bytes);
        } else {
            prop_assert!(heard.starts_with(&pipe.heard));
        }
    }

    #[test]
    fn a_byte_stream_crosses_to_an_end_with_a_beat_that_no_piece_is_taken_for(
        to in end_for_pieces(), samples in samples(), sizes in chunks(), bytes in bytes(),
    ) {
        let beat = own_beat(&to, true, &bytes, &bytes, &samples);
        let stream: Vec<u8> = samples.iter().flat_map(|s| s.message(&End::Raw, &End::Raw).payload).collect();
        let mut pipe = Pipe::new(Decoder::Raw, encoder(&to, beat.as_ref(), Kind::Binary));
        prop_assert_eq!(pipe.feed_in(&stream, &sizes), Ok(()));
        prop_assert!(pipe.unread.is_empty());
        let (arrived, beats) = read(&to, beat.as_ref(), &pipe.sent);
        if matches!(to, End::WebSocket { .. }) {
            // Where a beat is a message, a piece may be the same.
            return Ok(());
        }
        prop_assert!(arrived.messages.into_iter().flat_map(|message| message.payload).eq(stream));
        prop_assert_eq!(beats, 0);
    }

    /// Bytes that are mostly beats and what looks like them.
    #[test]
    fn chunks_decide_nothing_about_beats(
        from in end(), bytes in bytes(), is_bare in any::<bool>(), samples in samples(),
        picks in prop::collection::vec((any::<bool>(), any::<Index>(), 0..4usize), 1..200), size in 1..50usize,
    ) {
        let Some(own) = own_beat(&from, is_bare, &bytes, &bytes, &samples) else {
            return Ok(());
        };
        let mut whole = Vec::new();
        own.write(&from, &[1, 2], &[], &mut whole);
        let mut stream = Vec::new();
        for (is_whole, at, len) in picks {
            let at = if is_whole { 0 } else { at.index(whole.len()) };
            let end = if is_whole { whole.len() } else { whole.len().min(at + len) };
            stream.extend_from_slice(&whole[at..end]);
        }
        let see = |size: usize| {
            let mut pipe = Pipe::new(decoder(&from, Some(&own), 1 << 20), CLIENT.encoder(Kind::Binary));
            let is_refused = pipe.feed_in(&stream, &[size]).is_err();
            (is_refused, CLIENT.read(&pipe.sent).messages, pipe.heard.clone(), is_refused || pipe.may_end())
        };
        prop_assert_eq!(see(size), see(stream.len().max(1)));
    }
}
