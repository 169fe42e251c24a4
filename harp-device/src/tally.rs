//! What has come of all devices, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How much it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has come of all devices since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events.
    pub events: Count,
    /// Replies and results that nobody waited for.
    pub strays: Count,
    /// Published messages that are none.
    pub unreadable: Count,
    /// Signs that a device was started anew.
    pub restarts: Count,
}
