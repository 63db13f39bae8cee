//! Which connections that carry nothing to leave silent, and for how long, where both ends are natpulse.
//!
//! No user's connection is at risk, so several silences are tried at once:
//!
//! 1. *Climb.* Nothing is refuted: a ladder of silences, each at most half as long again as the one before, most of
//!    them just under a known timeout. When one has survived, its connection takes the next rung above all others, so
//!    the ladder reaches a long timeout hardly later than if it had been built at once.
//! 2. *Narrow.* A rung has died, and all longer ones are given up: the widest gap between what is proven and what
//!    is refuted is halved, again and again, until all connections are busy or no gap is worth it.
//! 3. *Confirm.* The bracket is narrow, but its upper end is a single death: the same silence once more.
//! 4. *Rest.* A canary now and then repeats the longest silence proven, so that a timeout which creeps downward is
//!    found before the users' margin is used up; and the upper end is tried again after a day, then ever more rarely.
//!
//! After each silence the far side speaks first. Some NATs make a forgotten mapping anew for a packet from inside, and
//! a device that spoke first would find everything well where nobody could have reached it.

use core::time::Duration;

use super::smart::{Bracket, Search, step_ms};
use super::{Settings, known, millis};

/// One silent connection of a [`Prober`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId(u32);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Leave a connection silent for so long; then the far side speaks. A connection whose last silence survived
    /// will do, and saves a handshake.
    Start {
        /// Its name.
        probe: ProbeId,
        /// How long.
        silence: Duration,
    },
    /// Close it: its silence would teach nothing any more.
    Stop(ProbeId),
    /// Nothing until a probe has ended.
    Wait,
    /// Nothing is running, and nothing will before then.
    Rest {
        /// Since the UNIX epoch.
        until: Duration,
    },
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The far side spoke after this silence and was answered.
    Survived {
        /// The silence as it really was; timers fire late.
        silence: Duration,
    },
    /// The far side spoke after this silence, twice, and was not answered; and a fresh connection worked at once,
    /// reached the same far side, and left from the same network.
    Lost {
        /// The silence as it really was.
        silence: Duration,
    },
    /// Anything else. It is tried again.
    Unclear,
}

/// The probes of one network.
#[derive(Debug, Default)]
pub struct Prober {
    running: Vec<Running>,
    started: u32,
    canary_at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    probe: ProbeId,
    silence_ms: u32,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To narrow the bracket; pointless outside of it.
    Search,
    /// To look at one of the bracket's ends again.
    Check,
    /// It began before the network was seen to change.
    Outdated,
}

/// A canary's share of a network's beats. 200: with its handshake, 1% of the beats that a lone connection costs.
const BEATS_PER_CANARY: u32 = 200;

/// A rung is at most half as long again as the one below: what dies of it is known half a timeout late.
const RUNG_PERMILLE: (u64, u64) = (1100, 1500);

impl Prober {
    /// What to do; to be asked until it says [`Step::Wait`] or [`Step::Rest`], and again when a probe has ended, when
    /// the rest is over, and when a user's connection of the network died. `seats` is how many users' connections
    /// the network has.
    pub(super) fn step(
        &mut self,
        bracket: &Bracket,
        seats: usize,
        settings: &Settings,
        now: Duration,
    ) -> Step {
        if let Some(place) = self.running.iter().position(|running| running.is_pointless(bracket)) {
            return Step::Stop(self.running.swap_remove(place).probe);
        }
        if self.running.len() >= usize::from(settings.probes) {
            return Step::Wait;
        }
        if let Some(silence_ms) = self.candidate(bracket, settings) {
            return self.start(silence_ms, Purpose::Search);
        }
        if !self.running.is_empty() {
            return Step::Wait;
        }
        if let Some(silence_ms) = bracket.again_ms(settings, now) {
            return self.start(silence_ms, Purpose::Check);
        }
        if now >= self.canary_at && bracket.proven_ms > 0 {
            let seats = u32::try_from(seats.max(1)).unwrap_or(u32::MAX);
            let rest = (BEATS_PER_CANARY / seats).max(20);
            let is_first = self.canary_at == Duration::ZERO;
            self.canary_at = now + bracket.proven() * rest;
            if !is_first {
                return self.start(bracket.proven_ms, Purpose::Check);
            }
        }
        let again_at = bracket.again(settings).map_or(Duration::MAX, |(_, at)| at);
        // Where nothing is proven there is nothing for a canary to repeat.
        let canary_at = if bracket.proven_ms > 0 { self.canary_at } else { Duration::MAX };
        Step::Rest { until: again_at.min(canary_at) }
    }

