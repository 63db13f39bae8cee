//! What an idle session costs over TLS.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Authority, connector, secured};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::{PATIENCE, within, within_time};

const SESSIONS: usize = 500;
/// The most that each may cost, in bytes.
const MOST: f64 = 24.0 * 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_idle_sessions_over_tls_take_little_memory() {
    let authority = Arc::new(Authority::new());
    let backend = Backend::serve(|mut stream| async move { stream.read_u8().await.map(drop) }).await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"idle\"\nbackend = {{ url = \"tcp://{}\", framing = \"u32be\" }}\n\
         listen = {{ url = \"wss://127.0.0.1:0/\", tls = {{ {} }} }}\n",
        backend.addr,
        authority.localhost().files()
    ))
    .await;
    let connector = connector(&authority, None);
    let open = async || {
        let stream = secured(&natpulse, "idle", &connector).await;
        let request = natpulse.url("idle").into_client_request().unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    };
    // What is allocated once and for all is there before it is measured.
    let first = open().await;
    let before = memory(&natpulse);
    let opening = iter(0..SESSIONS).map(|_| open()).buffer_unordered(16);
    let clients: Vec<_> = within_time(4 * PATIENCE, "all sessions to open", opening.collect()).await;
    let series = "natpulse_sessions_active{bridge=\"idle\"}";
    within("all to be counted", async { while natpulse.metrics().await[series] <= SESSIONS as f64 {} }).await;
    let each = memory(&natpulse).saturating_sub(before) as f64 / SESSIONS as f64;
    println!("{SESSIONS} idle sessions over TLS: {each:.0} bytes each");
    assert!(each <= MOST, "{each} bytes for each idle session");
    drop((first, clients));
    natpulse.closed_sessions(SESSIONS + 1).await;
    natpulse.stop().await;
}
