//! Small things that other bridges refuse, cut off or forget, and how soon natpulse serves.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MIB, Noise, Session, alone, start};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{BINARY, CONTINUATION, FIN, Header, PING, PONG, RawWs, TEXT, frame};

#[tokio::test]
async fn text_crosses_a_raw_bridge_like_any_other_bytes() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"tcp://{}\"\n",
        server.local_addr().unwrap()
    ))
    .await;
    let Session { mut client, mut backend } = Session::open(natpulse.addr("ws"), &server).await;
    client.send(FIN | TEXT, "grüß".as_bytes()).await.unwrap();
    client.send(TEXT, b"cut ").await.unwrap();
    client.send(FIN | CONTINUATION, b"in two").await.unwrap();
    client.send(FIN | BINARY, b"\xff").await.unwrap();
    let expected = ["grüß".as_bytes(), b"cut in two\xff"].concat();
    let mut arrived = vec![0; expected.len()];
    within("the bytes", backend.read_exact(&mut arrived)).await.unwrap();
    assert_eq!(arrived, expected);
    backend.write_all(b"answer").await.unwrap();
    let answer = within("the answer", client.message()).await.unwrap();
    assert_eq!(answer, (BINARY, b"answer".to_vec()));
    drop((client, backend));
    natpulse.stop().await;
}

#[tokio::test]
async fn empty_records_and_long_ones_cross_like_others() {
    let (natpulse, server) = start("").await;
    let mut session = Session::open(natpulse.addr("ws"), &server).await;
    for length in [0, 70_000, 0, 0, 1, 16_379, 16_380, 16_384, 16_385, 262_144, 0] {
        session.exchange(&vec![7; length]).await;
    }
    session.end().await;
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_in_the_middle_of_a_long_message_gets_its_pongs_between_fragments() {
    const LENGTH: u64 = 64 * MIB;
    const PINGS: u32 = 6;
    let _alone = alone().await;
    let (natpulse, server) = start("").await;
    let Session { client, mut backend } = Session::open(natpulse.addr("ws"), &server).await;
    let (mut reader, mut writer) = client.split();
    let noise = std::sync::Arc::new(Noise::new());
    let stream = noise.clone();
    let pushing = tokio::spawn(async move {
        backend.write_u32(LENGTH as u32).await.unwrap();
        let mut at = 0;
        while at < LENGTH {
            let piece = stream.piece(at, LENGTH - at, false);
            backend.write_all(piece).await.unwrap();
            at += piece.len() as u64;
        }
        backend
    });
    // A narrow pipe lets 4 KiB through five times a second; at each, first, a ping may go.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let (mut at, mut frames, mut pings, mut ticks) = (0u64, 0, 0, 0u32);
    let mut sent_at = Vec::new();
    let mut farthest = 0;
    let (mut pongs, mut expected) = (0u32, BINARY);
    let mut buffer = vec![0; 4096];
    let reading = async {
        while at < LENGTH {
            let Header { first, mut length, .. } = reader.header().await.unwrap();
            if first == FIN | PONG {
                assert_eq!((length, reader.io.read_u32().await.unwrap()), (4, pongs), "pongs in order");
                farthest = farthest.max(at - sent_at[pongs as usize]);
                pongs += 1;
                continue;
            }
            assert_eq!(first & !FIN, expected, "after {at} bytes");
            expected = CONTINUATION;
            frames += 1;
            assert_eq!(first & FIN != 0, at + length == LENGTH, "the last one is the last");
            while length > 0 {
                if pings < PINGS {
                    pace.tick().await;
                    ticks += 1;
                    if ticks % 4 == 1 {
                        writer.write_all(&frame(FIN | PING, &pings.to_be_bytes())).await.unwrap();
                        sent_at.push(at);
                        pings += 1;
                    }
                }
                let most = buffer.len().min(length as usize);
                reader.io.read_exact(&mut buffer[..most]).await.unwrap();
                noise.check(at, &buffer[..most]);
                at += most as u64;
                length -= most as u64;
            }
        }
    };
    within("the long message", reading).await;
    assert_eq!(pongs, PINGS, "pongs before the message ended");
    println!("{pongs} pongs between {frames} fragments, each within {} KiB of its ping", farthest / 1024);
    drop((pushing.await.unwrap(), reader, writer));
    natpulse.stop().await;
}

/// Answers only once the client has said that it is done, and at length.
async fn answers_at_the_end(noise: std::sync::Arc<Noise>) -> Backend {
    Backend::serve(move |mut stream| {
        let noise = noise.clone();
        async move {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).await?;
            assert_eq!(question, b"request");
            let mut at = 0;
            while at < ANSWER {
                let piece = noise.piece(at, ANSWER - at, false);
                stream.write_all(piece).await?;
                at += piece.len() as u64;
            }
            Ok(())
        }
    })
    .await
}

const ANSWER: u64 = 16 * MIB;

async fn gets_its_whole_answer(addr: std::net::SocketAddr, noise: &Noise) {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"request").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answer = within("the whole answer", exchange).await;
    assert_eq!(answer.len() as u64, ANSWER);
    noise.check(0, &answer);
}

#[tokio::test]
async fn who_asks_and_ends_its_stream_gets_the_whole_answer_through_one_natpulse_or_two() {
    let noise = std::sync::Arc::new(Noise::new());
    let backend = answers_at_the_end(noise.clone()).await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\nbackend = \"tcp://{}\"\n",
        backend.addr
    ))
    .await;
    let fds = natpulse.fds();
    gets_its_whole_answer(natpulse.addr("tcp"), &noise).await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;

    let pair = Natpulse::pair("raw", backend.addr).await;
    let fds = pair.fds();
    gets_its_whole_answer(pair.addr(), &noise).await;
    pair.settles_to(fds).await;
    pair.stop().await;
}

#[tokio::test]
async fn it_serves_soon_after_its_start() {
    let _alone = alone().await;
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let natpulse = Natpulse::start(
            "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n",
        )
        .await;
        times.push(begun.elapsed());
        // It means what it says.
        let mut client = RawWs::open(natpulse.addr("ws"), "/").await.unwrap();
        client.send(FIN | BINARY, b"up?").await.unwrap();
        assert_eq!(within("the echo", client.message()).await.unwrap().1, b"up?");
        client.leave().await;
        natpulse.stop().await;
    }
    times.sort();
    println!(
        "from the start of the process to serving: {:?}, at best {:?}, at worst {:?}",
        times[5], times[0], times[9]
    );
}
