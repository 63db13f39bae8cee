//! A session: one client's conversation with its backend, owned by one task.
//!
//! [`Session::run`] moves messages both ways until both ends are done. Everything that can happen is told
//! to it by `relay`; what follows from it is decided here, and how it ends is a [`CloseReason`].

mod address;
mod budget;
mod deadline;
mod debt;
mod ending;
mod redial;
mod relay;
mod side;
mod vigil;

pub use budget::Budget;
pub use ending::Term;
pub use side::Side;
pub use vigil::Upkeep;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::close::{CloseReason, Party};
use crate::metrics::BridgeMetrics;
use crate::sessions::{Record, Sessions};
use crate::wire::websocket::CloseFrame;
use crate::wire::{Kind, WireError};
use deadline::{Drain, Moved};
use ending::DISMISSED;
use relay::{Relayed, relay};
use side::Flow;

/// The reason text of a close frame that only says that one direction is done, as a TCP FIN does. WebSocket
/// has no half-close; natpulse at the other end keeps the other direction open until that is done too,
/// anyone else sees an ordinary close.
const END_OF_STREAM: &str = "end of stream";

/// The part of the drain's spread within which a client is asked to leave whose session begins when others leave: it may
/// come when a quarter of the drain is over.
const LATECOMER_PART: f32 = 0.5;

/// Reads from one client in a row before other sessions get their turn.
const ROUNDS: u32 = 8;

/// What a session is told when it begins.
#[derive(Debug)]
pub struct Settings {
    /// How long a half-closed session may go on without a byte moving.
    pub linger: Duration,
    /// Whether a record becomes the kind of message that its WebSocket receiver last sent.
    pub mirror: bool,
    /// Whether a WebSocket backend that dies while no message is on its way may be replaced by another connection.
    pub redial: bool,
    /// What is counted.
    pub metrics: BridgeMetrics,
    /// Who is told of deaths.
    pub sessions: Arc<Sessions>,
    /// How long a session may last.
    pub max_age: Option<Duration>,
    /// How long a session may last without a message.
    pub idle_timeout: Option<Duration>,
    /// What all sessions together may hold for peers that do not take it.
    pub budget: Arc<Budget>,
    /// Within which time of the drain's beginning the client is asked to leave, at a random moment; in milliseconds.
    pub drain_spread: Arc<AtomicU64>,
    /// How the client is kept alive.
    pub client: Upkeep,
    /// How the backend is kept alive.
    pub backend: Upkeep,
}

impl Settings {
    fn upkeep(&self, party: Party) -> &Upkeep {
        match party {
            Party::Client => &self.client,
            Party::Backend => &self.backend,
        }
    }
}

/// How a session went.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub reason: CloseReason,
    /// What the party named by the reason did wrong, in words.
    pub detail: Option<String>,
}

/// Why [`Session::run`] returned.
#[derive(Debug)]
pub enum Ended {
    /// The session is over.
    For(Outcome),
    /// The backend died, and another connection to it may take its place: see [`Session::resume`].
    Backend(CloseReason),
}

