//! One network: its connections, who of them may try a longer silence, and whose death was the NAT's doing.
//!
//! A connection that no longer answers may have been forgotten by the NAT. Far more often somebody closed a laptop.
//! Within what is proven, a death therefore counts only when the client comes back promptly while the rest of the
//! network is alive, and nobody else has survived as long a silence in the meantime. A reset in answer to the first
//! packet after a silence needs no such witness: only somebody who has forgotten the connection sends one.

use core::net::IpAddr;
use core::time::Duration;

use super::probe::{Outcome, ProbeId, Prober, Step};
use super::roll_call::{Answer, Finding, RollCall};
use super::smart::{AGREE_PERMILLE, Bracket, Search, permille};
use super::{Cause, Departure, Ladder, NetworkId, NetworkKey, Policy, Settings, millis};

/// A connection's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat(pub(super) u32);

impl Seat {
    /// A small number that no other connection of the table has while this one sits.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How long a connection may be silent before its next beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long.
    pub interval: Duration,
    /// Whether this is longer than what is proven. A trial is not shortened by jitter.
    pub is_trial: bool,
}

/// Who must beat at once and plan anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// Nobody.
    Nobody,
    /// All connections of the network: what was proven is in doubt, and those that are still alive tell at once how
    /// much of it holds.
    Network(NetworkId),
}

/// What is kept of a network when its last connection has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The policy learns nothing.
    Nothing,
    /// By [`Policy::Smart`].
    Smart(Bracket),
    /// By [`Policy::Wechat`].
    Wechat(Ladder),
}

impl Learned {
    /// What is known before anything has happened.
    pub(super) fn new(policy: &Policy) -> Learned {
        match policy {
            Policy::Off | Policy::Fixed { .. } => Learned::Nothing,
            Policy::Wechat(rule) => Learned::Wechat(Ladder::new(rule)),
            Policy::Smart => Learned::Smart(Bracket::default()),
        }
    }
}

/// What the table knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sitter {
    pub(super) network: NetworkId,
    pub(super) peer: IpAddr,
    /// Its place among the network's seats.
    pub(super) place: u32,
    pub(super) planned_ms: u32,
    /// Good beats, as WeChat's rule counts them for each connection.
    pub(super) good: u8,
    /// Whether it was woken and has not answered yet.
    pub(super) is_asked: bool,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) key: NetworkKey,
    pub(super) learned: Learned,
    pub(super) seats: Vec<Seat>,
    trial: Option<Trial>,
    /// Whose trial was cut short by other traffic: somebody quieter goes next.
    passed_over: Option<Seat>,
    /// Deaths within what is proven that nobody has explained yet.
    deaths: Vec<Death>,
    /// The longest silence survived of late, and when it ended.
    latest: (Duration, Duration),
    roll_call: Option<RollCall>,
    pub(super) prober: Option<Box<Prober>>,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    seat: Seat,
    until: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Death {
    peer: IpAddr,
    silence: Duration,
    at: Duration,
    was_alone: bool,
}

/// How soon a client must be back for its death to count as the NAT's doing. Clients notice a closed connection at
/// once and reconnect within seconds; a laptop that was opened again rarely is that quick.
const PROMPT: Duration = Duration::from_secs(30);

/// How long ago the first of two unanswered beats was sent, where the round trip is known: twice 3 s. Whoever survived as
/// long a silence since then acquits the NAT.
const MEANWHILE: Duration = Duration::from_secs(6);

/// More deaths than this at once are not looked at one by one.
const MAX_DEATHS: usize = 4;

impl Network {
    pub(super) fn new(key: NetworkKey, learned: Learned) -> Network {
        Network {
            key,
            learned,
            seats: Vec::new(),
            trial: None,
            passed_over: None,
            deaths: Vec::new(),
            latest: (Duration::ZERO, Duration::ZERO),
            roll_call: None,
            prober: None,
        }
    }

    fn search(&self) -> Search {
        if self.prober.is_some() { Search::Probes } else { Search::Users }
    }

    /// Somebody has come, who is not among the seats yet. Returns whether the others must be woken.
    pub(super) fn on_joined(&mut self, peer: IpAddr, is_crowd: bool, now: Duration) -> bool {
        self.deaths.retain(|death| now.saturating_sub(death.at) <= PROMPT);
        let Some(place) = self.deaths.iter().position(|death| death.peer == peer) else {
            return false;
        };
        let death = self.deaths.swap_remove(place);
        let is_explained = !is_crowd && (death.was_alone || !self.seats.is_empty());
        is_explained && self.on_forgotten(death.silence, now)
    }

