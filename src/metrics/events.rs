//! What is counted of events and the webhook that they go to.

use prometheus::{IntCounter, IntGauge};

use super::families::Families;
use super::labels::{Delivery, index_of};

/// The metrics of events.
#[derive(Debug)]
pub struct EventMetrics {
    delivered: IntCounter,
    dropped: IntCounter,
    queued: IntGauge,
    requests: Vec<IntCounter>,
}

impl EventMetrics {
    pub(super) fn new(families: &Families) -> EventMetrics {
        let request = |delivery: &Delivery| families.webhook_requests.with_label_values(&[delivery.label()]);
        EventMetrics {
            delivered: families.events.with_label_values(&["delivered"]),
            dropped: families.events.with_label_values(&["dropped"]),
            queued: families.events_queued.clone(),
            requests: Delivery::ALL.iter().map(request).collect(),
        }
    }

    /// Counts a request, which was to deliver so many events.
    pub fn requested(&self, delivery: Delivery, events: usize) {
        self.requests[index_of(&Delivery::ALL, &delivery)].inc();
        if delivery == Delivery::Delivered {
            self.delivered.inc_by(events as u64);
        }
    }

    /// Counts an event for which there was no room.
    pub fn dropped(&self) {
        self.dropped.inc();
    }

    /// So many events wait.
    pub fn queued(&self, events: usize) {
        self.queued.set(events as i64);
    }
}