/// A session under way.
#[derive(Debug)]
pub struct Session {
    client: Side,
    backend: Side,
    settings: Arc<Settings>,
    /// What it tells of itself.
    record: Arc<Record>,
    begun: Instant,
    /// Bytes that either end has not taken, as they were last counted.
    buffered: usize,
    /// The first thing that made the session end.
    reason: Option<Box<Outcome>>,
    drain: Drain,
    /// When it must end, if it must; boxed, because most sessions need not.
    term: Option<Box<Term>>,
    /// Whether the backend died, and another connection may take its place.
    lacks_backend: bool,
    /// Whether a message, or a part of one, has crossed since the clock was last looked at.
    has_crossed: bool,
    /// Whether the task will be woken when natpulse drains.
    is_watching: bool,
    last_moved: Instant,
    /// When it was last checked that an end which is not being read is still there.
    last_look: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Session {
    /// A session between two ends that are ready to speak, of which the backend may be natpulse.
    pub fn new(
        client: Side,
        backend: Side,
        settings: Arc<Settings>,
        record: Arc<Record>,
        is_natpulse: bool,
    ) -> Self {
        let now = Instant::now();
        let mut session = Session {
            client,
            backend,
            settings,
            record,
            begun: now,
            buffered: 0,
            reason: None,
            drain: Drain::No,
            term: None,
            lacks_backend: false,
            has_crossed: false,
            is_watching: false,
            last_moved: now,
            last_look: now,
            timer: None,
        };
        session.keep_alive(is_natpulse);
        session
    }

    /// Ends it when this is over, unless it has to end sooner.
    pub fn limit(&mut self, term: Term) {
        if self.term.as_ref().is_none_or(|known| known.until > term.until) {
            self.term = Some(Box::new(term));
        }
    }

    /// When it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// What it tells of itself.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Runs until both connections are closed, or the backend may be replaced. When `drain` is cancelled, the client is
    /// asked to leave.
    pub async fn run(&mut self, drain: &CancellationToken) -> Ended {
        let mut draining = pin!(drain.cancelled());
        poll_fn(|cx| {
            // Registered once: the waker of a task never changes.
            if self.drain == Drain::No && (!self.is_watching || drain.is_cancelled()) {
                let has_begun = std::mem::replace(&mut self.is_watching, true);
                self.watch(cx.waker());
                if draining.as_mut().poll(cx).is_ready() {
                    // Whoever begins when others leave has less time left.
                    let part = if has_begun { 1.0 } else { LATECOMER_PART };
                    let spread = self.settings.drain_spread.load(Ordering::Relaxed);
                    let spread = Duration::from_millis(spread).mul_f32(part);
                    self.drain = Drain::At(Instant::now() + spread.mul_f32(rand::random()));
                }
            }
            if self.record.is_dismissed() {
                self.dismiss(CloseReason::Dismissed, DISMISSED);
            }
            let done = self.poll(cx);
            if self.count_buffered(self.client.backlog() + self.backend.backlog()) {
                // What was ended is still to be sent.
                cx.waker().wake_by_ref();
            }
            done
        })
        .await;
        if let Some(outcome) = self.reason.as_ref().filter(|_| self.lacks_backend) {
            return Ended::Backend(outcome.reason);
        }
        let nobody = Outcome { reason: CloseReason::Closed(Party::Client), detail: None };
        Ended::For(self.reason.take().map_or(nobody, |outcome| *outcome))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for round in 1..=ROUNDS {
            let uplink = self.pump(Party::Client, cx);
            let downlink = self.pump(Party::Backend, cx);
            // Time has passed when nothing moves any more, or when moving takes no end.
            let is_time = round == ROUNDS || !uplink && !downlink;
            let due = is_time && self.tick(Moved { uplink, downlink }, cx);
            self.client.settle();
            self.backend.settle();
            if self.lacks_backend {
                return Poll::Ready(());
            }
            if self.client.stream.is_closed() && self.backend.stream.is_closed() {
                return Poll::Ready(());
            }
            if !uplink && !downlink && !due {
                return Poll::Pending;
            }
        }
        // Others are waiting for this thread too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes note of what either end has not taken; returns whether that was too much.
    fn count_buffered(&mut self, now: usize) -> bool {
        let before = std::mem::replace(&mut self.buffered, now);
        if before == now {
            return false;
        }
        self.settings.metrics.buffered(before, now);
        let times = self.settings.budget.change(before, now);
        self.relieve(before, times)
    }

    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Client => &mut self.client,
            Party::Backend => &mut self.backend,
        }
    }