    /// The NAT forgot a connection within what was proven.
    fn on_forgotten(&mut self, silence: Duration, now: Duration) -> bool {
        let search = self.search();
        let Learned::Smart(bracket) = &mut self.learned else {
            return false;
        };
        let was_in_use = millis(silence) <= bracket.proven_ms;
        bracket.on_died_within(silence, self.seats.len(), search, now);
        if was_in_use {
            self.trial = None;
            self.prober.iter_mut().for_each(|prober| prober.on_doubt());
            self.roll_call = (!self.seats.is_empty()).then(|| RollCall::new(self.seats.len()));
        }
        was_in_use && !self.seats.is_empty()
    }

    /// One of those who were woken has answered. When all have, they are believed.
    fn on_called(&mut self, answer: Answer, now: Duration) {
        let search = self.search();
        let (Some(roll_call), Learned::Smart(bracket)) = (&mut self.roll_call, &mut self.learned) else {
            return;
        };
        let Some(finding) = roll_call.on_answer(answer) else {
            return;
        };
        self.roll_call = None;
        match finding {
            Finding::Some { proven, fatal } => {
                bracket.on_survived(proven, now);
                if let Some(fatal) = fatal.filter(|fatal| *fatal > bracket.proven()) {
                    bracket.on_died_within(fatal, self.seats.len(), search, now);
                }
            }
            Finding::Nobody { shortest } => {
                self.deaths.clear();
                if shortest.is_some_and(|shortest| millis(shortest) <= bracket.claimed_ms() / 4) {
                    bracket.acquit(now);
                }
            }
        }
    }

    pub(super) fn plan(
        &mut self,
        seat: Seat,
        sitter: &mut Sitter,
        settings: &Settings,
        now: Duration,
    ) -> Plan {
        if self.trial.is_some_and(|trial| trial.seat == seat) {
            self.trial = None;
            self.passed_over = Some(seat);
        }
        let trial = self.lend(seat, settings, now);
        let interval = match (&self.learned, &settings.policy) {
            (Learned::Smart(bracket), _) => trial.unwrap_or_else(|| bracket.in_use(settings)),
            (Learned::Wechat(ladder), Policy::Wechat(rule)) => {
                if sitter.good < rule.establish {
                    rule.min
                } else {
                    ladder.interval()
                }
            }
            (_, Policy::Fixed { every }) => *every,
            (Learned::Nothing | Learned::Wechat(_), Policy::Off | Policy::Smart | Policy::Wechat(_)) => {
                Duration::MAX
            }
        };
        sitter.planned_ms = millis(interval);
        Plan { interval, is_trial: trial.is_some() }
    }

    /// A trial for this connection, if there is one to be had.
    fn lend(&mut self, seat: Seat, settings: &Settings, now: Duration) -> Option<Duration> {
        let is_others_turn = self.passed_over == Some(seat) && self.seats.len() > 1;
        let is_lent = self.trial.is_some_and(|trial| now < trial.until);
        if !settings.explore || self.prober.is_some() || is_others_turn || is_lent {
            return None;
        }
        let Learned::Smart(bracket) = &self.learned else {
            return None;
        };
        let silence = Duration::from_millis(u64::from(bracket.trial_ms(settings, now)?));
        // Long enough for a late timer and two unanswered beats. Whoever takes longer is stuck.
        let until = now + silence * 2 + settings.reply_timeout * 2;
        self.trial = Some(Trial { seat, until });
        self.passed_over = None;
        Some(silence)
    }

    pub(super) fn on_survived(
        &mut self,
        seat: Seat,
        sitter: &mut Sitter,
        silence: Duration,
        settings: &Settings,
        now: Duration,
    ) {
        match (&mut self.learned, &settings.policy) {
            (Learned::Smart(bracket), _) => {
                if silence >= self.latest.0 || now.saturating_sub(self.latest.1) > MEANWHILE {
                    self.latest = (silence, now);
                }
                // The path keeps silences this long, so those deaths had another cause.
                self.deaths.retain(|death| silence < death.silence);
                if self.trial.is_some_and(|trial| trial.seat == seat && millis(silence) >= sitter.planned_ms)
                {
                    self.trial = None;
                }
                if core::mem::take(&mut sitter.is_asked) {
                    self.on_called(Answer::Survived(silence), now);
                } else {
                    bracket.on_survived(silence, now);
                }
            }
            (Learned::Wechat(ladder), Policy::Wechat(rule)) => {
                if sitter.good >= rule.establish && sitter.planned_ms == ladder.current_ms {
                    ladder.on_good(rule, now);
                }
                sitter.good = sitter.good.saturating_add(1);
            }
            (Learned::Nothing | Learned::Wechat(_), _) => {}
        }
    }

