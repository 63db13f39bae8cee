//! Messages far larger than any buffer.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{MIB, Noise, Session, alone, start, warm_up};
use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::{within, within_time};
use crate::raw::{BINARY, CONTINUATION, FIN, Header, RawWs, frame_header, server_frame};

const GIB: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(300);

async fn send(writer: &mut (impl AsyncWrite + Unpin), header: Vec<u8>, masked: bool, noise: &Noise) {
    writer.write_all(&header).await.unwrap();
    let mut at = 0;
    while at < GIB {
        let piece = noise.piece(at, (256 << 10).min(GIB - at), masked);
        writer.write_all(piece).await.unwrap();
        at += piece.len() as u64;
    }
}

/// Reads a record of a GiB; looks at natpulse's memory on the way, and returns the most.
async fn receive_record(reader: &mut (impl AsyncRead + Unpin), noise: &Noise, natpulse: &Natpulse) -> u64 {
    assert_eq!(u64::from(reader.read_u32().await.unwrap()), GIB);
    let (mut at, mut peak) = (0, Peak::default());
    let mut buffer = vec![0; 256 << 10];
    while at < GIB {
        let most = buffer.len().min((GIB - at) as usize);
        let count = reader.read(&mut buffer[..most]).await.unwrap();
        assert!(count > 0, "the record ended after {at} bytes");
        noise.check(at, &buffer[..count]);
        at += count as u64;
        peak.look(at, natpulse);
    }
    peak.most
}

/// Reads a message of a GiB, in however many frames; returns the most memory, and the frames.
async fn receive_message<R: AsyncRead + Unpin>(
    reader: &mut RawWs<R>,
    noise: &Noise,
    natpulse: &Natpulse,
) -> (u64, u64) {
    let (mut at, mut peak, mut frames) = (0, Peak::default(), 0);
    let mut buffer = Vec::new();
    loop {
        let Header { first, length, mask } = reader.header().await.unwrap();
        assert_eq!(first & !FIN, if frames == 0 { BINARY } else { CONTINUATION });
        assert!(at + length <= GIB, "a message of more than a GiB");
        buffer.resize(length as usize, 0);
        reader.io.read_exact(&mut buffer).await.unwrap();
        if let Some(mask) = mask {
            buffer.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        noise.check(at, &buffer);
        at += length;
        frames += 1;
        peak.look(at, natpulse);
        if first & FIN != 0 {
            assert_eq!(at, GIB);
            return (peak.most, frames);
        }
    }
}

/// The most memory seen, looking every 16 MiB.
#[derive(Default)]
struct Peak {
    looked: u64,
    most: u64,
}

impl Peak {
    fn look(&mut self, at: u64, natpulse: &Natpulse) {
        if at / (16 * MIB) != self.looked {
            self.looked = at / (16 * MIB);
            self.most = self.most.max(memory(natpulse));
        }
    }
}

fn report(what: &str, begun: Instant, before: u64, most: u64, frames: u64) {
    let grown = most.saturating_sub(before);
    println!(
        "{what}: 1 GiB as one message each way in {:.1} s, {frames} fragments, memory grew by {} KiB",
        begun.elapsed().as_secs_f32(),
        grown / 1024
    );
    assert!(grown < 2 * MIB, "{what}: {grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_in_one_frame_becomes_one_record_and_the_other_way_round() {
    let _alone = alone().await;
    let (natpulse, server) = start("").await;
    let fds = natpulse.fds();
    warm_up(&natpulse, &server).await;
    let Session { client, backend } = Session::open(natpulse.addr("ws"), &server).await;
    let (mut near_reader, mut near_writer) = client.split();
    let (mut far_reader, mut far_writer) = backend.into_split();
    let noise = Noise::new();
    let (before, begun) = (memory(&natpulse), Instant::now());
    let all = async {
        tokio::join!(
            send(&mut near_writer, frame_header(FIN | BINARY, GIB), true, &noise),
            receive_record(&mut far_reader, &noise, &natpulse),
            send(&mut far_writer, (GIB as u32).to_be_bytes().to_vec(), false, &noise),
            receive_message(&mut near_reader, &noise, &natpulse),
        )
    };
    let ((), up, (), (down, frames)) = within_time(PATIENCE, "a gibibyte each way", all).await;
    report("WebSocket to records", begun, before, up.max(down), frames);
    drop((near_reader, near_writer, far_reader, far_writer));
    natpulse.settles_to(fds).await;
    let closed = &natpulse.closed_sessions(9).await[8];
    for direction in ["uplink", "downlink"] {
        assert_eq!(closed[format!("{direction}_messages")], 1);
        assert_eq!(closed[format!("{direction}_bytes")], GIB);
    }
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_crosses_from_records_to_a_websocket_backend_too() {
    let _alone = alone().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"tcp\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = \"ws://{}/\"\nmax_message = \"2GiB\"\n[heartbeat]\nmin = \"5m\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let fds = natpulse.fds();
    let mut sessions = Vec::new();
    // The first ones only make natpulse set up what it sets up once.
    for _ in 0..9 {
        let addr = natpulse.addr("tcp");
        let accept = async { RawWs::accept(server.accept().await.unwrap().0).await };
        let (client, backend) =
            within("a session", async { tokio::join!(TcpStream::connect(addr), accept) }).await;
        let (mut client, mut backend) = (client.unwrap(), backend.unwrap());
        client.write_all(&[&(1u32 << 20).to_be_bytes()[..], &[7; 1 << 20]].concat()).await.unwrap();
        within("a warming message", backend.message()).await.unwrap();
        let answer = server_frame(FIN | BINARY, &[7; 1 << 20]);
        let mut arrived = vec![0; 4 + (1 << 20)];
        let both = async { tokio::join!(backend.io.write_all(&answer), client.read_exact(&mut arrived)) };
        within("a warming answer", both).await.1.unwrap();
        sessions.push((client, backend));
    }
    let (mut client, backend) = sessions.pop().unwrap();
    drop(sessions);
    natpulse.closed_sessions(8).await;
    let (mut near_reader, mut near_writer) = client.split();
    let (mut far_reader, mut far_writer) = backend.split();
    let noise = Noise::new();
    let mut header = server_frame(FIN | BINARY, &[]);
    header[1] = 127;
    header.extend_from_slice(&GIB.to_be_bytes());
    let (before, begun) = (memory(&natpulse), Instant::now());
    let all = async {
        tokio::join!(
            send(&mut near_writer, (GIB as u32).to_be_bytes().to_vec(), false, &noise),
            receive_message(&mut far_reader, &noise, &natpulse),
            send(&mut far_writer, header, false, &noise),
            receive_record(&mut near_reader, &noise, &natpulse),
        )
    };
    let ((), (up, frames), (), down) = within_time(PATIENCE, "a gibibyte each way", all).await;
    report("records to WebSocket", begun, before, up.max(down), frames);
    drop((client, far_reader, far_writer));
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}
