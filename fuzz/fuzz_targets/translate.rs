//! Any messages, from any end to any other: they arrive as they were, or are refused for a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse_fuzz::{End, Input, Message, Pipe, Refused, expected, frame};

/// More than anything that can be made of an input.
const MAX: u64 = 1 << 40;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (Some(from), Some(to)) = (input.end(), input.end()) else {
        return;
    };
    if from == End::Raw || to == End::Raw {
        return;
    }
    let kind = input.kind();
    let sizes = input.chunks();
    let (mut stream, mut messages) = (Vec::new(), Vec::new());
    while !input.is_empty() && stream.len() < 1 << 18 {
        let (kind, pieces, has_pings) = (input.kind(), input.pieces(), input.byte() % 2 == 1);
        let body = input.body();
        let payload = if matches!(from, End::Field(_)) { from.dress(body) } else { to.dress(body) };
        let kind = if std::str::from_utf8(&payload).is_ok() { kind } else { natpulse::wire::Kind::Binary };
        let mut between = Vec::new();
        if has_pings {
            frame(0x89, from == End::WebSocket { is_client: true }, b"still there?", &mut between);
        }
        if from.carries(&payload) {
            let message = Message { kind, payload };
            from.write(&message, &pieces, &between, &mut stream);
            messages.push(message);
        }
    }
    let expected = expected(&from, &to, kind, &messages);
    let mut pipe = Pipe::new(from.decoder(MAX), to.encoder(kind));
    let error = pipe.feed_in(&stream, &sizes).err().map(|error| Refused::from_error(&error));
    let arrived = to.read(&pipe.sent);
    assert_eq!(arrived.messages, expected.messages, "{from:?} to {to:?}");
    assert_eq!(error, expected.error, "{from:?} to {to:?}");
    assert!(error.is_some() || !arrived.is_cut && pipe.may_end());
    assert!(!arrived.is_cut || !pipe.encoder.is_between_messages());
});
