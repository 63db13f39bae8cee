//! The near side of one silence: asks for it, and judges how it ended.
//!
//! A connection on which nothing comes any more may have been forgotten by the NAT; as well the far side may have been
//! restarted, the network changed, the link cut, or this machine asleep. So a loss counts only if a fresh connection
//! works at once, reaches the same far side, and is seen in the same network.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::SUBPROTOCOL;
use super::line::{Heard, Line};
use super::word::{Far, Instance, Near};
use crate::heartbeat::{Outcome, Settings};
use crate::link::tls::Connector;
use crate::link::{BackendUrl, Call, DialError, Place, dial};
use crate::wire::websocket::Role;

/// Where the far side is.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address that was resolved once: another may lead through another network.
    pub address: SocketAddr,
    /// The WebSocket that it is.
    pub url: BackendUrl,
    /// The PROXY header that stands in front of it, if any.
    pub preface: Vec<u8>,
    /// Who does the TLS handshake, where there is one.
    pub tls: Option<Arc<Connector>>,
    /// The file with the token that it is sent, if it is sent one.
    pub token_file: Option<PathBuf>,
}

/// Why there is no probe connection.
#[derive(Debug)]
pub enum ProbeError {
    /// The far side could not be dialled.
    Dial(DialError),
    /// It was dialled, and is no natpulse that answers probes.
    NotNatpulse,
    /// It hung up before it said who it is.
    HungUp,
    /// It took too long.
    TimedOut,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Dial(error) => write!(f, "{error}"),
            ProbeError::NotNatpulse => f.write_str("the far end is no natpulse that answers probes"),
            ProbeError::HungUp => f.write_str("the far end hung up"),
            ProbeError::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for ProbeError {}

/// A probe connection on which nothing is asked for at the moment.
#[derive(Debug)]
pub(super) struct Connection {
    line: Line,
    /// Who answers, and in which network it sees us.
    far: (Instance, String),
    /// How long it took to open: several round trips.
    opening: Duration,
}

/// How a silence ended, as the near side alone can tell.
enum Ending {
    Survived(Duration),
    Lost(Duration),
    /// With the reason.
    Unclear(&'static str),
}

/// How a silence ended.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Why it is unclear, where it is.
    pub(super) why: Option<String>,
    /// Whether the far side cannot be reached at the moment.
    pub(super) is_unreachable: bool,
    /// A connection that works, for the next silence.
    pub(super) spare: Option<Connection>,
}

/// How far two clocks of this machine may drift apart within a silence. Where they are further apart it was asleep, or
/// its clock was set.
const DRIFT: Duration = Duration::from_secs(1);

/// No fresh connection is given less time: one packet of its handshakes may be lost (RFC 6298: 1 s).
const OPENING: Duration = Duration::from_secs(3);

impl Target {
    /// Opens a probe connection.
    pub(super) async fn open(&self, settings: &Settings) -> Result<Connection, ProbeError> {
        let patience = (settings.reply_timeout * 2).max(OPENING);
        timeout(patience, self.shake_hands()).await.unwrap_or(Err(ProbeError::TimedOut))
    }

    async fn shake_hands(&self) -> Result<Connection, ProbeError> {
        let begun = Instant::now();
        let offered = [SUBPROTOCOL.to_owned()];
        let call = Call {
            url: &self.url,
            place: Place::At(self.address),
            subprotocols: &offered,
            token_file: self.token_file.as_deref(),
            // What probes say is short, and no echo service hears it.
            longest: 0,
            preface: &self.preface,
            tls: self.tls.as_deref(),
        };
        let dialled = dial(&call).await.map_err(ProbeError::Dial)?;
        if dialled.subprotocol.is_none() {
            return Err(ProbeError::NotNatpulse);
        }
        let role = Role::Client { mask_key: rand::random };
        let mut line = Line::new(dialled.stream, &dialled.early, role);
        match line.hear().await {
            Heard::Line(word) => match word.parse() {
                Ok(Far::Hello { instance, network }) => {
                    Ok(Connection { line, far: (instance, network), opening: begun.elapsed() })
                }
                Ok(Far::Silent(_) | Far::Done) | Err(_) => Err(ProbeError::NotNatpulse),
            },
            Heard::Ping(_) => Err(ProbeError::NotNatpulse),
            Heard::Close | Heard::End => Err(ProbeError::HungUp),
        }
    }

