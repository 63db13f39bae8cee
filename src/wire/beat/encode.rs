//! What an end with a beat is sent: beats, and records that are none.

use std::sync::Arc;

use super::{Beat, Form};
use crate::wire::batch::Mark;
use crate::wire::{self, Batch, Input, Part, WireError};

/// An encoder, and what keeps its records from being taken for beats.
#[derive(Debug)]
pub struct Encoder {
    encoder: wire::Encoder,
    guard: Guard,
}

/// Refuses records that the peer would take for a bare beat.
#[derive(Debug)]
pub(crate) struct Guard {
    beat: Arc<Beat>,
    written: Written,
    /// Where the output began that is checked next.
    mark: Mark,
}

/// What is known about the record that is being written, or will be the next.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// So far, with so many bytes, it is how a bare beat begins.
    LikeBeat(usize),
    /// The peer cannot take it for a beat.
    Record,
    /// It was refused when some of it had gone; it will not be finished.
    Refused,
}

impl Encoder {
    pub(crate) fn new(encoder: wire::Encoder, beat: Arc<Beat>) -> Self {
        Encoder { encoder, guard: Guard { beat, written: Written::LikeBeat(0), mark: Mark::default() } }
    }

    pub(crate) fn parts(&mut self) -> (&mut wire::Encoder, &mut Guard) {
        (&mut self.encoder, &mut self.guard)
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        !matches!(self.guard.written, Written::Refused) && self.encoder.is_between_messages()
    }

    pub(crate) fn beat(&self, out: &mut Vec<u8>) {
        let beat = &self.guard.beat;
        match (&self.encoder, beat.form) {
            (wire::Encoder::WebSocket(encoder), Form::Message(kind)) => {
                encoder.message(kind, &beat.send, out);
            }
            _ => out.extend_from_slice(&beat.send),
        }
    }
}

impl Guard {
    /// The length of the records that begin like a beat; 0 for none.
    pub(crate) fn avoid(&self) -> usize {
        match self.beat.form {
            Form::Bare { reads_as } => usize::try_from(reads_as).unwrap_or(0),
            Form::Record | Form::Message(_) => 0,
        }
    }

    /// Remembers where the output of the next part will begin.
    #[cold]
    pub(crate) fn before(&mut self, out: &Batch) {
        self.mark = out.mark();
    }

    /// Checks what was written for `part`. What would complete a beat is taken back.
    #[cold]
    pub(crate) fn after(&mut self, part: &Part, input: &Input<'_>, out: &mut Batch) -> Result<(), WireError> {
        if !self.beat.is_bare() {
            return Ok(());
        }
        if let Written::LikeBeat(before) = self.written {
            let missing = &self.beat.send[before..];
            let added = out.len() - self.mark.len;
            let same =
                missing.iter().zip(out.since(self.mark, input.bytes)).take_while(|(a, b)| a == b).count();
            if same == missing.len() {
                out.take_back(self.mark);
                self.written = if before == 0 { Written::LikeBeat(0) } else { Written::Refused };
                return Err(WireError::Unframeable(
                    "a message whose record begins with the bytes that the other end takes for a heartbeat"
                        .into(),
                ));
            }
            self.written = if same == added { Written::LikeBeat(before + same) } else { Written::Record };
        }
        if part.last {
            self.written = Written::LikeBeat(0);
        }
        Ok(())
    }
}
