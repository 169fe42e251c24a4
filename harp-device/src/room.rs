//! How much room events of all devices have together while they wait for their runs.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes, at most.
pub(crate) const MOST: usize = 64 * 1024 * 1024;

/// What waits, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    /// Takes so many bytes; false if there is no room for them.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| {
            let taken = taken.saturating_add(bytes);
            (taken <= MOST).then_some(taken)
        };
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}
