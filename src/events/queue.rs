//! Where events wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Event;

/// The events that wait to be delivered; all clones are the same queue.
#[derive(Clone, Debug)]
pub struct Queue {
    waiting: Arc<Mutex<VecDeque<Event>>>,
    bound: usize,
}

impl Queue {
    /// A queue in which at most `bound` events wait.
    pub fn new(bound: usize) -> Queue {
        Queue { waiting: Arc::default(), bound }
    }

    /// Has an event delivered, or drops it if too many wait. Never waits for the receiver of events, nor for anything
    /// else that takes time.
    pub fn push(&self, event: Event) {
        // Nothing in here can be left half done by a panic.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < self.bound {
            waiting.push_back(event);
        }
    }
}
