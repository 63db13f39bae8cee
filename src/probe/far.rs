//! The far side: says who it is, is silent for as long as it is asked to be, and then speaks first.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::line::{Heard, Line};
use super::word::{Far, Instance, Near};
use crate::link::Stream;
use crate::wire::websocket::Role;

/// How long the near side may take for its next word: twice the worst round trip of a cellular link, so that the
/// kernel has repeated ours several times.
const PATIENCE: Duration = Duration::from_secs(20);

/// The close codes of RFC 6455 section 7.4.1 for a server that is leaving, and for a peer that broke a rule.
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// Why a probe connection ends.
enum Ending {
    /// There is nobody to say goodbye to.
    Gone,
    /// The near side said something that it should not have.
    Nonsense,
}

/// Serves a probe connection until the near side has gone or `drain` is cancelled. `network` is where it sits.
pub async fn serve(
    stream: Stream,
    early: &[u8],
    instance: Instance,
    network: String,
    drain: &CancellationToken,
) {
    let mut line = Line::new(stream, early, Role::Server);
    let ending = tokio::select! {
        ending = converse(&mut line, instance, network) => Some(ending),
        () = drain.cancelled() => None,
    };
    // The near side may not be reachable any more, and its kernel's window full.
    let goodbye = async {
        match ending {
            Some(Ending::Gone) => {}
            Some(Ending::Nonsense) => line.leave(POLICY_VIOLATION, "not a word of a probe").await,
            None => line.leave(GOING_AWAY, "natpulse is leaving").await,
        }
    };
    // Whoever does not take it has waited long enough.
    let _ = timeout(Duration::from_secs(1), goodbye).await;
}

async fn converse(line: &mut Line, instance: Instance, network: String) -> Ending {
    if line.say(&Far::Hello { instance, network }.to_string()).await.is_err() {
        return Ending::Gone;
    }
    loop {
        let silence = match answer(line).await {
            Ok(Near::Silence(silence)) => silence,
            Ok(Near::Heard) => return Ending::Nonsense,
            Err(ending) => return ending,
        };
        let begun = Instant::now();
        if let Err(ending) = keep_silent(line, begun + silence).await {
            return ending;
        }
        if line.say(&Far::Silent(begun.elapsed()).to_string()).await.is_err() {
            return Ending::Gone;
        }
        match answer(line).await {
            Ok(Near::Heard) => {}
            Ok(Near::Silence(_)) => return Ending::Nonsense,
            Err(ending) => return ending,
        }
        if line.say(&Far::Done.to_string()).await.is_err() {
            return Ending::Gone;
        }
    }
}

/// The near side's next word, if it comes soon.
async fn answer(line: &mut Line) -> Result<Near, Ending> {
    let until = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout_at(until, line.hear()).await {
            Ok(Heard::Line(word)) => return word.parse().map_err(|_| Ending::Nonsense),
            Ok(Heard::Ping(payload)) => line.pong(&payload).await.map_err(|_| Ending::Gone)?,
            Ok(Heard::Close | Heard::End) | Err(_) => return Err(Ending::Gone),
        }
    }
}

/// Waits, and ends early if the near side has gone or cannot wait.
async fn keep_silent(line: &mut Line, until: Instant) -> Result<(), Ending> {
    loop {
        let heard = tokio::select! {
            heard = line.hear() => heard,
            () = sleep_until(until) => return Ok(()),
        };
        match heard {
            Heard::Line(_) => return Err(Ending::Nonsense),
            Heard::Ping(payload) => line.pong(&payload).await.map_err(|_| Ending::Gone)?,
            Heard::Close | Heard::End => return Err(Ending::Gone),
        }
    }
}
