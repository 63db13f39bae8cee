//! The hot path: what one end sent, translated and sent to the other, in one read and one write.

use std::cell::RefCell;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::side::Side;
use crate::wire::websocket::{CloseFrame, Control};
use crate::wire::{Batch, Input, Stop, Tally, Until, WHOLE, WireError, translate};

/// What came of one attempt to move bytes from one end to the other.
#[derive(Debug)]
pub(super) enum Relayed {
    /// The source has nothing, or the destination takes nothing; the task will be woken.
    Nothing,
    /// Something moved: try again.
    Something,
    /// The source's stream has ended.
    Eof,
    /// The message has ended that was to be the destination's last one.
    LastMessage,
    /// The source sent a close frame.
    Close(CloseFrame),
    /// The source broke a rule.
    Refused(WireError),
    /// Reading from the source failed.
    ReadFailed,
}

/// Bytes read at once. With 4 MiB messages, medians of 3 and 5 runs: 512 KiB cost 7% less CPU than 256 KiB, and
/// 1 MiB 3% less than that, for twice the memory held for a peer that stops reading.
const READ: usize = 512 * 1024;
/// Bytes read at once for a peer that takes them slowly: what it has not taken is held by the session.
const READ_CONGESTED: usize = 64 * 1024;

/// Where in its buffer input begins. The allocator places a buffer of this size 16 bytes into a page, and a stream's
/// first bytes lie in the first hundreds of a page of the kernel's, too. Where a copy's destination lies 1 to 15 bytes
/// past its source, modulo the page of 4,096 bytes, AMD's `rep movsb`, with which the kernel copies, is 14 times
/// slower (measured: 152 us instead of 11 for 512 KiB). From here on, such a source is a quarter of a page away: 4 MiB
/// messages cost 0.93 of the floor's CPU instead of 1.05 (medians of 9; 112 and 192 bytes did as well, 48 less).
const HEAD: usize = 1008;

/// Buffers that every session of a thread uses in turn, so that an idle session needs none.
struct Scratch {
    input: Vec<u8>,
    batch: Batch,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; HEAD + READ + 2 * WHOLE],
        batch: Batch::default(),
    });
}

/// Moves what `source` has sent to `destination`, which must have no backlog. What of it has crossed is
/// counted once for all messages that came at once.
pub(super) fn relay(
    source: &mut Side,
    destination: &mut Side,
    cx: &mut Context<'_>,
    count: impl FnOnce(&Tally),
) -> Relayed {
    SCRATCH.with_borrow_mut(|scratch| {
        let space = &mut scratch.input[HEAD..];
        let kept = source.unread.len();
        space[..kept].copy_from_slice(&source.unread);
        let mut filled = kept;
        if !source.unread_is_fresh {
            let most = if destination.congested { READ_CONGESTED } else { READ };
            let mut buf = ReadBuf::new(&mut space[..kept + most]);
            buf.set_filled(kept);
            match source.poll_read(cx, &mut buf) {
                // A WebSocket says itself when it is done, a stream with TLS must.
                Poll::Ready(Ok(0)) if source.role.is_none() && source.stream.was_cut_short() => {
                    return Relayed::ReadFailed;
                }
                Poll::Ready(Ok(0)) => return Relayed::Eof,
                Poll::Ready(Ok(read)) => filled += read,
                Poll::Ready(Err(_)) => return Relayed::ReadFailed,
                Poll::Pending => return Relayed::Nothing,
            }
        }
        let mut input = Input::new(&mut space[..filled]);
        let mut tally = Tally::after(source.unfinished);
        let relayed = convert(source, destination, &mut input, &mut scratch.batch, cx, &mut tally);
        source.unfinished = tally.unfinished;
        count(&tally);
        scratch.batch.clear();
        let rest = input.rest();
        // Reuse the allocation while it is needed; an idle session has none.
        if rest.is_empty() || source.unread.capacity() > 2 * WHOLE {
            source.unread = rest.to_vec();
        } else {
            source.unread.clear();
            source.unread.extend_from_slice(rest);
        }
        relayed
    })
}

fn convert(
    source: &mut Side,
    destination: &mut Side,
    input: &mut Input<'_>,
    batch: &mut Batch,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Relayed {
    loop {
        let until = if destination.ends_after_message { Until::MessageEnd } else { Until::Dry };
        let stop = translate(&mut source.decoder, &mut destination.encoder, input, batch, tally, until);
        if let Ok(Stop::Control(Control::Ping(payload))) = stop {
            source.pong(&input.bytes[payload]);
            continue;
        }
        if let Ok(Stop::Control(Control::Pong(payload))) = stop {
            source.on_pong(&input.bytes[payload]);
            continue;
        }
        if let Ok(Stop::Beat) = stop {
            source.on_beat();
            continue;
        }
        if destination.send(cx, batch, input.bytes).is_err() {
            // What the peer said before it stopped listening may still be on its way to us.
            destination.output_failed();
        }
        batch.clear();
        source.unread_is_fresh = matches!(stop, Ok(Stop::Full | Stop::Message));
        return match stop {
            Err(error) => Relayed::Refused(error),
            Ok(Stop::Full) if destination.congested => Relayed::Something,
            Ok(Stop::Full) => continue,
            Ok(Stop::Message) => Relayed::LastMessage,
            Ok(Stop::Dry) => Relayed::Something,
            Ok(Stop::Control(Control::Close(payload))) => match CloseFrame::parse(&input.bytes[payload]) {
                Ok(close) => Relayed::Close(close),
                Err(error) => Relayed::Refused(error),
            },
            Ok(Stop::Beat | Stop::Control(Control::Ping(_) | Control::Pong(_))) => {
                unreachable!("answered above")
            }
        };
    }
}
