//! How much a client may take, and what those get who want more.

mod ages;
mod config;
mod counts;
mod floods;

use crate::harness::{Natpulse, Page, connect_from, exchange};
use crate::process::within;
use crate::raw::{RawWs, upgrade};

/// A bridge "b" from WebSocket to an echo, with these lines in its table and in front of it.
fn echo(settings: &str, lines: &str) -> String {
    format!(
        "{settings}\n[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n{lines}\n\
         [heartbeat]\nmin = \"5m\"\n"
    )
}

/// A session of a client with this address.
async fn session(natpulse: &Natpulse, host: &str) -> RawWs {
    let opening = async { RawWs::upgrade(connect_from(host, natpulse.addr("b")).await?, "/").await };
    within("a session", opening).await.unwrap()
}

/// What a client with this address is answered that wants a session.
async fn refused(natpulse: &Natpulse, host: &str) -> Page {
    exchange(connect_from(host, natpulse.addr("b")), &upgrade("/")).await
}
