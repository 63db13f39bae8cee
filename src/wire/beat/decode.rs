//! What an end with a beat sent: beats told from messages.

use std::sync::Arc;

use super::{Beat, Guard};
use crate::wire::{self, Batch, Input, Kind, Part, Stop, Tally, Until, WireError, run, websocket};

/// A decoder, and what finds beats among the messages that it finds.
#[derive(Debug)]
pub struct Decoder {
    decoder: wire::Decoder,
    finder: Finder,
}

/// Tells beats from messages.
#[derive(Debug)]
pub(crate) struct Finder {
    beat: Arc<Beat>,
    arriving: Arriving,
    /// What the peer called its latest message that was no beat.
    last_kind: Option<Kind>,
}

/// What is known about the message that is arriving, or will be the next.
#[derive(Clone, Copy, Debug)]
enum Arriving {
    /// So far, with so many bytes, it is how a beat begins; they are withheld.
    LikeBeat(usize),
    /// It is a message.
    Message,
}

/// What part of a message turns out to be.
pub(crate) enum Look {
    /// The end of a beat.
    Beat,
    /// Withheld until the rest of it has come.
    Unclear,
    /// Part of a message.
    Message,
    /// Part of a message of which so many bytes were withheld before.
    MessageAfter(usize),
}

impl Decoder {
    pub(crate) fn new(decoder: wire::Decoder, beat: Arc<Beat>) -> Self {
        Decoder { decoder, finder: Finder { beat, arriving: Arriving::LikeBeat(0), last_kind: None } }
    }

    pub(crate) fn parts(&mut self) -> (&mut wire::Decoder, &mut Finder) {
        (&mut self.decoder, &mut self.finder)
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.decoder.is_between_messages()
    }

    pub(crate) fn last_kind(&self) -> Option<Kind> {
        self.finder.last_kind
    }
}

impl Finder {
    /// Looks for bare bytes in front of a record: a beat, or too few of them to tell.
    #[cold]
    pub(crate) fn look_between(&self, decoder: &wire::Decoder, input: &mut Input<'_>) -> Option<Stop> {
        if !self.beat.is_bare() || !decoder.is_between_messages() {
            return None;
        }
        let magic = &self.beat.expect;
        if input.rest().starts_with(magic) {
            input.at += magic.len();
            return Some(Stop::Beat);
        }
        magic.starts_with(input.rest()).then_some(Stop::Dry)
    }

    /// Looks at the next part of a message.
    #[cold]
    pub(crate) fn look_at(&mut self, part: &Part, input: &Input<'_>) -> Look {
        let mut withheld = 0;
        if let Arriving::LikeBeat(before) = self.arriving
            && !self.beat.is_bare()
        {
            withheld = before;
            let missing = &self.beat.expect[withheld..];
            let payload = &input.bytes[part.payload.clone()];
            if part.last && payload == missing {
                self.arriving = Arriving::LikeBeat(0);
                return Look::Beat;
            }
            // Only a fragment does not know the whole length; a record as short as a beat comes whole.
            if !part.last && part.total.is_none() && missing.starts_with(payload) {
                self.arriving = Arriving::LikeBeat(withheld + payload.len());
                return Look::Unclear;
            }
        }
        self.last_kind = part.kind;
        self.arriving = if part.last { Arriving::LikeBeat(0) } else { Arriving::Message };
        match withheld {
            0 => Look::Message,
            _ => Look::MessageAfter(withheld),
        }
    }

    /// Writes the part of a message that was withheld, which was the first one, as if it came only now.
    #[cold]
    pub(crate) fn release(
        &self,
        withheld: usize,
        kind: Option<Kind>,
        encoder: (&mut wire::Encoder, Option<&mut Guard>),
        out: &mut Batch,
        tally: &mut Tally,
    ) -> Result<(), WireError> {
        // The batch must hold a copy of it, since it stands in no input any more.
        const { assert!(Beat::MAX <= Batch::COPY) };
        let kind = kind.unwrap_or(Kind::Binary);
        let mut fragment = websocket::data_frame(kind, false, &self.beat.expect[..withheld]);
        let mut decoder = wire::Decoder::WebSocket(websocket::Decoder::new(false, u64::MAX));
        run((&mut decoder, None), encoder, &mut Input::new(&mut fragment), out, tally, Until::Dry)?;
        Ok(())
    }
}
