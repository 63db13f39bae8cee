//! Messages cross from any end to any other unchanged, in order, however the stream is cut; what the other
//! end cannot carry is refused, and what came before it has crossed.

use natpulse::wire::{Batch, Input, Kind, Stop, Tally, Until, translate};
use proptest::prelude::*;

use super::end::{End, Message};
use super::oracle::{Refused, expected};
use super::pipe::{Heard, Pipe};
use super::samples::{MAX, Sample, chunks, end, end_for_pieces, properties, samples};

/// Writes those samples that `from` can send; returns the stream, the messages in it, and the control
/// frames among them.
fn write(from: &End, to: &End, samples: &[Sample]) -> (Vec<u8>, Vec<Message>, Vec<Heard>) {
    let (mut stream, mut messages, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    for sample in samples {
        let message = sample.message(from, to);
        if !from.carries(&message.payload) {
            continue;
        }
        match from {
            End::WebSocket { is_client } => {
                let between = sample.between(*is_client);
                from.write(&message, &sample.pieces, &between, &mut stream);
                for (_, len) in sample.pieces.iter().zip(std::iter::repeat(sample.between)) {
                    if let Some(len) = len {
                        heard.extend([Heard::Ping(vec![b'i'; len]), Heard::Pong(vec![b'o'; len])]);
                    }
                }
            }
            _ => from.write(&message, &[], &[], &mut stream),
        }
        messages.push(message);
    }
    (stream, messages, heard)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Binary), 1 => Just(Kind::Text)]
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn messages_cross_unchanged_between_any_two_ends(
        from in end(), to in end(), samples in samples(), sizes in chunks(), kind in kind(),
    ) {
        let (stream, messages, heard) = write(&from, &to, &samples);
        let expected = expected(&from, &to, kind, &messages);
        let mut pipe = Pipe::new(from.decoder(MAX), to.encoder(kind));
        let result = pipe.feed_in(&stream, &sizes);
        let error = result.err().map(|error| Refused::from_error(&error));
        let arrived = to.read(&pipe.sent);
        prop_assert_eq!(&arrived.messages, &expected.messages);
        prop_assert_eq!(&error, &expected.error);
        // A message that was refused may have begun, but it never looks complete.
        prop_assert!(error.is_some() || !arrived.is_cut);
        prop_assert_eq!(pipe.tally.messages(), expected.messages.len() as u64);
        if error.is_none() {
            prop_assert!(pipe.may_end() && pipe.encoder.is_between_messages());
            prop_assert_eq!(pipe.heard, heard);
            let bytes = messages.iter().map(|message| message.payload.len() as u64).sum::<u64>();
            prop_assert_eq!(pipe.tally.bytes, bytes);
        } else {
            prop_assert!(heard.starts_with(&pipe.heard));
            // Who is cut off must be able to tell, or be told by a reset.
            prop_assert!(!arrived.is_cut || !pipe.encoder.is_between_messages());
        }
    }

    #[test]
    fn a_byte_stream_crosses_complete_in_whatever_pieces(
        to in end_for_pieces(), samples in samples(), sizes in chunks(), is_text in any::<bool>(),
    ) {
        let is_websocket = matches!(to, End::WebSocket { .. });
        let stream: Vec<u8> = samples.iter().flat_map(|s| s.message(&End::Raw, &End::Raw).payload).collect();
        let kind = match is_text && std::str::from_utf8(&stream).is_ok() {
            true => Kind::Text,
            false => Kind::Binary,
        };
        let mut pipe = Pipe::new(End::Raw.decoder(MAX), to.encoder(kind));
        prop_assert_eq!(pipe.feed_in(&stream, &sizes), Ok(()));
        let arrived = to.read(&pipe.sent);
        prop_assert!(!arrived.is_cut && pipe.unread.is_empty());
        let joined: Vec<u8> = arrived.messages.iter().flat_map(|m| m.payload.iter().copied()).collect();
        prop_assert!(joined == stream);
        for message in &arrived.messages {
            prop_assert!(!message.payload.is_empty());
            // A text message is a text of its own.
            let is_text = is_websocket && kind == Kind::Text;
            prop_assert!(!is_text || std::str::from_utf8(&message.payload).is_ok());
        }
    }

    #[test]
    fn a_byte_stream_is_what_messages_hold_one_behind_the_other(
        from in end(), samples in samples(), sizes in chunks(),
    ) {
        let (stream, messages, _) = write(&from, &End::Raw, &samples);
        let mut pipe = Pipe::new(from.decoder(MAX), End::Raw.encoder(Kind::Binary));
        prop_assert_eq!(pipe.feed_in(&stream, &sizes), Ok(()));
        let joined: Vec<u8> = messages.into_iter().flat_map(|message| message.payload).collect();
        prop_assert!(pipe.sent == joined);
    }
}

#[test]
fn nothing_follows_the_message_that_was_to_be_the_last() {
    let (record, client) = (End::from_word("u32be"), End::WebSocket { is_client: true });
    let (mut decoder, mut encoder) = (record.decoder(MAX), client.encoder(Kind::Binary));
    let (mut batch, mut tally) = (Batch::default(), Tally::default());
    let long = [&[0, 1, 0, 0][..], &[b'x'; 0x8000]].concat();
    let mut rest = [&[b'x'; 0x8000][..], b"\0\0\0\x05later"].concat();
    let mut step = |bytes: &mut [u8]| {
        let mut input = Input::new(bytes);
        let stop =
            translate(&mut decoder, &mut encoder, &mut input, &mut batch, &mut tally, Until::MessageEnd);
        batch.clear();
        (stop.unwrap(), input.rest().to_vec())
    };
    // A piece of it is not its end.
    assert!(matches!(step(&mut long.clone()), (Stop::Dry, rest) if rest.is_empty()));
    let (stop, later) = step(&mut rest);
    assert!(matches!(stop, Stop::Message) && later == b"\0\0\0\x05later");
    assert!(encoder.is_between_messages());
    assert_eq!(tally.messages(), 1);
}
