//! What one network has shown of its timeout, and what follows from it.
//!
//! * The interval in use is what is proven less a margin. Nobody's connection waits longer, but for trials.
//! * A death beyond what is proven shortens nothing. It bounds the search from above, but only once a second death
//!   agrees: a closed laptop or two lost packets look the same. Until then it is a *suspicion*.
//! * A death within what is proven, if it was the NAT's doing, is *doubt*: the timeout may have become shorter.
//!   Nothing is proven any more, and the search begins at the floor, because every silence between the floor and the
//!   death may be fatal. A survival as long as the death ends the doubt and restores what was proven.
//! * What is known to be too long stays known while something shorter is suspected: where every twentieth beat is lost,
//!   chance kills some connection every day, and to find the bound again each time would cost two more.
//! * The search goes upward in steps so small that the interval below the step is good enough. A search by halves
//!   would be quicker and lose a connection at every second step; this one loses one, and one more to be sure.
//! * A settled bound is tried again later, because networks change for the better too.

use core::time::Duration;

use super::{Settings, known, millis, seconds};

/// What one network has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bracket {
    /// The longest silence survived.
    pub(super) proven_ms: u32,
    /// The shortest silence that is known to be too long: two deaths agree, or nobody has checked the one because of another
    /// after a shorter silence.
    pub(super) refuted_ms: Option<u32>,
    /// When that may be tried again: seconds since the UNIX epoch.
    pub(super) again_s: u32,
    /// A single death beyond what was proven, which may have been chance.
    pub(super) suspicion: Option<Suspicion>,
    /// A death within what was proven.
    pub(super) doubt: Option<Doubt>,
    /// When a silence about as long as what is proven was last survived: seconds since the UNIX epoch.
    pub(super) renewed_s: u32,
    /// How often a settled bound turned out to be right: each time it is left alone for twice as long.
    pub(super) retries: u8,
    /// How many doubts in a row came soon after the one before had been refuted.
    pub(super) soon: u8,
    /// When a bound or a doubt was last refuted by a survival (seconds since the UNIX epoch), and where it was.
    pub(super) lifted_s: u32,
    pub(super) lifted_ms: u32,
}

/// A single death beyond what was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) silence_ms: u32,
    /// When it may be checked: seconds since the UNIX epoch.
    pub(super) check_s: u32,
}

/// A death within what was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) silence_ms: u32,
    /// What was proven before.
    pub(super) before_ms: u32,
}

/// How finely a network is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// With users' connections: each death counts, and an interval 12% short of the best is good enough.
    Users,
    /// With connections that carry nothing: 7%.
    Probes,
}

impl Search {
    /// A bracket is narrow when a longer interval could save no more than this, in percent of the interval in use.
    fn good_enough_percent(self) -> u64 {
        match self {
            Search::Users => 112,
            Search::Probes => 107,
        }
    }

    /// When a settled bound may be tried again. A probe costs two packets: after a day, then at doubling distances
    /// up to 32 days. A trial costs somebody's connection: after 32 days.
    fn rest(self, retries: u8) -> u32 {
        match self {
            Search::Users => 32 * DAY_S,
            Search::Probes => DAY_S << retries.min(5),
        }
    }

    /// When a single death may be checked. A probe at once; users' connections after ten times the silence, by when
    /// whatever else was wrong with the path has passed. In doubt one of them has died already, and that is ten times as
    /// long.
    fn check_after(self, silence_ms: u32, is_in_doubt: bool) -> u32 {
        match self {
            Search::Users if is_in_doubt => silence_ms / 10,
            Search::Users => silence_ms / 100,
            Search::Probes => 0,
        }
    }
}

const DAY_S: u32 = 24 * 3600;

/// The finest step, in thousandths: below it the uncertainty of round trips and timers begins.
const FINEST_PERMILLE: u64 = 1015;

/// Two deaths within this many thousandths of each other agree.
pub(super) const AGREE_PERMILLE: u64 = 1050;

/// Somebody dies within so many beats of a network after a survival as long had refuted the death before, and again: a
/// fickle NAT. Those that look for old mappings once a minute keep each a different while, and what survived once is
/// fatal the next time. By chance (a beat and its repetition both lost) one death comes this close once in ten times if
/// every 20th packet is lost, and two do once in a hundred.
const BEATS_TO_TRUST: u32 = 40;
const FICKLE: u8 = 2;

/// In doubt the search doubles up to this part of what was proven before: a timeout seldom becomes that much shorter, and
/// most doubt is unfounded.
const DOUBTED_LEAST: u32 = 4;

/// Knowledge that nobody has renewed for this long is doubted: networks are rebuilt on weekends.
const STALE_S: u32 = 7 * 24 * 3600;

/// So many thousandths of a silence.
pub(super) fn permille(silence_ms: u32, permille: u64) -> u32 {
    u32::try_from(u64::from(silence_ms) * permille / 1000).unwrap_or(u32::MAX)
}

