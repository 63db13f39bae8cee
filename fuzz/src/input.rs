//! Reads ends, chunk sizes and streams out of any bytes. The format is made to be written by hand, for the
//! corpus: one byte says which, and what it needs follows.

use natpulse::wire::{ByteOrder, Framing, Kind, LengthField, WHOLE, WORDS};

use crate::{End, OwnBeat};

/// The rest of the fuzzer's input; behind its end there are zeros.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn short(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// `C` and `S` are WebSocket clients and servers, `a` and on are the framing words in their order, `F` is
    /// a length field and `M` a pair of markers. `None` is what [`Framing`] refuses.
    pub fn end(&mut self) -> Option<End> {
        match self.byte() {
            b'C' => Some(End::WebSocket { is_client: true }),
            b'S' => Some(End::WebSocket { is_client: false }),
            b'F' => self.length_field(),
            b'M' => {
                let (start, end) = (usize::from(self.byte()), usize::from(self.byte()));
                let (start, end) = (self.bytes(start).to_vec(), self.bytes(end).to_vec());
                let is_valid = Framing::markers(&start, &end).is_ok();
                is_valid.then_some(End::Markers { start, end })
            }
            word => {
                let index = usize::from(word.wrapping_sub(b'a')) % WORDS.len();
                Some(End::from_word(WORDS[index]))
            }
        }
    }

    /// `B` is an end with a heartbeat: flags, what it is sent, what it sends, and the end. If it is a message, it
    /// is given the header that the end wants. `None` is what [`natpulse::wire::Beat`] refuses.
    pub fn end_with_beat(&mut self) -> Option<(End, Option<OwnBeat>)> {
        if self.0.first() != Some(&b'B') {
            return Some((self.end()?, None));
        }
        self.byte();
        let (is_bare, is_same) = (self.byte() & 1 == 1, self.byte() & 1 == 1);
        let mut beat = || {
            let len = usize::from(self.byte());
            self.bytes(len).to_vec()
        };
        let send = beat();
        let expect = if is_same { send.clone() } else { beat() };
        let end = self.end()?;
        let is_bare = is_bare && !matches!(end, End::WebSocket { .. });
        let dress = |bytes| if is_bare { bytes } else { end.dress(bytes) };
        let own = OwnBeat { is_bare, send: dress(send), expect: dress(expect) };
        own.on(&end).is_ok().then_some((end, Some(own)))
    }

    fn length_field(&mut self) -> Option<End> {
        let flags = self.byte();
        let field = LengthField {
            offset: self.byte(),
            length: self.byte(),
            byte_order: if flags & 1 == 0 { ByteOrder::Big } else { ByteOrder::Little },
            // Mostly small ones, of both signs.
            adjustment: i32::from(self.byte() as i8) << (flags >> 4),
            keep_header: flags & 2 != 0,
            max_frame_length: if flags & 4 == 0 { u64::MAX } else { self.short() as u64 },
        };
        Framing::length_field(field).is_ok().then_some(End::Field(field))
    }

    pub fn kind(&mut self) -> Kind {
        if self.byte().is_multiple_of(2) { Kind::Binary } else { Kind::Text }
    }

    /// Chunk sizes, at least one. Now and then comes a long chunk, or short ones would take a long stream too
    /// much time.
    pub fn chunks(&mut self) -> Vec<usize> {
        let count = self.byte() % 4;
        let sizes: Vec<_> = (0..=count).map(|_| 1 + self.short()).collect();
        let mut sizes = sizes.repeat(64);
        sizes.push(WHOLE / 2);
        sizes
    }

    /// Where a WebSocket cuts a message into frames.
    pub fn pieces(&mut self) -> Vec<usize> {
        let count = self.byte() % 4;
        (0..count).map(|_| usize::from(self.byte())).collect()
    }

    /// The payload of a message: some bytes, and some more of the last one. Long messages are made of short
    /// inputs that way.
    pub fn body(&mut self) -> Vec<u8> {
        let (given, more) = (usize::from(self.byte()), self.short());
        let mut body = self.bytes(given).to_vec();
        body.resize(body.len() + more, body.last().copied().unwrap_or(b'x'));
        body
    }

    /// Everything that is left, as a stream; filled up somewhere, if the first byte says so, to more than is
    /// waited for.
    pub fn stream(&mut self) -> Vec<u8> {
        let (at, filler) = (usize::from(self.byte()), self.byte());
        let mut stream = std::mem::take(&mut self.0).to_vec();
        if at > 0 && at <= stream.len() {
            let more = WHOLE - 20 + usize::from(filler) * 16;
            stream.splice(at..at, std::iter::repeat_n(filler, more));
        }
        stream
    }
}
