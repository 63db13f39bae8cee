//! A session: one client's conversation with its backend, owned by one task.
//!
//! [`Session::run`] moves messages both ways until both ends are done. Everything that can happen is told
//! to it by `relay`; what follows from it is decided here, and how it ends is a [`CloseReason`].

mod relay;
mod side;

pub use side::Side;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::close::{CloseReason, Party};
use crate::metrics::BridgeMetrics;
use crate::wire::websocket::CloseFrame;
use crate::wire::{Decoder, Encoder, Kind, Tally, WireError};
use relay::{Relayed, relay};
use side::Flow;

/// The reason text of a close frame that only says that one direction is done, as a TCP FIN does. WebSocket
/// has no half-close; natpulse at the other end keeps the other direction open until that is done too,
/// anyone else sees an ordinary close.
const END_OF_STREAM: &str = "end of stream";

/// How long a connection may take to finish closing without a byte moving. Browsers give up after 2 s;
/// phones on bad links have been seen to need more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an end that is not being read, because the other one takes nothing, is asked whether it is still
/// there: rarely enough to cost nothing, and much sooner than anyone would look.
const STALL_LOOK: Duration = Duration::from_secs(2);

/// How long a session that is asked to leave waits for a pause in what its backend says; after that, any
/// message boundary will do.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// Reads from one client in a row before other sessions get their turn.
const ROUNDS: u32 = 8;

/// What a session is told when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a half-closed session may go on without a byte moving.
    pub linger: Duration,
    /// Whether a record becomes the kind of message that its WebSocket receiver last sent.
    pub mirror: bool,
}

/// How a session went.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub reason: CloseReason,
    /// What the party named by the reason did wrong, in words.
    pub detail: Option<String>,
    /// What crossed from client to backend.
    pub uplink: Tally,
    /// What crossed from backend to client.
    pub downlink: Tally,
}