impl Bracket {
    /// How long a connection may be silent.
    pub fn in_use(&self, settings: &Settings) -> Duration {
        Duration::from_millis(u64::from(in_use_ms(self.proven_ms, settings)))
    }

    /// The longest silence proven.
    pub fn proven(&self) -> Duration {
        Duration::from_millis(u64::from(self.proven_ms))
    }

    /// The shortest silence that is known or suspected to be too long.
    pub fn refuted(&self) -> Option<Duration> {
        self.upper_ms().map(|upper_ms| Duration::from_millis(u64::from(upper_ms)))
    }

    pub(super) fn upper_ms(&self) -> Option<u32> {
        let suspected_ms = self.suspicion.map(|suspicion| suspicion.silence_ms);
        let doubted_ms = self.doubt.map(|doubt| doubt.silence_ms);
        [self.refuted_ms, suspected_ms, doubted_ms].into_iter().flatten().min()
    }

    /// Whether the timeout may have become shorter than what was proven.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// What is proven or, in doubt, was: a death after a longer silence surprises nobody.
    pub(super) fn claimed_ms(&self) -> u32 {
        self.proven_ms.max(self.doubt.map_or(0, |doubt| doubt.before_ms))
    }

    pub(super) fn on_survived(&mut self, silence: Duration, now: Duration) {
        let silence_ms = millis(silence);
        self.proven_ms = self.proven_ms.max(silence_ms);
        if let Some(doubt) = self.doubt.take_if(|doubt| silence_ms >= doubt.silence_ms) {
            self.proven_ms = self.proven_ms.max(doubt.before_ms);
            self.lift(doubt.silence_ms, now);
        }
        if let Some(suspicion) = self.suspicion.take_if(|suspicion| silence_ms >= suspicion.silence_ms) {
            self.lift(suspicion.silence_ms, now);
        }
        if let Some(refuted_ms) = self.refuted_ms.take_if(|refuted_ms| silence_ms >= *refuted_ms) {
            self.lift(refuted_ms, now);
        }
        if silence_ms >= permille(self.proven_ms, 900) {
            self.renewed_s = seconds(now);
        }
    }

    /// A death after a silence that nobody had survived. Whoever or whatever died, it shortens nothing.
    pub(super) fn on_died_beyond(&mut self, silence: Duration, search: Search, now: Duration) {
        let silence_ms = millis(silence);
        let agrees =
            |other_ms: u32| permille(other_ms.min(silence_ms), AGREE_PERMILLE) >= other_ms.max(silence_ms);
        let earlier_ms = self.suspicion.map(|suspicion| suspicion.silence_ms);
        if self.refuted_ms.into_iter().chain(earlier_ms).any(agrees) {
            let is_known = self.refuted_ms.is_some_and(|refuted_ms| silence_ms >= refuted_ms);
            self.retries = self.retries.saturating_add(u8::from(is_known));
            self.settle(silence_ms, search.rest(self.retries), now);
        } else {
            self.suspect(silence_ms, search, now);
        }
    }

    /// A death of the NAT's doing after a silence that used to be survived, in a network of so many connections.
    pub(super) fn on_died_within(&mut self, silence: Duration, seats: usize, search: Search, now: Duration) {
        let silence_ms = millis(silence);
        if silence_ms > self.proven_ms {
            // In doubt: the second one, and nothing as long has survived since the first.
            self.suspect(silence_ms, search, now);
            return;
        }
        let seats = u32::try_from(seats.max(1)).unwrap_or(u32::MAX);
        let since_s = seconds(now).saturating_sub(self.lifted_s);
        let is_soon = self.lifted_s > 0 && since_s <= silence_ms / 1000 * BEATS_TO_TRUST / seats;
        let is_again = is_soon && silence_ms >= self.lifted_ms / 4 * 3;
        self.soon = if is_again { self.soon.saturating_add(1) } else { 0 };
        self.raise_doubt(silence_ms);
        if self.soon >= FICKLE {
            self.soon = 0;
            self.retries = self.retries.saturating_add(1);
            let check_s = seconds(now).saturating_add(Search::Probes.rest(self.retries.min(2)));
            self.suspicion = Some(Suspicion { silence_ms: silence_ms.min(self.lifted_ms), check_s });
            self.doubt = None;
        }
    }

    /// A single death bounds the search from above until it is checked.
    fn suspect(&mut self, silence_ms: u32, search: Search, now: Duration) {
        if self.upper_ms().is_none_or(|upper_ms| silence_ms < upper_ms) {
            if let Some(earlier) = self.suspicion {
                // Whatever caused the earlier death, it has not been disproved.
                (self.refuted_ms, self.again_s) = (Some(earlier.silence_ms), earlier.check_s);
            }
            let after_s = search.check_after(silence_ms, self.is_in_doubt());
            self.suspicion = Some(Suspicion { silence_ms, check_s: seconds(now).saturating_add(after_s) });
        }
    }