    fn start(&mut self, silence_ms: u32, purpose: Purpose) -> Step {
        self.started = self.started.wrapping_add(1);
        let probe = ProbeId(self.started);
        self.running.push(Running { probe, silence_ms, purpose });
        Step::Start { probe, silence: Duration::from_millis(u64::from(silence_ms)) }
    }

    /// Whether the probe was running, so that its outcome counts.
    pub(super) fn on_ended(&mut self, probe: ProbeId) -> bool {
        let place = self.running.iter().position(|running| running.probe == probe);
        place.map(|place| self.running.swap_remove(place)).is_some_and(|it| it.purpose != Purpose::Outdated)
    }

    /// The network has changed: what began before proves nothing.
    pub(super) fn on_doubt(&mut self) {
        self.running.iter_mut().for_each(|running| running.purpose = Purpose::Outdated);
    }

    /// The silence most worth trying beside those that are being tried.
    fn candidate(&self, bracket: &Bracket, settings: &Settings) -> Option<u32> {
        let (min_ms, max_ms) = (millis(settings.min), millis(settings.max));
        let searching = self.running.iter().filter(|running| running.purpose == Purpose::Search);
        let mut points_ms: Vec<u32> = searching.map(|running| running.silence_ms).collect();
        points_ms.push(bracket.proven_ms.max(min_ms));
        let Some(upper_ms) = bracket.upper_ms() else {
            let highest_ms = points_ms.into_iter().max().filter(|highest_ms| *highest_ms < max_ms)?;
            return Some(rung_above(highest_ms).min(max_ms));
        };
        points_ms.push(upper_ms.min(max_ms));
        points_ms.sort_unstable();
        let gaps = points_ms.windows(2).map(|pair| (pair[0], pair[1]));
        let worth_it = gaps.filter(|(low, high)| *high > step_ms(*low, Search::Probes, settings));
        let (low, high) =
            worth_it.max_by_key(|(low, high)| u64::from(*high) * 1_000_000 / u64::from(*low))?;
        Some(middle(low, high))
    }
}

impl Running {
    fn is_pointless(&self, bracket: &Bracket) -> bool {
        match self.purpose {
            Purpose::Search => {
                let is_too_long = bracket.upper_ms().is_some_and(|upper_ms| self.silence_ms >= upper_ms);
                self.silence_ms <= bracket.proven_ms || is_too_long
            }
            Purpose::Check => false,
            Purpose::Outdated => true,
        }
    }
}

fn rung_above(silence_ms: u32) -> u32 {
    let at = |permille: u64| u32::try_from(u64::from(silence_ms) * permille / 1000).unwrap_or(u32::MAX);
    let (lowest_ms, highest_ms) = (at(RUNG_PERMILLE.0), at(RUNG_PERMILLE.1));
    known::longest_in(lowest_ms, highest_ms).unwrap_or(highest_ms).max(silence_ms + 1)
}

