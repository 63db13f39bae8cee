//! Any bytes as the request of a client: one that may become a session holds nothing that could be read in two ways, and
//! everybody is answered in HTTP, once.

#![no_main]

use std::cell::Cell;
use std::time::Duration;

use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use libfuzzer_sys::fuzz_target;
use natpulse::link::{Answer, NotOpened, Refusal, Stream, Wanted, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// More than a request's head may have, and less than a socket holds that nobody reads.
const LONGEST: usize = 16 << 10;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
}

fn assert_unambiguous(wanted: &Wanted) {
    let headers = &wanted.headers;
    for name in [HOST, UPGRADE, SEC_WEBSOCKET_KEY] {
        assert_eq!(headers.get_all(&name).iter().count(), 1, "{name}");
    }
    assert!(headers.get_all(ORIGIN).iter().count() <= 1);
    assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING));
    assert!(headers.iter().all(|(name, value)| *name == COOKIE || value.to_str().is_ok()));
}

async fn ask(request: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(request).await.unwrap();
    theirs.shutdown().await.unwrap();
    let may_open = Cell::new(false);
    let decide = |wanted: Wanted| {
        may_open.set(wanted.upgrade.is_ok());
        if wanted.upgrade.is_ok() {
            assert_unambiguous(&wanted);
        }
        let refusal = wanted.upgrade.err().unwrap_or(Refusal::NotFound);
        std::future::ready(Answer::Refuse(refusal))
    };
    let refused = upgrade(Stream::Unix(ours), Duration::from_secs(5), "fuzz", decide).await.err();
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer}");
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
    if may_open.get() {
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert_eq!(refused, Some(NotOpened::Refused(Refusal::NotFound)));
    }
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| runtime.block_on(ask(&data[..data.len().min(LONGEST)])));
});
