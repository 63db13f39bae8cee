//! Records that end with a marker, and may begin with one: lines, NUL-terminated strings, JT/T 808.
//!
//! A message is what stands between the markers, untouched: escaping, where a protocol has it, is part
//! of the message. A message that holds its own end marker cannot be carried and is refused.

use memchr::{memchr, memmem};

use super::{Batch, Input, Part, Step, WHOLE, WireError};

/// The markers around a record. [`super::Framing`] makes valid ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Markers {
    /// What stands before every message; may be empty.
    pub(crate) start: Box<[u8]>,
    /// What stands after every message; never empty.
    pub(crate) end: Box<[u8]>,
}

impl Markers {
    fn find_end(&self, bytes: &[u8]) -> Option<usize> {
        match &*self.end {
            [end] => memchr(*end, bytes),
            end => memmem::find(bytes, end),
        }
    }
}

/// Finds records.
#[derive(Debug)]
pub struct Decoder {
    markers: Markers,
    max: u64,
    /// Bytes of the current message already handed over, while one is being streamed.
    streamed: Option<u64>,
}

impl Decoder {
    pub(crate) fn new(markers: Markers, max: u64) -> Self {
        Decoder { markers, max, streamed: None }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.streamed.is_none()
    }

    pub(crate) fn next(&mut self, input: &mut Input<'_>) -> Result<Step, WireError> {
        let start = &self.markers.start;
        let skip = if self.streamed.is_none() { start.len() } else { 0 };
        let rest = input.rest();
        let seen = rest.len().min(skip);
        if rest[..seen] != start[..seen] {
            return Err(WireError::Protocol("a record that does not begin with the start marker"));
        }
        let Some(content) = rest.get(skip..) else {
            return Ok(Step::More);
        };
        let before = self.streamed.unwrap_or(0);
        let too_long = |len: usize| {
            let len = before + len as u64;
            (len > self.max).then_some(WireError::TooLong { len, max: self.max, hint: None })
        };
        if let Some(end) = self.markers.find_end(content) {
            if let Some(error) = too_long(end) {
                return Err(error);
            }
            let total = self.streamed.is_none().then_some(end as u64);
            let payload = input.at + skip..input.at + skip + end;
            input.at = payload.end + self.markers.end.len();
            self.streamed = None;
            return Ok(Step::Part(Part { kind: None, total, last: true, payload }));
        }
        // The end marker may be cut in two: what could be its beginning stays for the next time.
        let sure = content.len().saturating_sub(self.markers.end.len() - 1);
        if let Some(error) = too_long(sure) {
            return Err(error);
        }
        if rest.len() <= WHOLE && (self.streamed.is_none() || sure == 0) {
            return Ok(Step::More);
        }
        let payload = input.at + skip..input.at + skip + sure;
        input.at = payload.end;
        self.streamed = Some(before + sure as u64);
        Ok(Step::Part(Part { kind: None, total: None, last: false, payload }))
    }
}

/// Writes records.
#[derive(Debug)]
pub struct Encoder {
    markers: Markers,
    in_message: bool,
    /// The last bytes written, as far as they could begin an end marker.
    tail: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(markers: Markers) -> Self {
        Encoder { markers, in_message: false, tail: Vec::new() }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        !self.in_message
    }

    pub(crate) fn put(&mut self, part: &Part, input: &Input<'_>, out: &mut Batch) -> Result<(), WireError> {
        let bytes = &input.bytes[part.payload.clone()];
        self.refuse_end_marker(bytes, part.last)?;
        if !std::mem::replace(&mut self.in_message, !part.last) {
            out.copy(&self.markers.start);
        }
        out.payload(input.bytes, &part.payload);
        if part.last {
            out.copy(&self.markers.end);
        }
        Ok(())
    }

    /// A reader takes the first end marker it sees for the end, wherever the pieces were cut.
    fn refuse_end_marker(&mut self, bytes: &[u8], last: bool) -> Result<(), WireError> {
        let overlap = self.markers.end.len() - 1;
        let mut found = self.markers.find_end(bytes).is_some();
        if overlap > 0 {
            let head = &bytes[..bytes.len().min(overlap)];
            self.tail.extend_from_slice(head);
            found |= self.markers.find_end(&self.tail).is_some();
            if bytes.len() > head.len() {
                self.tail.clear();
                self.tail.extend_from_slice(&bytes[bytes.len() - overlap..]);
            }
            self.tail.drain(..self.tail.len().saturating_sub(overlap));
            if last {
                let len = self.tail.len();
                self.tail.extend_from_slice(&self.markers.end);
                found |= self.markers.find_end(&self.tail) != Some(len);
                self.tail = Vec::new();
            }
        }
        match found {
            true => Err(WireError::Unframeable("a message that contains the other end's end marker".into())),
            false => Ok(()),
        }
    }
}
