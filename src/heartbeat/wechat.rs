//! WeChat's published rule, as Tencent's mars has it in `mars/stn/src/smart_heartbeat.cc`: a fresh connection beats
//! at the minimum until it has proven stable; then the interval grows by a step after several good beats; after
//! several bad ones it settles a little below the last good one; a week later it tries a little more.
//!
//! What is kept of it although `smart` does otherwise: the user's own connection is the probe, a failure on a fresh
//! connection counts for nothing, and nothing is shorter than the minimum. So on a path that forgets earlier than the
//! minimum, it never ends losing connections.

use core::time::Duration;

use super::{Wechat, millis, seconds};

/// Where one network stands on the ladder of intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    pub(super) current_ms: u32,
    /// Good beats in a row at the current interval.
    pub(super) good: u8,
    /// Bad beats in a row at the current interval.
    pub(super) bad: u8,
    pub(super) is_settled: bool,
    /// When the interval last changed: seconds since the UNIX epoch.
    pub(super) changed_s: u32,
}

impl Ladder {
    /// The lowest rung.
    pub fn new(rule: &Wechat) -> Ladder {
        Ladder { current_ms: millis(rule.min), good: 0, bad: 0, is_settled: false, changed_s: 0 }
    }

    /// The interval of a connection that has proven stable.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.current_ms))
    }

    /// A beat at the current interval was answered, on a connection that had proven stable.
    pub(super) fn on_good(&mut self, rule: &Wechat, now: Duration) {
        let max_ms = millis(rule.max);
        self.bad = 0;
        if self.is_settled {
            let held_s = seconds(now).saturating_sub(self.changed_s);
            let highest_ms = max_ms.saturating_sub(millis(rule.step_down));
            if self.current_ms < highest_ms && held_s >= seconds(rule.again) {
                self.go(self.current_ms + millis(rule.step_down), false, rule, now);
            }
            return;
        }
        self.good = self.good.saturating_add(1);
        if self.current_ms >= max_ms {
            // Nothing is above it; the published code steps back from the top too, and so stays off the edge.
            self.go(max_ms.saturating_sub(millis(rule.step_down)), true, rule, now);
        } else if self.good >= rule.good {
            self.go(self.current_ms + millis(rule.step_up), false, rule, now);
        }
    }

    /// A beat at the current interval stayed unanswered, on a connection that had proven stable.
    pub(super) fn on_bad(&mut self, rule: &Wechat, now: Duration) {
        if self.current_ms <= millis(rule.min) {
            return;
        }
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        if self.bad < rule.bad {
            return;
        }
        if self.is_settled {
            self.go(millis(rule.min), false, rule, now);
        } else {
            let step_ms = millis(rule.step_up) + millis(rule.step_down);
            self.go(self.current_ms.saturating_sub(step_ms), true, rule, now);
        }
    }

    fn go(&mut self, to_ms: u32, is_settled: bool, rule: &Wechat, now: Duration) {
        let current_ms = to_ms.min(millis(rule.max)).max(millis(rule.min));
        *self = Ladder { current_ms, good: 0, bad: 0, is_settled, changed_s: seconds(now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(ladder: &mut Ladder, times: u32, now: Duration) {
        (0..times).for_each(|_| ladder.on_good(&Wechat::default(), now));
    }

    #[test]
    fn it_rises_a_minute_after_five_good_beats_and_settles_below_the_top() {
        let mut ladder = Ladder::new(&Wechat::default());
        let mut seen = vec![ladder.current_ms / 1000];
        for _ in 0..40 {
            good(&mut ladder, 1, Duration::ZERO);
            if seen.last() != Some(&(ladder.current_ms / 1000)) {
                seen.push(ladder.current_ms / 1000);
            }
        }
        assert_eq!(seen, [210, 270, 330, 390, 450, 510, 570, 600, 580]);
        assert!(ladder.is_settled);
    }

    #[test]
    fn two_bad_beats_settle_it_20_s_below_the_last_good_interval() {
        let rule = Wechat::default();
        let mut ladder = Ladder::new(&rule);
        good(&mut ladder, 10, Duration::ZERO);
        assert_eq!(ladder.interval(), Duration::from_secs(330));
        ladder.on_bad(&rule, Duration::ZERO);
        assert_eq!(ladder.interval(), Duration::from_secs(330), "one is not enough");
        ladder.on_bad(&rule, Duration::ZERO);
        assert_eq!(ladder.interval(), Duration::from_secs(250));
        assert!(ladder.is_settled);
    }

    #[test]
    fn a_good_beat_forgives_a_bad_one() {
        let rule = Wechat::default();
        let mut ladder = Ladder::new(&rule);
        good(&mut ladder, 5, Duration::ZERO);
        ladder.on_bad(&rule, Duration::ZERO);
        good(&mut ladder, 1, Duration::ZERO);
        ladder.on_bad(&rule, Duration::ZERO);
        assert_eq!(ladder.interval(), Duration::from_secs(270));
    }

    #[test]
    fn settled_it_holds_for_a_week_and_then_tries_20_s_more() {
        let rule = Wechat::default();
        let mut ladder = Ladder { current_ms: 250_000, is_settled: true, ..Ladder::new(&rule) };
        good(&mut ladder, 1000, rule.again - Duration::from_secs(1));
        assert_eq!(ladder.interval(), Duration::from_secs(250));
        good(&mut ladder, 1, rule.again);
        assert_eq!(ladder.interval(), Duration::from_secs(270));
        assert!(!ladder.is_settled);
    }

    #[test]
    fn settled_two_bad_beats_send_it_back_to_the_minimum() {
        let rule = Wechat::default();
        let mut ladder = Ladder { current_ms: 250_000, is_settled: true, ..Ladder::new(&rule) };
        ladder.on_bad(&rule, Duration::ZERO);
        ladder.on_bad(&rule, Duration::ZERO);
        assert_eq!((ladder.interval(), ladder.is_settled), (rule.min, false));
    }
}
