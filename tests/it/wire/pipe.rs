//! Drives `translate` the way a session does, without sockets.

use std::io::IoSlice;

use natpulse::wire::websocket::Control;
use natpulse::wire::{Batch, Decoder, Encoder, Input, Stop, Tally, Until, WHOLE, WireError, translate};

/// What a peer said between its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// A heartbeat of its own protocol.
    Beat,
}

/// One direction of a session.
pub struct Pipe {
    pub decoder: Decoder,
    pub encoder: Encoder,
    /// What has been read and not decoded.
    pub unread: Vec<u8>,
    /// Everything that has been sent, unless somebody took it away.
    pub sent: Vec<u8>,
    pub heard: Vec<Heard>,
    pub tally: Tally,
    /// Most bytes that were ever in one batch.
    pub largest_batch: usize,
    batch: Batch,
    writes: usize,
}

impl Pipe {
    pub fn new(decoder: Decoder, encoder: Encoder) -> Pipe {
        Pipe {
            decoder,
            encoder,
            unread: Vec::new(),
            sent: Vec::new(),
            heard: Vec::new(),
            tally: Tally::default(),
            largest_batch: 0,
            batch: Batch::default(),
            writes: 0,
        }
    }

    /// Gives the pipe the next bytes of the stream.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        self.unread.extend_from_slice(chunk);
        loop {
            let mut bytes = std::mem::take(&mut self.unread);
            let mut input = Input::new(&mut bytes);
            let stop = self.convert(&mut input);
            self.unread = input.rest().to_vec();
            match stop? {
                Stop::Dry => break,
                Stop::Full | Stop::Message => {}
                Stop::Beat | Stop::Control(_) => unreachable!("convert notes them"),
            }
        }
        let kept = self.unread.len();
        assert!(kept <= WHOLE + 16, "{kept} bytes are kept of a message that could have been passed on");
        Ok(())
    }

    /// Gives the pipe a stream in chunks of these sizes, over and over.
    pub fn feed_in(&mut self, mut stream: &[u8], sizes: &[usize]) -> Result<(), WireError> {
        for size in sizes.iter().cycle() {
            let (chunk, rest) = stream.split_at((*size).clamp(1, stream.len().max(1)).min(stream.len()));
            self.feed(chunk)?;
            stream = rest;
            if stream.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the stream could end here without cutting a message.
    pub fn may_end(&self) -> bool {
        self.decoder.is_between_messages() && self.unread.is_empty()
    }

    /// Every second time that the batch is full, the rest of the input waits for the next call, as it does
    /// when the peer takes nothing more for now.
    fn convert(&mut self, input: &mut Input<'_>) -> Result<Stop, WireError> {
        loop {
            // Where it stops must change nothing.
            let until = if self.tally.messages() % 3 == 2 { Until::MessageEnd } else { Until::Dry };
            let stop = translate(
                &mut self.decoder,
                &mut self.encoder,
                input,
                &mut self.batch,
                &mut self.tally,
                until,
            );
            if let Ok(Stop::Beat) = stop {
                self.heard.push(Heard::Beat);
                continue;
            }
            if let Ok(Stop::Control(control)) = stop {
                self.heard.push(match control {
                    Control::Ping(at) => Heard::Ping(input.bytes[at].to_vec()),
                    Control::Pong(at) => Heard::Pong(input.bytes[at].to_vec()),
                    Control::Close(at) => {
                        // The last word of a WebSocket peer: a session does not listen any more.
                        self.decoder = Decoder::Deaf;
                        Heard::Close(input.bytes[at].to_vec())
                    }
                });
                continue;
            }
            self.send(input.bytes);
            if !matches!(stop, Ok(Stop::Full)) || self.writes.is_multiple_of(2) {
                return stop;
            }
        }
    }

    /// Takes the batch out both ways, as one write that takes everything and as one that falls short: they
    /// must agree.
    fn send(&mut self, input: &[u8]) {
        self.writes += 1;
        self.largest_batch = self.largest_batch.max(self.batch.len());
        let start = self.sent.len();
        // As many as a session gives the kernel.
        let mut slices = [IoSlice::new(&[]); 64];
        let count = self.batch.io_slices(input, &mut slices);
        for slice in &slices[..count] {
            self.sent.extend_from_slice(slice);
        }
        let sent = &self.sent[start..];
        assert_eq!(sent.len(), self.batch.len(), "the batch is not what its slices hold");
        let short = self.writes.wrapping_mul(7919) % (sent.len() + 1);
        let mut unsent = Vec::new();
        self.batch.copy_unsent(input, short, &mut unsent);
        assert!(unsent == sent[short..], "a write that stops after {short} bytes loses its place");
        self.batch.clear();
    }
}