    /// Leaves a connection silent, the spare one if there is one, and finds out what that did to it.
    pub(super) async fn probe(
        &self,
        spare: Option<Connection>,
        silence: Duration,
        settings: &Settings,
    ) -> Verdict {
        let mut connection = match spare {
            Some(connection) => connection,
            None => match self.open(settings).await {
                Ok(connection) => connection,
                Err(error) => return Verdict::unreachable(&error),
            },
        };
        let far = connection.far.clone();
        let silence = match connection.silence(silence, settings.reply_timeout).await {
            Ending::Survived(silence) => {
                return Verdict {
                    outcome: Outcome::Survived { silence },
                    why: None,
                    is_unreachable: false,
                    spare: Some(connection),
                };
            }
            Ending::Unclear(why) => return Verdict::unclear(why),
            // Nothing is learned below the shortest interval, and nobody beats as often.
            Ending::Lost(silence) if silence < settings.min => {
                return Verdict::unclear("the connection ended early");
            }
            Ending::Lost(silence) => silence,
        };
        // Never more connections than were allowed.
        drop(connection);
        match self.open(settings).await {
            Ok(fresh) => {
                let (instance, network) = (fresh.far.0 == far.0, fresh.far.1 == far.1);
                let verdict = match (instance, network) {
                    (true, true) => Verdict::clear(Outcome::Lost { silence }),
                    (false, _) => Verdict::unclear("another instance answers now"),
                    (true, false) => Verdict::unclear("the network has changed"),
                };
                Verdict { spare: Some(fresh), ..verdict }
            }
            Err(error) => Verdict::unreachable(&error),
        }
    }
}

impl Verdict {
    fn clear(outcome: Outcome) -> Verdict {
        Verdict { outcome, why: None, is_unreachable: false, spare: None }
    }

    fn unclear(why: &str) -> Verdict {
        Verdict { why: Some(why.to_owned()), ..Verdict::clear(Outcome::Unclear) }
    }

    fn unreachable(error: &ProbeError) -> Verdict {
        Verdict { is_unreachable: true, ..Verdict::unclear(&error.to_string()) }
    }
}

impl Connection {
    /// Asks for a silence and waits for its end. `reply` is how long an answer may take.
    async fn silence(&mut self, silence: Duration, reply: Duration) -> Ending {
        if self.line.say(&Near::Silence(silence).to_string()).await.is_err() {
            return Ending::Unclear("the connection was gone before its silence");
        }
        let (begun, clock) = (Instant::now(), SystemTime::now());
        // The far side's kernel repeats its word several times within this.
        let patience = silence + self.opening + reply * 2;
        let heard = timeout(patience, self.line.hear()).await;
        let elapsed = begun.elapsed();
        let by_clock = clock.elapsed().unwrap_or_default();
        let drift = by_clock.abs_diff(elapsed);
        if drift > DRIFT + elapsed / 100 {
            return Ending::Unclear("this machine was asleep, or its clock was set");
        }
        let told = match heard {
            Err(_) => return Ending::Lost(silence),
            Ok(Heard::End) => return Ending::Lost(elapsed.min(silence)),
            Ok(Heard::Close) => return Ending::Unclear("the far side said goodbye"),
            Ok(Heard::Ping(_)) => return Ending::Unclear("something on the way sends pings"),
            Ok(Heard::Line(word)) => match word.parse() {
                Ok(Far::Silent(told)) => told,
                Ok(Far::Hello { .. } | Far::Done) | Err(_) => {
                    return Ending::Unclear("the far side made no sense");
                }
            },
        };
        if self.line.say(&Near::Heard.to_string()).await.is_err() {
            return Ending::Unclear("the answer could not be sent");
        }
        match timeout(self.opening + reply * 2, self.line.hear()).await {
            Ok(Heard::Line(word)) if word.parse() == Ok(Far::Done) => Ending::Survived(told.min(elapsed)),
            Ok(_) | Err(_) => Ending::Unclear("the answer was not heard"),
        }
    }
}
