//! The input of one translation and the output of it, laid out for a single vectored write.

use std::io::IoSlice;
use std::ops::Range;

/// Bytes that arrived, and how far they have been consumed.
#[derive(Debug)]
pub struct Input<'a> {
    /// Everything there is: what was kept from before, then what was just read.
    pub bytes: &'a mut [u8],
    /// Where the next unconsumed byte lies.
    pub at: usize,
}

impl<'a> Input<'a> {
    /// Input that has not been touched yet.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Input { bytes, at: 0 }
    }

    /// What has not been consumed.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Consumes up to `most` bytes and says where they lie.
    pub(crate) fn take(&mut self, most: u64) -> Range<usize> {
        let available = self.bytes.len() - self.at;
        let taken = usize::try_from(most).map_or(available, |most| most.min(available));
        let start = self.at;
        self.at += taken;
        start..self.at
    }
}

/// Encoded output: headers and short payloads copied side by side, long payloads left where they were
/// read. One instance serves all sessions of a thread, since it is empty whenever a session is not
/// running.
#[derive(Debug, Default)]
pub struct Batch {
    copied: Vec<u8>,
    slices: Vec<Slice>,
    len: usize,
}

/// Where the output ended at some time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// Bytes in all.
    pub(crate) len: usize,
    copied: usize,
    slices: usize,
}

#[derive(Debug)]
enum Slice {
    Copied(Range<usize>),
    Input(Range<usize>),
}

impl Batch {
    /// Payloads up to this size are copied beside their headers, which spares the kernel a slice per message. An
    /// estimate of where copying begins to cost more than a slice does.
    pub(crate) const COPY: usize = 2048;
    /// Slices in one write; Linux takes 1,024 (UIO_MAXIOV), but 64 large ones fill any socket buffer.
    const SLICES: usize = 64;
    /// Output that ends a batch, in bytes. It bounds what one session can be left holding when its peer
    /// stops reading.
    const FULL: usize = 256 * 1024;

    /// Whether the batch should be sent before more is added.
    pub fn is_full(&self) -> bool {
        self.slices.len() + 2 > Self::SLICES || self.len >= Self::FULL
    }

    /// Encoded bytes waiting to be sent.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything, keeping the memory unless it grew beyond what batches need.
    pub fn clear(&mut self) {
        self.slices.clear();
        self.copied.clear();
        self.copied.shrink_to(2 * Self::FULL);
        self.len = 0;
    }

    /// The output, where it lies in one piece, as that of many short messages does.
    pub fn as_single<'a>(&'a self, input: &'a [u8]) -> Option<&'a [u8]> {
        match &self.slices[..] {
            [slice] => Some(Self::resolve(&self.copied, input, slice)),
            _ => None,
        }
    }

    /// The output as slices for a vectored write, in `out`; returns how many were filled in.
    pub fn io_slices<'a>(&'a self, input: &'a [u8], out: &mut [IoSlice<'a>]) -> usize {
        for (slot, slice) in out.iter_mut().zip(&self.slices) {
            *slot = IoSlice::new(Self::resolve(&self.copied, input, slice));
        }
        self.slices.len().min(out.len())
    }

    /// Appends everything after the first `sent` bytes to `out`.
    pub fn copy_unsent(&self, input: &[u8], mut sent: usize, out: &mut Vec<u8>) {
        for slice in &self.slices {
            let bytes = Self::resolve(&self.copied, input, slice);
            let skip = sent.min(bytes.len());
            sent -= skip;
            out.extend_from_slice(&bytes[skip..]);
        }
    }

    /// The place where the output ends.
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.len, copied: self.copied.len(), slices: self.slices.len() }
    }

    /// What was added since `mark`.
    pub(crate) fn since<'a>(&'a self, mark: Mark, input: &'a [u8]) -> impl Iterator<Item = &'a u8> {
        // The slice that was the last one then may have grown.
        let first = mark.slices.saturating_sub(1);
        self.slices.iter().enumerate().skip(first).flat_map(move |(i, slice)| match slice {
            Slice::Copied(range) => &self.copied[range.start.max(mark.copied)..range.end],
            Slice::Input(range) if i >= mark.slices => &input[range.clone()],
            Slice::Input(_) => &[],
        })
    }

    /// Forgets what was added since `mark`.
    pub(crate) fn take_back(&mut self, mark: Mark) {
        self.slices.truncate(mark.slices);
        if let Some(Slice::Copied(range)) = self.slices.last_mut() {
            range.end = mark.copied;
        }
        self.copied.truncate(mark.copied);
        self.len = mark.len;
    }

    /// Copies `bytes` into the output.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        self.len += bytes.len();
        match self.slices.last_mut() {
            Some(Slice::Copied(range)) => range.end = self.copied.len(),
            _ => self.slices.push(Slice::Copied(start..self.copied.len())),
        }
    }

    /// Adds a payload that lies in the input.
    pub(crate) fn payload(&mut self, input: &[u8], range: &Range<usize>) {
        if range.len() <= Self::COPY {
            self.copy(&input[range.clone()]);
        } else {
            self.len += range.len();
            self.slices.push(Slice::Input(range.clone()));
        }
    }

    fn resolve<'a>(copied: &'a [u8], input: &'a [u8], slice: &Slice) -> &'a [u8] {
        match slice {
            Slice::Copied(range) => &copied[range.clone()],
            Slice::Input(range) => &input[range.clone()],
        }
    }
}
