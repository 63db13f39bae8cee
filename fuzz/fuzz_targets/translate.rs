//! Any messages, and heartbeats between them, from any end to any other: they arrive as they were, or are refused
//! for a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse_fuzz::{End, Heard, Input, Message, Pipe, Refused, decoder, encoder, expected, frame, read};

/// More than anything that can be made of an input.
const MAX: u64 = 1 << 40;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (Some((from, theirs)), Some((to, ours))) = (input.end_with_beat(), input.end_with_beat()) else {
        return;
    };
    if from == End::Raw || to == End::Raw {
        return;
    }
    let (theirs, ours) = (theirs.as_ref(), ours.as_ref());
    let kind = input.kind();
    let sizes = input.chunks();
    let (mut stream, mut messages, mut beats) = (Vec::new(), Vec::new(), 0);
    while !input.is_empty() && stream.len() < 1 << 18 {
        let (kind, pieces, flags) = (input.kind(), input.pieces(), input.byte());
        let body = input.body();
        let payload = if matches!(from, End::Field(_)) { from.dress(body) } else { to.dress(body) };
        let kind = if std::str::from_utf8(&payload).is_ok() { kind } else { natpulse::wire::Kind::Binary };
        let mut between = Vec::new();
        if flags & 1 == 1 {
            frame(0x89, from == End::WebSocket { is_client: true }, b"still there?", &mut between);
        }
        if let Some(own) = theirs.filter(|_| flags & 2 == 2) {
            own.write(&from, &pieces, &between, &mut stream);
            beats += 1;
        }
        let message = Message { kind, payload };
        if from.carries(&message.payload) && !theirs.is_some_and(|own| own.hides(&from, &message)) {
            from.write(&message, &pieces, &between, &mut stream);
            messages.push(message);
        }
    }
    let mut expected = expected(&from, &to, kind, &messages);
    if let Some(own) = ours {
        expected = own.limit(&to, expected);
    }
    let mut pipe = Pipe::new(decoder(&from, theirs, MAX), encoder(&to, ours, kind));
    let error = pipe.feed_in(&stream, &sizes).err().map(|error| Refused::from_error(&error));
    // Messages that are the same as what the other end calls a beat are not told apart here.
    let ours = ours.filter(|own| own.is_bare);
    let (arrived, mistaken) = read(&to, ours, &pipe.sent);
    assert_eq!(arrived.messages, expected.messages, "{from:?} to {to:?}");
    assert_eq!(error, expected.error, "{from:?} to {to:?}");
    assert_eq!(mistaken, 0, "{from:?} to {to:?}");
    assert!(error.is_some() || !arrived.is_cut && pipe.may_end());
    assert!(!arrived.is_cut || !pipe.encoder.is_between_messages());
    let heard = pipe.heard.iter().filter(|heard| **heard == Heard::Beat).count();
    assert!(heard == beats || error.is_some() && heard < beats, "{from:?} to {to:?}");
});