/// A session under way.
#[derive(Debug)]
pub struct Session {
    client: Side,
    backend: Side,
    settings: Settings,
    uplink: Tally,
    downlink: Tally,
    /// The first thing that made the session end.
    reason: Option<(CloseReason, Option<String>)>,
    /// When the client is to be asked to leave.
    drain_at: Option<Instant>,
    last_moved: Instant,
    /// When it was last checked that an end which is not being read is still there.
    last_look: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Session {
    /// A session between two ends that are ready to speak.
    pub fn new(client: Side, backend: Side, settings: Settings) -> Self {
        let now = Instant::now();
        Session {
            client,
            backend,
            settings,
            uplink: Tally::default(),
            downlink: Tally::default(),
            reason: None,
            drain_at: None,
            last_moved: now,
            last_look: now,
            timer: None,
        }
    }

    /// Runs until both connections are closed. When `drain` is cancelled, the client is asked to leave, at
    /// a random moment within `spread`.
    pub async fn run(
        &mut self,
        metrics: &BridgeMetrics,
        drain: &CancellationToken,
        spread: Duration,
    ) -> Outcome {
        let mut draining = pin!(drain.cancelled());
        let mut watched = false;
        poll_fn(|cx| {
            // Registered once: the waker of a task never changes, and asking takes a lock.
            if self.drain_at.is_none() && (!watched || drain.is_cancelled()) {
                watched = true;
                if draining.as_mut().poll(cx).is_ready() {
                    self.drain_at = Some(Instant::now() + spread.mul_f32(rand::random()));
                }
            }
            let (uplink, downlink) = (self.uplink, self.downlink);
            let done = self.poll(cx);
            metrics.crossed(uplink, self.uplink, downlink, self.downlink);
            done
        })
        .await;
        let (reason, detail) = self.reason.take().unwrap_or((CloseReason::Closed(Party::Client), None));
        Outcome { reason, detail, uplink: self.uplink, downlink: self.downlink }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let up = self.pump(Party::Client, cx);
            let down = self.pump(Party::Backend, cx);
            let due = self.tick(down, cx);
            self.client.settle();
            self.backend.settle();
            if self.client.stream.is_closed() && self.backend.stream.is_closed() {
                return Poll::Ready(());
            }
            if !up && !down && !due {
                return Poll::Pending;
            }
        }
        // Others are waiting for this thread too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Client => &mut self.client,
            Party::Backend => &mut self.backend,
        }
    }

    /// Moves what there is from one end to the other; returns whether anything happened.
    fn pump(&mut self, from: Party, cx: &mut Context<'_>) -> bool {
        let mattered = self.deadline_matters();
        let (source, destination, tally) = match from {
            Party::Client => (&mut self.client, &mut self.backend, &mut self.uplink),
            Party::Backend => (&mut self.backend, &mut self.client, &mut self.downlink),
        };
        let mut moved = false;
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
        let mut progressed = moved;
        let before = *tally;
        let relayed = match destination.backlog() == 0 && source.input == Flow::Open {
            true => relay(source, destination, cx, tally),
            false => Relayed::Nothing,
        };
        progressed |= before != *tally;
        moved |= self.on_relayed(from, relayed);
        // What is read only to be dropped is no progress: nobody may keep a dying session alive with it.
        if (progressed || !mattered) && self.deadline_matters() {
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
            Relayed::ReadFailed => self.on_broken(from, CloseReason::Reset(from)),
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

    /// A connection is gone without a goodbye.
    fn on_broken(&mut self, from: Party, reason: CloseReason) {
        let side = self.side(from);
        let was_reset = matches!(side.decoder, Decoder::Raw) && reason == CloseReason::Reset(from);
        let was_cut = was_reset || !side.decoder.is_between_messages() || !side.unread.is_empty();
        side.close(false);
        self.because(reason, None);
        match was_cut {
            true => self.cut(from.other(), reason, ""),
            false => self.end(from.other(), reason, ""),
        }
    }

    /// Ends what goes to `party` after everything before it.
    fn end(&mut self, party: Party, reason: CloseReason, text: &str) {
        self.because(reason, None);
        self.side(party).end_output(&CloseFrame { code: Some(reason.code_for(party)), reason: text.into() });
    }

    /// Ends what goes to `party`, whose last message may be unfinished: a record that will never be whole
    /// must not look whole, so it is reset; so is a stream without records, which may always be unfinished.
    fn cut(&mut self, party: Party, reason: CloseReason, text: &str) {
        let side = self.side(party);
        let is_whole = side.encoder.is_between_messages() && !matches!(side.encoder, Encoder::Raw);
        if side.role.is_none() && !is_whole {
            side.close(true);
        } else {
            self.end(party, reason, text);
        }
    }

    /// Records why the session ends: the first cause is the one that counts.
    fn because(&mut self, reason: CloseReason, detail: Option<String>) {
        self.reason.get_or_insert((reason, detail));
    }

    fn deadline_matters(&self) -> bool {
        self.client.output != Flow::Open || self.backend.output != Flow::Open
    }

    /// When something must be done although nothing arrives.
    fn deadline(&self) -> Option<Instant> {
        let is_stalled = self.client.backlog() > 0 || self.backend.backlog() > 0;
        let deadline = match (self.client.output, self.backend.output) {
            (Flow::Open, Flow::Open) => self.drain_at.filter(|_| !self.client.ends_after_message),
            (Flow::Open, _) | (_, Flow::Open) => Some(self.last_moved + self.settings.linger),
            _ => Some(self.last_moved + CLOSE_TIMEOUT),
        };
        let look = is_stalled.then_some(self.last_look + STALL_LOOK);
        deadline.into_iter().chain(look).min()
    }

    /// Does what is due, and sees to being woken for what will be; returns whether anything was done.
    fn tick(&mut self, downlink_moved: bool, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline() else {
            return false;
        };
        let now = Instant::now();
        if deadline > now {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            return timer.as_mut().poll(cx).is_ready();
        }
        if self.last_look + STALL_LOOK <= now {
            self.last_look = now;
            return self.look_for_resets();
        }
        if self.deadline_matters() {
            for side in [&mut self.client, &mut self.backend] {
                side.close(side.backlog() > 0);
            }
            return true;
        }
        self.drain(downlink_moved, now)
    }

    /// While one end takes nothing the other is not read, and a reset of it would not be noticed.
    fn look_for_resets(&mut self) -> bool {
        let is_reset = |side: &Side, other: &Side| other.backlog() > 0 && side.stream.is_broken();
        let (client, backend) = (&self.client, &self.backend);
        let (client, backend) = (is_reset(client, backend), is_reset(backend, client));
        for (party, is_reset) in [(Party::Client, client), (Party::Backend, backend)] {
            if is_reset {
                self.on_broken(party, CloseReason::Reset(party));
            }
        }
        true
    }

    /// Asks the client to leave, after all that the backend has said; and if that has no end, after the
    /// message that is being sent.
    fn drain(&mut self, downlink_moved: bool, now: Instant) -> bool {
        let is_whole = self.client.encoder.is_between_messages();
        let is_calm =
            !downlink_moved && self.client.backlog() == 0 && self.backend.decoder.is_between_messages();
        let is_patient = self.drain_at.is_some_and(|at| now < at + DRAIN_PATIENCE);
        if is_whole && (is_calm || !is_patient) {
            self.leave();
            return true;
        }
        self.client.ends_after_message = !is_patient;
        false
    }

    fn leave(&mut self) {
        self.end(Party::Client, CloseReason::Drained, "service restart");
        self.last_moved = Instant::now();
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