    /// The shortest silence of all deaths bounds the search from above until it is tried again.
    fn settle(&mut self, silence_ms: u32, rest_s: u32, now: Duration) {
        self.refuted_ms = self.upper_ms().into_iter().chain([silence_ms]).min();
        self.suspicion = None;
        self.doubt = None;
        self.again_s = seconds(now).saturating_add(rest_s);
    }

    /// A survival showed that silences above `silence_ms` are not too long after all.
    fn lift(&mut self, silence_ms: u32, now: Duration) {
        (self.lifted_s, self.lifted_ms) = (seconds(now), silence_ms);
    }

    fn raise_doubt(&mut self, silence_ms: u32) {
        self.doubt = Some(Doubt { silence_ms, before_ms: self.proven_ms });
        self.proven_ms = 0;
    }

    /// The death that led to doubt had another cause. Another one soon would be one too many: see [`BEATS_TO_TRUST`].
    pub(super) fn acquit(&mut self, now: Duration) {
        if let Some(doubt) = self.doubt.take() {
            self.proven_ms = self.proven_ms.max(doubt.before_ms);
            self.lift(doubt.silence_ms, now);
        }
    }

    /// Doubts what nobody has renewed for long. The first silence as long as what was proven restores it.
    pub(super) fn on_age(&mut self, now: Duration) {
        if self.proven_ms > 0 && seconds(now).saturating_sub(self.renewed_s) > STALE_S {
            self.raise_doubt(self.proven_ms);
        }
    }

    /// Whether there is no longer silence to try for the time being.
    pub fn is_settled(&self, settings: &Settings, now: Duration) -> bool {
        self.trial_ms(settings, now).is_none()
    }

    /// The silence that one connection of the network may try.
    pub(super) fn trial_ms(&self, settings: &Settings, now: Duration) -> Option<u32> {
        let top_ms = millis(settings.max);
        let narrow_ms = step_ms(self.proven_ms, Search::Users, settings);
        let credible_ms = self.doubt.map_or(0, |doubt| doubt.before_ms / DOUBTED_LEAST);
        let next_ms = narrow_ms.max(credible_ms.min(self.proven_ms.saturating_mul(2)));
        let next_ms = known::longest_in(self.proven_ms, next_ms).unwrap_or(next_ms).min(top_ms);
        match self.upper_ms() {
            // Timers fire late, and a death is told by the silence that it really followed: to try the same again would
            // cost somebody's connection and tell nothing new.
            Some(upper_ms) if upper_ms <= permille(next_ms, AGREE_PERMILLE) => self.again_ms(settings, now),
            Some(_) | None => (next_ms > self.proven_ms).then_some(next_ms),
        }
    }

    /// The upper bound itself, if its time has come.
    pub(super) fn again_ms(&self, settings: &Settings, now: Duration) -> Option<u32> {
        self.again(settings).filter(|(_, at)| now >= *at).map(|(silence_ms, _)| silence_ms)
    }

    /// The upper bound, and when it may be tried. Longer than the operator allows it never is.
    pub(super) fn again(&self, settings: &Settings) -> Option<(u32, Duration)> {
        // What is in doubt may be tried as soon as the search has come that far.
        let doubted = self.doubt.map(|it| (it.silence_ms, 0));
        let suspected = self.suspicion.map(|it| (it.silence_ms, it.check_s));
        let refuted = self.refuted_ms.map(|refuted_ms| (refuted_ms, self.again_s));
        let uppers = [doubted, suspected, refuted].into_iter().flatten();
        let (upper_ms, at_s) = uppers.min_by_key(|(silence_ms, _)| *silence_ms)?;
        (upper_ms <= millis(settings.max)).then_some((upper_ms, Duration::from_secs(at_s.into())))
    }
}

/// How long a connection may be silent where silences up to `proven_ms` are survived.
pub(super) fn in_use_ms(proven_ms: u32, settings: &Settings) -> u32 {
    let margin_ms = permille(proven_ms, u64::from(settings.margin_permille)).max(millis(settings.margin_min));
    let (min_ms, max_ms) = (millis(settings.min), millis(settings.max));
    proven_ms.saturating_sub(margin_ms).min(max_ms).max(min_ms)
}

/// The next silence worth trying above one that is survived: the longest that leaves the interval in use good enough
/// if it turns out to be fatal.
pub(super) fn step_ms(proven_ms: u32, search: Search, settings: &Settings) -> u32 {
    let good_enough = u64::from(in_use_ms(proven_ms, settings)) * search.good_enough_percent() / 100;
    let good_enough_ms = u32::try_from(good_enough).unwrap_or(u32::MAX);
    good_enough_ms.max(permille(proven_ms, FINEST_PERMILLE))
}

#[cfg(test)]
mod tests;
