//! `natpulse probe`: how long the network that one sits in keeps a silent connection.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::report::{self, COLUMNS, Range};
use super::{Event, ProbeError, Prober, Target};
use crate::heartbeat::{NetworkKey, Outcome, Policy, Settings};
use crate::link::tls::{ClientTls, Connector, HTTP};
use crate::link::{Authority, BackendUrl};
use crate::networks::{Networks, Seat};

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The natpulse at the far end.
    pub url: BackendUrl,
    /// Whom to believe, where that is `wss:`.
    pub tls: ClientTls,
    /// The file with the token that it asks for, if it does.
    pub token_file: Option<PathBuf>,
    /// The shortest silence that is tried.
    pub min: Duration,
    /// The longest silence that is tried.
    pub max: Duration,
    /// How many connections are silent at once.
    pub probes: u8,
    /// How narrow the result is to be, in thousandths.
    pub precision_permille: u16,
    /// Whether a program reads the result.
    pub is_json: bool,
    /// Whether progress is shown.
    pub is_terminal: bool,
}

/// The planner narrows a bracket until its upper end is this many thousandths of the interval in use.
const PLANNED_PERMILLE: u32 = 1070;

/// How long an answer may take beyond the round trips that were measured: a design that waits less takes lost packets
/// for lost connections.
const REPLY: Duration = Duration::from_secs(3);

/// How often in a row the far side may be out of reach, or a loss unclear, before there is no point in going on.
const MAX_FAILURES: u32 = 8;
const MAX_UNCLEAR: u32 = 24;

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(250);

/// Measures, and writes what it finds to `out`.
///
/// # Errors
/// Why there is no result, for a person to read.
pub async fn measure(what: &Measurement, out: &mut impl Write) -> Result<(), String> {
    let BackendUrl::Ws { authority, is_tls, .. } = &what.url else {
        return Err(
            "a probe needs a natpulse that listens on ws://HOST:PORT/path or wss://HOST:PORT/path".to_owned()
        );
    };
    // The seat keeps the network in its table.
    let connector = match is_tls {
        true => {
            let connector = Connector::new(&what.tls, &authority.host, Some(HTTP));
            Some(Arc::new(connector.map_err(|error| error.to_string())?))
        }
        false => None,
    };
    let (mut prober, _seat) = reach(what, authority, connector.as_ref()).await?;
    let range = Range { min: what.min, max: what.max };
    let begun = Instant::now();
    let mut screen = Screen { out, is_live: what.is_terminal && !what.is_json, is_quiet: what.is_json };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut probes, mut unclear) = (0, 0);
    let unwritable = |error: io::Error| format!("cannot write the result: {error}");
    screen
        .finding(&format!("Probing {} with up to {} connections.", what.url, what.probes))
        .map_err(unwritable)?;
    let bracket = loop {
        let event = tokio::select! {
            event = prober.next() => event,
            _ = ticks.tick(), if screen.is_live => {
                let now = Instant::now();
                let left = prober.running().map(|(silence, since)| (since + silence).saturating_duration_since(now));
                let bracket = prober.bracket().unwrap_or_default();
                let (running, next) = (prober.running().count(), left.min());
                let line = report::progress(&bracket, range, running, next, begun.elapsed());
                screen.progress(&line).map_err(unwritable)?;
                continue;
            }
        };
        match event {
            Some(Event::Ended { silence, outcome, why, after, .. }) => {
                probes += 1;
                unclear = if outcome == Outcome::Unclear { unclear + 1 } else { 0 };
                let line = report::finding(silence, outcome, why.as_deref(), &after, begun.elapsed());
                screen.finding(&line).map_err(unwritable)?;
                if unclear >= MAX_UNCLEAR {
                    let why = why.unwrap_or_default();
                    return Err(format!(
                        "no clear result in {unclear} attempts, the last time because: {why}"
                    ));
                }
            }
            Some(Event::Unreachable { why, failures, .. }) if failures >= MAX_FAILURES => {
                return Err(format!("{} cannot be reached any more: {why}", what.url));
            }
            Some(Event::Unreachable { why, wait, .. }) => {
                let line = format!("       cannot reach the far end, trying again in {wait:.1?}: {why}");
                screen.finding(&line).map_err(unwritable)?;
            }
            Some(Event::Settled) | None => break prober.bracket().unwrap_or_default(),
        }
    };
    let text = if what.is_json {
        report::json(&what.url.to_string(), &bracket, probes, begun.elapsed())
    } else {
        report::conclusion(&bracket, range)
    };
    screen.result(&text).map_err(unwritable)
}

/// A prober whose far side has answered, at the first of its addresses that does, and what keeps its network.
async fn reach(
    what: &Measurement,
    authority: &Authority,
    tls: Option<&Arc<Connector>>,
) -> Result<(Prober, Seat), String> {
    let resolved = tokio::net::lookup_host((authority.host.as_str(), authority.port)).await;
    let addresses = resolved.map_err(|error| format!("cannot resolve {}: {error}", authority.host))?;
    let mut failed = format!("{} has no address", authority.host);
    for address in addresses {
        let networks = Networks::new(settings(what), 1);
        let seat = networks.join(NetworkKey::named("here"), address.ip(), true).seat;
        let probing = seat.probing().ok_or("at least one probe is needed")?;
        let (url, tls, token_file) = (what.url.clone(), tls.cloned(), what.token_file.clone());
        let target = Target { address, url, preface: Vec::new(), tls, token_file };
        let mut prober = Prober::new(probing, target, None);
        match prober.open().await {
            Ok(()) => return Ok((prober, seat)),
            Err(error @ ProbeError::NotNatpulse) => return Err(format!("{}: {error}", what.url)),
            Err(error) => failed = format!("cannot reach {}: {error}", what.url),
        }
    }
    Err(failed)
}

fn settings(what: &Measurement) -> Settings {
    // The planner stops where a longer interval would save no more than 7%; without a margin that is the bracket.
    let in_use = (1000 + u32::from(what.precision_permille)) * 1000 / PLANNED_PERMILLE;
    Settings {
        policy: Policy::Smart,
        min: what.min,
        max: what.max,
        margin_permille: u16::try_from(1000_u32.saturating_sub(in_use)).unwrap_or(0),
        margin_min: Duration::ZERO,
        reply_timeout: REPLY,
        explore: false,
        probes: what.probes,
    }
}

/// Where the result is shown.
struct Screen<'a, W> {
    out: &'a mut W,
    is_live: bool,
    is_quiet: bool,
}

impl<W: Write> Screen<'_, W> {
    /// Replaces the line that shows how far the search has come.
    fn progress(&mut self, line: &str) -> io::Result<()> {
        write!(self.out, "\r{line:<COLUMNS$}")?;
        self.out.flush()
    }

    fn finding(&mut self, line: &str) -> io::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        self.clear()?;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    fn result(&mut self, text: &str) -> io::Result<()> {
        self.clear()?;
        write!(self.out, "{text}")?;
        self.out.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.is_live { write!(self.out, "\r{:COLUMNS$}\r", "") } else { Ok(()) }
    }
}