/// The geometric middle of a gap, or just under a known timeout in the middle half of it.
fn middle(low_ms: u32, high_ms: u32) -> u32 {
    let between = |a: u32, b: u32| u32::try_from((u64::from(a) * u64::from(b)).isqrt()).unwrap_or(u32::MAX);
    let middle_ms = between(low_ms, high_ms);
    known::longest_in(between(low_ms, middle_ms), between(middle_ms, high_ms)).unwrap_or(middle_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Every step until there is nothing more to do now.
    fn steps(prober: &mut Prober, bracket: &Bracket, settings: &Settings, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = prober.step(bracket, 1, settings, now);
            if matches!(step, Step::Wait | Step::Rest { .. }) {
                return steps;
            }
            steps.push(step);
        }
    }

    fn started(steps: &[Step]) -> Vec<u64> {
        let silence = |step: &Step| match step {
            Step::Start { silence, .. } => Some(silence.as_secs()),
            Step::Stop(_) | Step::Wait | Step::Rest { .. } => None,
        };
        steps.iter().filter_map(silence).collect()
    }

    #[test]
    fn it_begins_with_a_ladder_of_known_timeouts() {
        let settings = Settings { max: at(10_000), ..Settings::default() };
        let first = steps(&mut Prober::default(), &Bracket::default(), &settings, at(0));
        assert_eq!(started(&first), [22, 29, 44, 59, 89, 99, 149, 179]);
    }

    #[test]
    fn it_asks_for_no_more_connections_than_allowed_and_nothing_longer_than_allowed() {
        let settings = Settings { max: at(50), probes: 20, ..Settings::default() };
        let first = steps(&mut Prober::default(), &Bracket::default(), &settings, at(0));
        assert_eq!(started(&first), [22, 29, 44, 50]);
        let settings = Settings { probes: 2, ..Settings::default() };
        let first = steps(&mut Prober::default(), &Bracket::default(), &settings, at(0));
        assert_eq!(started(&first), [22, 29]);
    }

    #[test]
    fn a_death_stops_all_that_are_longer_and_narrows_the_gap() {
        let settings = Settings::default();
        let (mut prober, mut bracket) = (Prober::default(), Bracket::default());
        let first = steps(&mut prober, &bracket, &settings, at(0));
        let Step::Start { probe, silence } = first[2] else { panic!("{first:?}") };
        bracket.on_survived(at(30), at(30));
        assert!(prober.on_ended(probe));
        bracket.on_died_beyond(silence, Search::Probes, at(50));
        let then = steps(&mut prober, &bracket, &settings, at(50));
        let stopped = then.iter().filter(|step| matches!(step, Step::Stop(_))).count();
        assert_eq!(
            stopped, 7,
            "two that are shorter than what is proven, and five longer than what is refuted"
        );
        let silences = started(&then);
        assert!(silences.len() == 8 && silences.iter().all(|it| (30..45).contains(it)), "{silences:?}");
    }

    #[test]
    fn a_narrow_bracket_is_confirmed_and_then_left_alone() {
        let settings = Settings::default();
        let (mut prober, mut bracket) = (Prober::default(), Bracket::default());
        bracket.on_survived(at(100), at(0));
        bracket.on_died_beyond(at(102), Search::Probes, at(0));
        let check = steps(&mut prober, &bracket, &settings, at(0));
        assert_eq!(started(&check), [102]);
        let Step::Start { probe, .. } = check[0] else { panic!("{check:?}") };
        assert!(prober.on_ended(probe));
        bracket.on_died_beyond(at(102), Search::Probes, at(102));
        let Step::Rest { until } = prober.step(&bracket, 1, &settings, at(102)) else { panic!("settled") };
        assert_eq!(until, at(102) + bracket.proven() * BEATS_PER_CANARY, "until the canary");
        assert_eq!(started(&steps(&mut prober, &bracket, &settings, until)), [100]);
    }

    #[test]
    fn what_began_before_a_doubt_counts_for_nothing() {
        let settings = Settings::default();
        let (mut prober, bracket) = (Prober::default(), Bracket::default());
        let first = steps(&mut prober, &bracket, &settings, at(0));
        let Step::Start { probe, .. } = first[0] else { panic!("{first:?}") };
        prober.on_doubt();
        assert!(!prober.on_ended(probe));
        assert!(!prober.on_ended(probe), "and a name that is not known counts for nothing either");
        let then = steps(&mut prober, &bracket, &settings, at(1));
        assert_eq!(then.iter().filter(|step| matches!(step, Step::Stop(_))).count(), 7);
    }
}
