//! What is known of the harpd of each host from the last conversation with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a host's harpd speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Speaks {
    /// `harp/1` alone: it keeps no calls.
    Plain,
    /// `harp/2`, and this is its life.
    Kept(Arc<str>),
}

/// What is known of the hosts, by their names in the registry.
#[derive(Debug, Default)]
pub(super) struct Lives(Mutex<HashMap<String, Speaks>>);

impl Lives {
    /// What is known of a host.
    pub(super) fn get(&self, host: &str) -> Option<Speaks> {
        self.known().get(host).cloned()
    }

    /// A host has been found to speak this.
    pub(super) fn note(&self, host: &str, speaks: Speaks) {
        let mut known = self.known();
        match known.get_mut(host) {
            Some(before) if *before == speaks => {}
            Some(before) => *before = speaks,
            None => {
                known.insert(host.to_owned(), speaks);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Speaks>> {
        // A std mutex: held for a look at a table, never across an await.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
