//! Leaving, as far as the whole process sees it: asked for by a signal or at the admin port, told by readiness at once,
//! and begun by the proxy a while later, when those who send clients have noticed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::networks::now;

/// How the process leaves.
#[derive(Debug)]
pub struct Drain {
    plan: Mutex<Plan>,
    asked: CancellationToken,
    over: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    delay: Duration,
    window: Duration,
    schedule: Option<Schedule>,
}

/// When what happens, since the UNIX epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// It was asked for.
    pub begun: Duration,
    /// Listeners close, and clients are asked to leave from then on.
    pub closing: Duration,
    /// Whoever is still there is cut off.
    pub deadline: Duration,
}

impl Drain {
    /// One that nobody has asked for: listeners will close `delay` after that, and no session will outlast `window`
    /// afterwards.
    pub fn new(delay: Duration, window: Duration) -> Arc<Drain> {
        let plan = Mutex::new(Plan { delay, window, schedule: None });
        Arc::new(Drain { plan, asked: CancellationToken::new(), over: CancellationToken::new() })
    }

    /// Has a drain that nobody has asked for yet take other times.
    pub fn set_times(&self, delay: Duration, window: Duration) {
        let mut plan = self.plan();
        if plan.schedule.is_none() {
            (plan.delay, plan.window) = (delay, window);
        }
    }

    /// Asks for it, if nobody has yet; returns when what will happen.
    pub fn begin(&self) -> Schedule {
        let mut plan = self.plan();
        let Plan { delay, window, schedule } = *plan;
        let schedule = schedule.unwrap_or_else(|| {
            let begun = now();
            Schedule { begun, closing: begun + delay, deadline: begun + delay + window }
        });
        plan.schedule = Some(schedule);
        drop(plan);
        self.asked.cancel();
        schedule
    }

    /// When what happens, once somebody has asked for it.
    pub fn schedule(&self) -> Option<Schedule> {
        self.plan().schedule
    }

    /// Waits until somebody asks for it, and for as long as the listeners are to stay open after that; then cancels
    /// `closing`.
    pub async fn run(&self, closing: CancellationToken) {
        self.asked.cancelled().await;
        let delay = self.plan().delay;
        sleep(delay).await;
        closing.cancel();
    }

    /// Waits until somebody asks for it.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Nobody is left to be waited for.
    pub fn finish(&self) {
        self.over.cancel();
    }

    /// Whether nobody is left to be waited for.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Nothing in here can be left half done by a panic.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn listeners_stay_open_for_the_delay_and_asking_again_changes_nothing() {
        let (delay, window) = (Duration::from_millis(150), Duration::from_secs(20));
        let drain = Drain::new(Duration::ZERO, Duration::ZERO);
        drain.set_times(delay, window);
        let closing = CancellationToken::new();
        let running = tokio::spawn({
            let (drain, closing) = (drain.clone(), closing.clone());
            async move { drain.run(closing).await }
        });
        assert!(drain.schedule().is_none());

        let begun = Instant::now();
        let schedule = drain.begin();
        assert_eq!(
            (schedule.closing - schedule.begun, schedule.deadline - schedule.closing),
            (delay, window)
        );
        drain.set_times(Duration::from_secs(3600), Duration::from_secs(3600));
        assert_eq!((drain.begin(), drain.schedule()), (schedule, Some(schedule)));
        closing.cancelled().await;
        assert!(begun.elapsed() >= delay);
        running.await.unwrap();
        assert!(!drain.is_over());
        drain.finish();
        assert!(drain.is_over());
    }
}
