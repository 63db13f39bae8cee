//! What one network has shown of its timeout, and what follows from it.
//!
//! * The interval in use is what is proven less a margin. Nobody's connection waits longer, but for trials.
//! * A death beyond what is proven shortens nothing. It bounds the search from above, but only once a second death
//!   agrees: a closed laptop or two lost packets look the same. Until then it is a *suspicion*.
//! * A death within what is proven, if it was the NAT's doing, is *doubt*: the timeout may have become shorter.
//!   Nothing is proven any more, and the search begins at the floor, because every silence between the floor and the
//!   death may be fatal. A survival as long as the death ends the doubt and restores what was proven.
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
    /// The shortest silence that is known to be too long.
    pub(super) refuted_ms: Option<u32>,
    pub(super) suspicion: Option<Suspicion>,
    /// When the shortest silence that is too long may be tried again: seconds since the UNIX epoch.
    pub(super) again_s: u32,
    /// When a silence about as long as what is proven was last survived: seconds since the UNIX epoch.
    pub(super) renewed_s: u32,
    /// How often a settled bound turned out to be right: each time it is left alone for twice as long.
    pub(super) retries: u8,
    /// When a bound or a doubt was last refuted by a survival (seconds since the UNIX epoch), and where it was.
    pub(super) lifted_s: u32,
    pub(super) lifted_ms: u32,
}

/// A single death, which may have been chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) silence_ms: u32,
    /// What was proven before, if the death was within it. Zero if it was beyond.
    pub(super) before_ms: u32,
    /// When it may be checked: seconds since the UNIX epoch.
    pub(super) check_s: u32,
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

    /// When a single death may be checked. A probe at once; users' connections after ten times the silence, by
    /// when whatever else was wrong with the path has passed.
    fn check_after(self, silence_ms: u32) -> u32 {
        match self {
            Search::Users => silence_ms / 100,
            Search::Probes => 0,
        }
    }
}

const DAY_S: u32 = 24 * 3600;

/// The finest step, in thousandths: below it the uncertainty of round trips and timers begins.
const FINEST_PERMILLE: u64 = 1015;

/// Two deaths within this many thousandths of each other agree.
const AGREE_PERMILLE: u64 = 1050;

/// Somebody dies within so many beats of a network after a survival as long had lifted the bound: a fickle NAT. Those that look
/// for old mappings once a minute keep each a different while, and what survived once is fatal the next time. By
/// chance (a beat and its repetition both lost) two deaths come this close once in 40 times, if every 20th packet is
/// lost.
const BEATS_TO_TRUST: u32 = 10;

/// Knowledge that nobody has renewed for this long is doubted: networks are rebuilt on weekends.
const STALE_S: u32 = 7 * 24 * 3600;

