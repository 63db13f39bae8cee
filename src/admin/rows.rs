//! What the answers are made of.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::metrics::SideCount;
use crate::sessions::Bridge;

/// A moment since the UNIX epoch or a length of time, written in seconds, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A quotient of two whole numbers below 2^53 is the number nearest to the decimal fraction that is meant.
        serializer.serialize_f64(self.0.as_millis() as f64 / 1000.0)
    }
}

/// What there is of both ends.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ends<T> {
    pub(super) client: T,
    pub(super) backend: T,
}

/// What crossed in one direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Crossed {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What became of beats.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Beats {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) missed: u64,
}

impl Beats {
    /// Adds those of a side.
    pub(super) fn add(&mut self, count: &SideCount) {
        self.sent += count.sent;
        self.answered += count.answered;
        self.missed += count.missed;
    }
}

/// A bridge, written as its name.
pub(super) fn name<S: Serializer>(bridge: &Arc<Bridge>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&bridge.name)
}
