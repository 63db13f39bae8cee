//! At which moments beats are sent, so that one wake-up serves many.

use core::time::Duration;

/// The most that a beat comes late for the sake of others, in ms: a quarter of a second.
const MOST: u128 = 256;

/// When to wake for a beat that is due at `at`, where the interval is this long: late by a thousandth of it at most, and
/// at a moment when others are woken too. Moments are counted from one epoch for all connections.
///
/// To wake a thread costs more than a beat: of 100,000 connections that beat every 30 s, three are due every
/// millisecond.
pub fn coalesce(at: Duration, interval: Duration) -> Duration {
    let most = (interval.as_millis() / 1000).min(MOST);
    let Some(bits) = most.checked_ilog2() else {
        return at;
    };
    // Powers of two, so that connections with different intervals meet.
    let grid = Duration::from_millis(1 << bits);
    let early = at.as_nanos() % grid.as_nanos();
    let wait = if early == 0 { 0 } else { grid.as_nanos() - early };
    at.saturating_add(Duration::from_nanos(u64::try_from(wait).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_beat_is_late_by_a_thousandth_of_its_interval_at_most_and_never_early() {
        for interval_ms in [0, 300, 999, 1_000, 15_000, 30_000, 57_000, 600_000, 20_000_000] {
            for at_ms in (0..100_000).step_by(17) {
                let wake = coalesce(MS(at_ms), MS(interval_ms));
                assert!(wake >= MS(at_ms));
                assert!(wake - MS(at_ms) <= MS(interval_ms / 1000).min(MS(256)), "{at_ms}, {interval_ms}");
            }
        }
    }

    #[test]
    fn connections_with_different_intervals_meet() {
        let moments = |interval_ms| (0..1_000).map(move |at_ms| coalesce(MS(at_ms), MS(interval_ms)));
        assert!(moments(60_000).all(|wake| wake.as_millis() % 32 == 0));
        assert!(moments(300_000).all(|wake| wake.as_millis() % 256 == 0));
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        assert_eq!(coalesce(Duration::MAX, MS(600_000)), Duration::MAX);
    }
}
