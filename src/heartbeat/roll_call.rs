//! What those answer who are woken because the NAT may have become stricter.
//!
//! A timeout that became shorter leaves those alive who were silent for a short while only, and the shortest silence
//! that was fatal bounds it. A survivor who was silent for longer than that lives on a mapping from before the
//! change, and proves nothing. Where nobody is left alive, not even somebody who was silent for a quarter of what is
//! usual, the far end was restarted, and the NAT is not to blame.

use core::time::Duration;

/// A roll call that is under way.
#[derive(Debug)]
pub(super) struct RollCall {
    missing: usize,
    survived: Vec<Duration>,
    died: Vec<Duration>,
}

/// What one of them answered, with the silence before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Survived(Duration),
    Died(Duration),
    /// It left before it was asked.
    Left,
}

/// What all answers say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Silences up to `proven` are survived; those from `fatal` on are not, if that is known.
    Some { proven: Duration, fatal: Option<Duration> },
    /// Nobody is left alive; `shortest` is the shortest silence before a death.
    Nobody { shortest: Option<Duration> },
}

/// So many deaths are no chance. One may be a laptop that was closed long ago.
const ENOUGH: usize = 2;

impl RollCall {
    /// Of so many.
    pub(super) fn new(missing: usize) -> RollCall {
        RollCall { missing, survived: Vec::new(), died: Vec::new() }
    }

    /// Takes an answer; the last one brings the finding.
    pub(super) fn on_answer(&mut self, answer: Answer) -> Option<Finding> {
        self.missing = self.missing.saturating_sub(1);
        match answer {
            Answer::Survived(silence) => self.survived.push(silence),
            Answer::Died(silence) => self.died.push(silence),
            Answer::Left => {}
        }
        (self.missing == 0).then(|| self.finding())
    }

    fn finding(&self) -> Finding {
        let shortest = self.died.iter().min().copied();
        if self.survived.is_empty() {
            return Finding::Nobody { shortest };
        }
        let fatal = shortest.filter(|_| self.died.len() >= ENOUGH);
        let credible = self.survived.iter().filter(|silence| fatal.is_none_or(|fatal| **silence < fatal));
        Finding::Some { proven: credible.max().copied().unwrap_or_default(), fatal }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{Died, Left, Survived};
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call(answers: &[Answer]) -> Finding {
        let mut roll_call = RollCall::new(answers.len());
        let findings: Vec<Finding> =
            answers.iter().filter_map(|answer| roll_call.on_answer(*answer)).collect();
        assert_eq!(findings.len(), 1, "only the last answer brings the finding");
        findings[0]
    }

    #[test]
    fn the_living_and_the_dead_bracket_the_timeout() {
        let finding = call(&[Survived(at(10)), Died(at(160)), Survived(at(140)), Left, Died(at(200))]);
        assert_eq!(finding, Finding::Some { proven: at(140), fatal: Some(at(160)) });
    }

    #[test]
    fn a_survivor_from_before_the_change_is_not_believed() {
        let finding = call(&[Survived(at(280)), Died(at(160)), Survived(at(100)), Died(at(200))]);
        assert_eq!(finding, Finding::Some { proven: at(100), fatal: Some(at(160)) });
    }

    #[test]
    fn one_death_among_survivors_is_chance() {
        let finding = call(&[Survived(at(280)), Died(at(20)), Survived(at(100))]);
        assert_eq!(finding, Finding::Some { proven: at(280), fatal: None });
    }

    #[test]
    fn where_nobody_is_left_there_is_no_bracket() {
        assert_eq!(call(&[Died(at(20)), Died(at(200))]), Finding::Nobody { shortest: Some(at(20)) });
        assert_eq!(call(&[Left]), Finding::Nobody { shortest: None });
    }
}