    /// Moves what there is from one end to the other; returns whether anything happened.
    fn pump(&mut self, from: Party, cx: &mut Context<'_>) -> bool {
        let was_ending = self.is_ending();
        let (source, destination) = match from {
            Party::Client => (&mut self.client, &mut self.backend),
            Party::Backend => (&mut self.backend, &mut self.client),
        };
        let mut moved = false;
        let had_words = destination.has_words;
        if !destination.stream.is_closed() {
            match destination.poll_flush(cx) {
                Poll::Ready(Ok(went)) => moved = went > 0,
                Poll::Ready(Err(_)) => {
                    destination.output_failed();
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        // Beats go on for as long as both kernels live: they keep no session from ending.
        let mut progressed = moved && had_words;
        let (mut messages, mut bytes) = (0, 0);
        let relayed = match destination.backlog() == 0 && source.input == Flow::Open {
            true => relay(source, destination, cx, |tally| {
                (messages, bytes) = (tally.messages(), tally.bytes);
                self.settings.metrics.crossed(from, tally);
            }),
            false => Relayed::Nothing,
        };
        if messages > 0 || bytes > 0 {
            if destination.backlog() > 0 {
                self.settings.metrics.paused(from);
            }
            self.record.add(from, messages, bytes);
            self.has_crossed = true;
            progressed = true;
        }
        moved |= self.on_relayed(from, relayed);
        // What is read only to be dropped is no progress: nobody may keep a dying session alive with it.
        if (progressed || !was_ending) && self.is_ending() {
            self.last_moved = Instant::now();
        }
        if self.settings.mirror
            && let Some(kind) = self.side(from).decoder.last_kind()
        {
            self.side(from).encoder.set_default_kind(kind);
        }
        moved
    }

    /// Draws the consequences; returns whether anything happened.
    fn on_relayed(&mut self, from: Party, relayed: Relayed) -> bool {
        match relayed {
            Relayed::Nothing => return false,
            Relayed::Something => {}
            Relayed::Eof => self.on_eof(from),
            Relayed::LastMessage => self.leave(),
            Relayed::Close(close) => self.on_close(from, close),
            Relayed::Refused(error) => self.on_refused(from, &error),
            Relayed::ReadFailed => {
                self.on_reset(from);
                self.on_broken(from, CloseReason::Reset(from));
            }
        }
        true
    }

    fn on_eof(&mut self, from: Party) {
        let side = self.side(from);
        if side.role.is_some() {
            return match side.output {
                Flow::Open => self.on_broken(from, CloseReason::Vanished(from)),
                // Our close frame is answered by the end of the stream: as good as a frame.
                Flow::Ending | Flow::Ended => {
                    side.close(false);
                    self.end(from.other(), CloseReason::Closed(from), "");
                }
            };
        }
        let kept = side.unread.len();
        if !side.decoder.is_between_messages() || kept > 0 {
            return self.on_refused(from, &WireError::Truncated { kept });
        }
        side.end_input();
        self.end(from.other(), CloseReason::Closed(from), END_OF_STREAM);
    }

    fn on_close(&mut self, from: Party, close: CloseFrame) {
        let half = close.reason == END_OF_STREAM;
        let side = self.side(from);
        side.end_input();
        if !half {
            // The answer repeats the code (RFC 6455 section 5.5.1).
            side.end_output(&CloseFrame { code: close.code, reason: String::new() });
        }
        self.because(CloseReason::Closed(from), None);
        self.side(from.other()).end_output(&close);
    }

    fn on_refused(&mut self, from: Party, error: &WireError) {
        let reason = match error {
            WireError::TooLong { .. } => CloseReason::TooLong(from),
            WireError::Truncated { .. } => CloseReason::Truncated(from),
            WireError::InvalidUtf8 => CloseReason::InvalidText(from),
            WireError::Unframeable(_) => CloseReason::Unframeable(from),
            WireError::BadLength(_) | WireError::Protocol(_) => CloseReason::BrokeProtocol(from),
        };
        let text = error.to_string();
        let side = self.side(from);
        match side.role {
            // What still comes is read and dropped, so that the close frame is not lost to a reset.
            Some(_) => {
                side.end_output(&CloseFrame { code: Some(reason.code_for(from)), reason: text.clone() });
                side.hang_up = true;
                side.end_input();
                side.input = Flow::Open;
            }
            None => side.close(true),
        }
        self.because(reason, Some(text.clone()));
        self.cut(from.other(), reason, &text);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count_buffered(0);
    }
}

/// What a record becomes on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Always this.
    Fixed(Kind),
    /// The kind of message that the receiver last sent; binary before it sent any.
    Mirror,
}
