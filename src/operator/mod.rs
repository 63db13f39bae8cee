//! What an operator asks of a natpulse that runs, through its JSON API: `natpulse status` and `natpulse drain`, and the
//! client that `natpulse top` uses too.

mod client;
pub(crate) mod figures;
mod status;

use std::io::Write;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

pub use client::Client;
pub use status::{alive, status};

use client::Failure;
use figures::{count, duration};

/// How often it is looked how a drain goes.
const LOOK: Duration = Duration::from_millis(500);

/// What `/api/status` says that matters here; the rest is passed over.
#[derive(Debug, Deserialize)]
struct Told {
    version: String,
    started: f64,
    now: f64,
    drain: Option<Leaving>,
    sessions: Sessions,
}

#[derive(Debug, Deserialize)]
struct Leaving {
    deadline: f64,
    is_over: bool,
}

#[derive(Debug, Deserialize)]
struct Sessions {
    active: u64,
    opened: u64,
    limit: u64,
}

/// So many sessions, in words.
fn sessions(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "session" } else { "sessions" })
}

/// Has a natpulse drain. With `waits`, comes back when nobody is left to be waited for, and writes to `progress`, where
/// there is somebody to read it, how that goes. Returns what came of it, in words, and whether nobody had to be cut off.
///
/// # Errors
/// It cannot be asked, for a person to read.
pub async fn drain(
    mut client: Client,
    waits: bool,
    mut progress: Option<&mut impl Write>,
) -> Result<(String, bool), String> {
    client.text(Method::POST, "/api/drain").await.map_err(|failure| failure.to_string())?;
    loop {
        let body = match client.text(Method::GET, "/api/status").await {
            Ok(body) => body,
            // It ends when it is told to, and then it was told to.
            Err(Failure::Unreachable(_)) => return Ok(("natpulse has gone".to_owned(), true)),
            Err(Failure::Refused(why)) => return Err(why),
        };
        let told: Told = serde_json::from_slice(&body).map_err(|error| format!("/api/status: {error}"))?;
        let Some(leaving) = told.drain else {
            return Ok(("natpulse has gone, and another one answers".to_owned(), true));
        };
        let (left, sessions) = (told.sessions.active, sessions(told.sessions.active));
        if leaving.is_over {
            let end = match left {
                0 => "drained".to_owned(),
                1 => "the drain window is over, and 1 session is left".to_owned(),
                _ => format!("the drain window is over, and {sessions} are left"),
            };
            return Ok((end, left == 0));
        }
        let line =
            format!("draining: {sessions} left, for {} at most", duration(leaving.deadline - told.now));
        if !waits {
            return Ok((line, true));
        }
        if let Some(progress) = &mut progress {
            // Whoever does not read it misses nothing: the line below it says what came of it.
            let _ = write!(progress, "\r\x1b[K{line}").and_then(|()| progress.flush());
        }
        sleep(LOOK).await;
    }
}