fn permille(silence_ms: u32, permille: u64) -> u32 {
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
        self.refuted_ms.into_iter().chain(suspected_ms).min()
    }

    /// Whether the timeout may have become shorter than what was proven.
    pub fn is_in_doubt(&self) -> bool {
        self.suspicion.is_some_and(|suspicion| suspicion.before_ms > 0)
    }

    /// What is proven or, in doubt, was: a death after a longer silence surprises nobody.
    pub(super) fn claimed_ms(&self) -> u32 {
        self.proven_ms.max(self.suspicion.map_or(0, |suspicion| suspicion.before_ms))
    }

    pub(super) fn on_survived(&mut self, silence: Duration, now: Duration) {
        let silence_ms = millis(silence);
        self.proven_ms = self.proven_ms.max(silence_ms);
        if let Some(suspicion) = self.suspicion.take_if(|suspicion| silence_ms >= suspicion.silence_ms) {
            self.proven_ms = self.proven_ms.max(suspicion.before_ms);
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
        // In doubt a user's connection has died already, and a third would be one too many. Probes can be sure.
        let is_enough = self.is_in_doubt() && search == Search::Users;
        if is_enough || self.refuted_ms.into_iter().chain(earlier_ms).any(agrees) {
            let is_known = self.refuted_ms.is_some_and(|refuted_ms| silence_ms >= refuted_ms);
            self.retries = self.retries.saturating_add(u8::from(is_known));
            let rest_s = if is_enough { DAY_S } else { search.rest(self.retries) };
            self.settle(silence_ms, rest_s, now);
        } else if self.upper_ms().is_none_or(|upper_ms| silence_ms < upper_ms) {
            let check_s = seconds(now).saturating_add(search.check_after(silence_ms));
            self.suspicion = Some(Suspicion { silence_ms, before_ms: 0, check_s });
        }
    }

    /// A death of the NAT's doing after a silence that used to be survived, in a network of so many connections.
    pub(super) fn on_died_within(&mut self, silence: Duration, seats: usize, search: Search, now: Duration) {
        let silence_ms = millis(silence);
        if silence_ms > self.proven_ms {
            // In doubt: the second one, and nothing as long has survived since the first.
            if self.refuted_ms.is_none_or(|refuted_ms| silence_ms < refuted_ms) {
                self.settle(silence_ms, search.check_after(silence_ms), now);
            }
            return;
        }
        let seats = u32::try_from(seats.max(1)).unwrap_or(u32::MAX);
        let since_s = seconds(now).saturating_sub(self.lifted_s);
        let is_soon = self.lifted_s > 0 && since_s <= silence_ms / 1000 * BEATS_TO_TRUST / seats;
        let is_fickle = is_soon && silence_ms >= self.lifted_ms / 4 * 3;
        self.doubt(silence_ms, search, now);
        if is_fickle {
            self.retries = self.retries.saturating_add(1);
            self.settle(silence_ms.min(self.lifted_ms), Search::Probes.rest(self.retries.min(2)), now);
        }
    }

    /// The shortest silence of all deaths bounds the search from above until it is tried again.
    fn settle(&mut self, silence_ms: u32, rest_s: u32, now: Duration) {
        self.refuted_ms = self.upper_ms().into_iter().chain([silence_ms]).min();
        self.suspicion = None;
        self.again_s = seconds(now).saturating_add(rest_s);
    }

    /// A survival showed that silences above `silence_ms` are not too long after all.
    fn lift(&mut self, silence_ms: u32, now: Duration) {
        (self.lifted_s, self.lifted_ms) = (seconds(now), silence_ms);
    }

    fn doubt(&mut self, silence_ms: u32, search: Search, now: Duration) {
        if let Some(earlier) = self.suspicion {
            // Whatever caused the earlier death, it has not been disproved.
            self.settle(earlier.silence_ms, search.check_after(earlier.silence_ms), now);
        }
        self.suspicion = Some(Suspicion { silence_ms, before_ms: self.proven_ms, check_s: seconds(now) });
        self.proven_ms = 0;
    }

    /// The death that led to doubt had another cause. Another one soon would be one too many: see [`BEATS_TO_TRUST`].
    pub(super) fn acquit(&mut self, now: Duration) {
        if let Some(suspicion) = self.suspicion.take_if(|suspicion| suspicion.before_ms > 0) {
            self.proven_ms = self.proven_ms.max(suspicion.before_ms);
            self.lift(suspicion.silence_ms, now);
        }
    }

    /// Doubts what nobody has renewed for long. The first silence as long as what was proven restores it.
    pub(super) fn on_age(&mut self, now: Duration) {
        if self.proven_ms > 0 && seconds(now).saturating_sub(self.renewed_s) > STALE_S {
            self.doubt(self.proven_ms, Search::Users, now);
        }
    }

    /// The silence that one connection of the network may try.
    pub(super) fn trial_ms(&self, settings: &Settings, now: Duration) -> Option<u32> {
        let top_ms = millis(settings.max);
        let next_ms = step_ms(self.proven_ms, Search::Users, settings);
        let next_ms = known::longest_in(self.proven_ms, next_ms).unwrap_or(next_ms).min(top_ms);
        match self.upper_ms() {
            Some(upper_ms) if upper_ms <= next_ms => self.again_ms(settings, now),
            Some(_) | None => (next_ms > self.proven_ms).then_some(next_ms),
        }
    }

    /// The upper bound itself, if its time has come.
    pub(super) fn again_ms(&self, settings: &Settings, now: Duration) -> Option<u32> {
        self.again(settings).filter(|(_, at)| now >= *at).map(|(silence_ms, _)| silence_ms)
    }

    /// The upper bound, and when it may be tried. Longer than the operator allows it never is.
    pub(super) fn again(&self, settings: &Settings) -> Option<(u32, Duration)> {
        let suspected = self.suspicion.map(|it| (it.silence_ms, it.check_s));
        let refuted = self.refuted_ms.map(|refuted_ms| (refuted_ms, self.again_s));
        let (upper_ms, at_s) =
            suspected.into_iter().chain(refuted).min_by_key(|(silence_ms, _)| *silence_ms)?;
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
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What a network with a timeout shows, with somebody trying whatever may be tried; and how many died of it.
    fn climb(bracket: &mut Bracket, timeout_ms: u32, settings: &Settings, mut now: Duration) -> u32 {
        let mut deaths = 0;
        for _ in 0..1000 {
            let Some(silence_ms) = bracket.trial_ms(settings, now) else {
                now += at(600);
                continue;
            };
            let silence = Duration::from_millis(silence_ms.into());
            now += silence;
            if silence_ms < timeout_ms {
                bracket.on_survived(silence, now);
            } else {
                bracket.on_died_beyond(silence, Search::Users, now);
                deaths += 1;
            }
        }
        deaths
    }

    #[test]
    fn the_interval_in_use_is_what_is_proven_less_the_margin_within_the_limits() {
        let settings = Settings::default();
        let in_use = |proven_s| {
            let mut bracket = Bracket::default();
            bracket.on_survived(at(proven_s), at(1000));
            bracket.in_use(&settings)
        };
        assert_eq!(in_use(0), at(15), "the floor");
        assert_eq!(in_use(60), at(57), "3 s at least");
        assert_eq!(in_use(300), at(288), "4% of more");
        assert_eq!(in_use(3600), at(600), "the operator's limit");
    }

    #[test]
    fn a_climb_costs_two_connections_and_ends_close_below_the_timeout() {
        let settings = Settings { max: at(20_000), ..Settings::default() };
        for timeout_ms in [30_000, 47_000, 61_000, 299_000, 300_000, 1_234_567, 7_440_000] {
            let mut bracket = Bracket::default();
            assert_eq!(climb(&mut bracket, timeout_ms, &settings, at(1000)), 2, "{timeout_ms} ms");
            let proven_ms = bracket.proven_ms;
            assert!(
                proven_ms < timeout_ms && f64::from(proven_ms) > f64::from(timeout_ms) * 0.92,
                "{bracket:?}"
            );
        }
    }

    #[test]
    fn nothing_longer_than_the_operator_allows_is_tried() {
        let settings = Settings::default();
        let mut bracket = Bracket::default();
        assert_eq!(climb(&mut bracket, 7_440_000, &settings, at(1000)), 0);
        assert_eq!(bracket.proven(), settings.max);
    }

    #[test]
    fn a_single_death_beyond_is_checked_before_it_is_believed() {
        let settings = Settings::default();
        let mut bracket = Bracket::default();
        bracket.on_survived(at(100), at(1000));
        bracket.on_died_beyond(at(104), Search::Users, at(2000));
        assert_eq!((bracket.proven(), bracket.refuted()), (at(100), Some(at(104))));
        assert_eq!(bracket.trial_ms(&settings, at(2500)), None, "not at once");
        assert_eq!(bracket.trial_ms(&settings, at(3040)), Some(104_000), "after ten times the silence");
        bracket.on_survived(at(104), at(3200));
        assert_eq!((bracket.proven(), bracket.refuted()), (at(104), None), "it was chance");
    }

    #[test]
    fn doubt_goes_back_to_the_floor_and_ends_with_a_survival_as_long_as_the_death() {
        let settings = Settings::default();
        let mut bracket = Bracket::default();
        bracket.on_survived(at(300), at(1000));
        bracket.on_died_within(at(288), 20, Search::Users, at(2000));
        assert!(bracket.is_in_doubt());
        assert_eq!(bracket.in_use(&settings), settings.min);
        bracket.on_survived(at(250), at(2100));
        assert_eq!(bracket.in_use(&settings), at(240), "but no longer than what has survived since");
        bracket.on_survived(at(288), at(2400));
        assert_eq!(bracket.in_use(&settings), at(288), "and then all that was proven before");
    }

    #[test]
    fn a_settled_bound_is_left_alone_for_longer_each_time_it_holds() {
        let settings = Settings::default();
        let mut bracket = Bracket::default();
        bracket.on_survived(at(100), at(0));
        let mut now = at(0);
        bracket.on_died_beyond(at(102), Search::Probes, now);
        let mut rests_d = Vec::new();
        for _ in 0..8 {
            bracket.on_died_beyond(at(102), Search::Probes, now);
            let (_, until) = bracket.again(&settings).unwrap();
            rests_d.push((until - now).as_secs() / (24 * 3600));
            now = until;
        }
        assert_eq!(rests_d, [1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_fickle_nat_is_not_believed_twice() {
        let mut bracket = Bracket::default();
        bracket.on_survived(at(350), at(1000));
        bracket.on_died_within(at(330), 1, Search::Users, at(2000));
        bracket.on_survived(at(335), at(3000));
        assert_eq!(bracket.proven(), at(350), "a survival as long as the death ended the doubt");
        bracket.on_died_within(at(332), 1, Search::Users, at(4000));
        assert_eq!(bracket.refuted(), Some(at(330)), "but the next death came too soon for chance");
    }
}
