//! Which of several backends is dialled, and which are thought to be down.

use std::time::Duration;

/// How it is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in its turn.
    RoundRobin,
    /// The one with the fewest sessions.
    LeastSessions,
}

/// How long a backend that could not be reached is left alone where nobody checks on it.
const REST: Duration = Duration::from_secs(5);

/// What is known of several backends. Times are since any moment that stays the same.
#[derive(Clone, Debug)]
pub struct Balancer {
    balance: Balance,
    is_checked: bool,
    turn: usize,
    /// Until when each is thought to be down.
    down: Vec<Option<Duration>>,
}

impl Balancer {
    /// So many backends, all of them thought to be well. One that fails is down until a check of it passes if there are
    /// checks, else for 5 s.
    pub fn new(members: usize, balance: Balance, is_checked: bool) -> Balancer {
        Balancer { balance, is_checked, turn: 0, down: vec![None; members] }
    }

    /// Whom to try, best first: those that are well, then the others, for what is known of them may be old. `sessions`
    /// is how many each has.
    pub fn order(&mut self, now: Duration, sessions: &[usize]) -> Vec<usize> {
        let (mut order, down): (Vec<_>, Vec<_>) =
            (0..self.down.len()).partition(|member| self.is_well(*member, now));
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        if !order.is_empty() {
            let first = turn % order.len();
            order.rotate_left(first);
        }
        if self.balance == Balance::LeastSessions {
            // Stable, so that those that have as many take turns.
            order.sort_by_key(|member| sessions.get(*member).copied().unwrap_or_default());
        }
        order.extend(down);
        order
    }

    /// It could not be reached. Comes out with whether that is news.
    pub fn failed(&mut self, member: usize, now: Duration) -> bool {
        let was_well = self.is_well(member, now);
        self.down[member] = Some(if self.is_checked { Duration::MAX } else { now + REST });
        was_well
    }

    /// It was reached. Comes out with whether that is news.
    pub fn passed(&mut self, member: usize) -> bool {
        self.down[member].take().is_some()
    }

    /// How many are thought to be well.
    pub fn well(&self, now: Duration) -> usize {
        (0..self.down.len()).filter(|member| self.is_well(*member, now)).count()
    }

    fn is_well(&self, member: usize, now: Duration) -> bool {
        self.down[member].is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn firsts(balancer: &mut Balancer, now: Duration, count: usize) -> Vec<usize> {
        (0..count).map(|_| balancer.order(now, &[0; 3])[0]).collect()
    }

    #[test]
    fn everyone_has_a_turn() {
        let mut balancer = Balancer::new(3, Balance::RoundRobin, false);
        assert_eq!(firsts(&mut balancer, NOW, 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(balancer.order(NOW, &[0; 3]), [1, 2, 0]);
    }

    #[test]
    fn the_one_with_the_fewest_sessions_is_first() {
        let mut balancer = Balancer::new(3, Balance::LeastSessions, false);
        assert_eq!(balancer.order(NOW, &[5, 1, 3]), [1, 2, 0]);
        let mut ties = [balancer.order(NOW, &[1, 1, 9])[0], balancer.order(NOW, &[1, 1, 9])[0]];
        ties.sort_unstable();
        assert_eq!(ties, [0, 1], "those that have as many take turns");
        balancer.failed(1, NOW);
        assert_eq!(balancer.order(NOW, &[5, 1, 3]), [2, 0, 1], "what is down comes last, however idle");
    }

    #[test]
    fn what_failed_rests_and_is_tried_again() {
        let mut balancer = Balancer::new(3, Balance::RoundRobin, false);
        assert!(balancer.failed(1, NOW));
        assert!(!balancer.failed(1, NOW));
        assert_eq!(balancer.well(NOW), 2);
        assert!(!firsts(&mut balancer, NOW + REST / 2, 6).contains(&1));
        assert_eq!(balancer.order(NOW, &[0; 3]).last(), Some(&1), "but it is there if all else fails");
        assert!(firsts(&mut balancer, NOW + REST, 3).contains(&1));
        assert_eq!(balancer.well(NOW + REST), 3);
        assert!(balancer.passed(1));
        assert!(!balancer.passed(1));
    }

    #[test]
    fn what_is_checked_is_down_until_a_check_passes() {
        let mut balancer = Balancer::new(3, Balance::RoundRobin, true);
        balancer.failed(0, NOW);
        assert!(!firsts(&mut balancer, NOW * 1000, 6).contains(&0));
        assert!(balancer.passed(0));
        assert!(firsts(&mut balancer, NOW, 3).contains(&0));
    }

    #[test]
    fn when_all_are_down_all_are_tried() {
        let mut balancer = Balancer::new(3, Balance::LeastSessions, true);
        for member in 0..3 {
            balancer.failed(member, NOW);
        }
        assert_eq!(balancer.order(NOW, &[0; 3]), [0, 1, 2]);
        assert_eq!(balancer.well(NOW), 0);
    }
}