    /// Somebody has gone, who is not among the seats any more. Returns whether the others must be woken.
    pub(super) fn on_left(
        &mut self,
        seat: Seat,
        sitter: &Sitter,
        departure: Departure,
        is_crowd: bool,
        settings: &Settings,
        now: Duration,
    ) -> bool {
        let was_trial = self.trial.is_some_and(|trial| trial.seat == seat);
        if was_trial {
            self.trial = None;
        }
        let (silence, is_certain) = match departure {
            Departure::Lost { silence } => (silence, false),
            Departure::Reset { silence } => (silence, true),
            Departure::Goodbye => {
                if sitter.is_asked {
                    self.on_called(Answer::Left, now);
                }
                return false;
            }
        };
        let search = self.search();
        match (&mut self.learned, &settings.policy) {
            (Learned::Smart(_), _) if sitter.is_asked => self.on_called(Answer::Died(silence), now),
            // At the floor nothing can be done, and in a crowd nothing can be told apart.
            (Learned::Smart(_), _) if is_at_floor(silence, settings) || is_crowd => {}
            (Learned::Smart(bracket), _) => {
                if was_trial || millis(silence) > bracket.claimed_ms() {
                    bracket.on_died_beyond(silence, search, now);
                } else if is_certain {
                    return self.on_forgotten(silence, now);
                } else {
                    self.remember(Death {
                        peer: sitter.peer,
                        silence,
                        at: now,
                        was_alone: self.seats.is_empty(),
                    });
                }
            }
            (Learned::Wechat(ladder), Policy::Wechat(rule)) => {
                if sitter.good >= rule.establish && sitter.planned_ms == ladder.current_ms {
                    ladder.on_bad(rule, now);
                }
            }
            (Learned::Nothing | Learned::Wechat(_), _) => {}
        }
        false
    }

    /// What a departure that is about to be told was caused by.
    pub(super) fn cause(
        &self,
        seat: Seat,
        sitter: &Sitter,
        departure: Departure,
        settings: &Settings,
    ) -> Cause {
        let was_trial = self.trial.is_some_and(|trial| trial.seat == seat);
        match (departure, &self.learned) {
            (Departure::Reset { .. }, _) => Cause::Reset,
            (Departure::Lost { silence }, _) if is_at_floor(silence, settings) => Cause::Unclear,
            (Departure::Lost { silence }, Learned::Smart(bracket))
                if was_trial || sitter.is_asked || millis(silence) > bracket.claimed_ms() =>
            {
                Cause::Nat
            }
            (Departure::Lost { .. } | Departure::Goodbye, _) => Cause::Unclear,
        }
    }

    fn remember(&mut self, death: Death) {
        self.deaths.retain(|earlier| death.at.saturating_sub(earlier.at) <= PROMPT);
        let (longest, at) = self.latest;
        let is_refuted = longest >= death.silence && death.at.saturating_sub(at) <= MEANWHILE;
        if self.deaths.len() < MAX_DEATHS && !is_refuted {
            self.deaths.push(death);
        }
    }

    pub(super) fn probe_step(&mut self, settings: &Settings, now: Duration) -> Step {
        match (&mut self.prober, &self.learned) {
            (Some(prober), Learned::Smart(bracket)) => prober.step(bracket, self.seats.len(), settings, now),
            (Some(_) | None, _) => Step::Rest { until: Duration::MAX },
        }
    }

    /// Returns whether the users' connections must be woken.
    pub(super) fn on_probed(&mut self, probe: ProbeId, outcome: Outcome, now: Duration) -> bool {
        if !self.prober.as_mut().is_some_and(|prober| prober.on_ended(probe)) {
            return false;
        }
        let Learned::Smart(bracket) = &mut self.learned else {
            return false;
        };
        match outcome {
            Outcome::Survived { silence } => bracket.on_survived(silence, now),
            Outcome::Lost { silence } if millis(silence) <= bracket.proven_ms => {
                return self.on_forgotten(silence, now);
            }
            Outcome::Lost { silence } => bracket.on_died_beyond(silence, Search::Probes, now),
            Outcome::Unclear => {}
        }
        false
    }
}

/// Whether it was as short as silences can be; timers fire late.
fn is_at_floor(silence: Duration, settings: &Settings) -> bool {
    millis(silence) <= permille(millis(settings.min), AGREE_PERMILLE)
}
