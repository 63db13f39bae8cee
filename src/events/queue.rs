//! Where events wait: between the sessions, which must not wait, and the sender, which does little else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Event;
use super::courier::Courier;
use crate::metrics::EventMetrics;

/// The events that wait to be delivered; all clones are the same queue.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Locked for as long as it takes to move events in memory; nothing is written, sent or awaited meanwhile.
    courier: Mutex<Courier>,
    news: Notify,
    metrics: EventMetrics,
}

impl Queue {
    /// An empty queue, in which `bound` events wait at most.
    pub fn new(bound: usize, metrics: EventMetrics) -> Queue {
        let courier = Mutex::new(Courier::new(rand::random(), bound));
        Queue(Arc::new(Shared { courier, news: Notify::new(), metrics }))
    }

    /// Has an event delivered, or drops and counts it where too many wait. Never waits for whoever receives events, nor
    /// for anything else that takes time.
    pub fn push(&self, event: Event) {
        let is_kept = self.with(|courier| courier.push(event));
        match is_kept {
            true => self.0.news.notify_one(),
            false => self.0.metrics.dropped(),
        }
    }

    /// Waits until something was pushed since this came out last.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }

    pub(super) fn metrics(&self) -> &EventMetrics {
        &self.0.metrics
    }

    /// Does something that takes no time with the courier.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Courier) -> T) -> T {
        // Nothing in here can be left half done by a panic.
        let mut courier = self.0.courier.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut courier);
        self.0.metrics.queued(courier.kept());
        done
    }
}
