//! What a conversion costs beside a copy of the same bytes, which is about the least that anything done to them can
//! cost. Prints nanoseconds per message and the ratio; `cargo bench` runs it, `cargo bench -- --test` only tries it.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use natpulse::wire::websocket::{self, Role};
use natpulse::wire::{Batch, Decoder, Encoder, Framing, Input, Kind, Stop, Tally, Until, translate};

const MAX: u64 = 64 << 20;
/// Bytes that one read brings: what a session reads at most.
const READ: usize = 512 * 1024;

fn websocket(masked: bool) -> (Decoder, Encoder) {
    let role = if masked { Role::Client { mask_key: || [0x37, 0xfa, 0x21, 0x3d] } } else { Role::Server };
    (
        Decoder::WebSocket(websocket::Decoder::new(masked, MAX)),
        Encoder::WebSocket(websocket::Encoder::new(role, Kind::Binary)),
    )
}

/// Converts everything in `bytes`; returns what came out, and how many messages that was.
fn convert(
    decoder: &mut Decoder,
    encoder: &mut Encoder,
    batch: &mut Batch,
    bytes: &mut [u8],
) -> (usize, u64) {
    let (mut out, mut tally) = (0, Tally::default());
    let mut input = Input::new(bytes);
    loop {
        let stop = translate(decoder, encoder, &mut input, batch, &mut tally, Until::Dry)
            .expect("the benchmark's input is valid");
        let mut slices = [IoSlice::new(&[]); 64];
        let count = batch.io_slices(input.bytes, &mut slices);
        out += black_box(&slices[..count]).iter().map(|slice| slice.len()).sum::<usize>();
        batch.clear();
        if matches!(stop, Stop::Dry) {
            return (out, tally.messages());
        }
    }
}

/// Messages of `size` bytes as a peer would send them, as many as fit into a read.
fn sample(size: usize, encoder: &mut Encoder) -> Vec<u8> {
    let (mut decoder, mut batch) =
        (Framing::from_word("u32be").expect("a word").decoder(MAX), Batch::default());
    let mut record = (size as u32).to_be_bytes().to_vec();
    record.resize(4 + size, 0x5a);
    let count = (READ / record.len()).max(1);
    let mut out = Vec::new();
    for _ in 0..count {
        let mut bytes = record.clone();
        let mut input = Input::new(&mut bytes);
        translate(&mut decoder, encoder, &mut input, &mut batch, &mut Tally::default(), Until::Dry)
            .expect("a valid record");
        batch.copy_unsent(input.bytes, 0, &mut out);
        batch.clear();
    }
    out
}

/// Nanoseconds that one call takes: the median of several rounds.
fn time(patience: Duration, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = Vec::new();
    let begun = Instant::now();
    while rounds.len() < 5 || begun.elapsed() < patience {
        let start = Instant::now();
        for _ in 0..20 {
            call();
        }
        rounds.push(start.elapsed().as_nanos() as f64 / 20.0);
    }
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn main() {
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let patience = Duration::from_millis(if is_trial { 0 } else { 500 });
    let u32be = || Framing::from_word("u32be").expect("a word");
    println!("{:28} {:>8} {:>12} {:>12} {:>6}", "conversion", "bytes", "ns/message", "copy ns", "ratio");
    for (name, from_client) in [("masked WebSocket to u32be", true), ("u32be to WebSocket", false)] {
        for size in [64, 1 << 10, 16 << 10, 128 << 10] {
            let (mut decoder, mut sender, mut encoder) = match from_client {
                true => (websocket(true).0, websocket(true).1, u32be().encoder()),
                false => (u32be().decoder(MAX), u32be().encoder(), websocket(false).1),
            };
            let original = sample(size, &mut sender);
            let (mut bytes, mut copy, mut batch) = (original.clone(), original.clone(), Batch::default());
            let (_, messages) = convert(&mut decoder, &mut encoder, &mut batch, &mut bytes);
            let copying = time(patience, || copy.copy_from_slice(black_box(&original)));
            let both = time(patience, || {
                bytes.copy_from_slice(black_box(&original));
                convert(&mut decoder, &mut encoder, &mut batch, &mut bytes);
            });
            let (each, floor) = ((both - copying).max(0.0) / messages as f64, copying / messages as f64);
            println!("{name:28} {size:>8} {each:>12.1} {floor:>12.1} {:>6.2}", each / floor);
        }
    }
}
