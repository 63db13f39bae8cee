//! Where each session has its place.

use std::ops::Range;
use std::sync::Arc;

use super::Record;

/// Records in places that are used again.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Option<Arc<Record>>>,
    free: Vec<u32>,
}

impl Table {
    /// Gives a session a place.
    pub(super) fn insert(&mut self, record: Arc<Record>) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer sessions than descriptors")
        });
        self.places[place as usize] = Some(record);
        place
    }

    /// Takes a session out of its place.
    pub(super) fn remove(&mut self, place: u32) -> Option<Arc<Record>> {
        self.free.push(place);
        self.places[place as usize].take()
    }

    /// How many sessions there are.
    pub(super) fn taken(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many places there are, those that are free included.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Who sits in these places.
    pub(super) fn look(&self, places: Range<usize>) -> impl Iterator<Item = &Arc<Record>> {
        let end = places.end.min(self.places.len());
        self.places[places.start.min(end)..end].iter().flatten()
    }
}
