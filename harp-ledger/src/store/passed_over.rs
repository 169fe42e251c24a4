//! Jobs that pruning passes over because they cannot be removed, so that those behind
//! them get their turn.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use harp_values::JobId;

/// Those found out since the engine was opened.
#[derive(Debug, Default)]
pub(crate) struct PassedOver(Mutex<HashSet<JobId>>);

impl PassedOver {
    pub(crate) fn contains(&self, id: JobId) -> bool {
        self.jobs().contains(&id)
    }

    /// Passes a job over from now on; true if it was not before.
    pub(crate) fn insert(&self, id: JobId) -> bool {
        self.jobs().insert(id)
    }

    /// Gives all of them another try.
    pub(crate) fn clear(&self) {
        self.jobs().clear();
    }

    fn jobs(&self) -> MutexGuard<'_, HashSet<JobId>> {
        // Nothing in here panics with the set half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
