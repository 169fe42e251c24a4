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
pub(super) struct Lives(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    speaks: Speaks,
    /// This life has said that a request may have a `traceparent`.
    takes_traceparent: bool,
}

impl Lives {
    /// What is known of a host.
    pub(super) fn get(&self, host: &str) -> Option<Speaks> {
        self.known().get(host).map(|known| known.speaks.clone())
    }

    /// Whether this life of a host's harpd has said that a request may have a `traceparent`.
    pub(super) fn takes_traceparent(&self, host: &str, boot: Option<&str>) -> bool {
        self.known()
            .get(host)
            .is_some_and(|known| match &known.speaks {
                Speaks::Kept(life) => known.takes_traceparent && Some(&**life) == boot,
                Speaks::Plain => false,
            })
    }

    /// The life of a host's harpd that is known has said so.
    pub(super) fn note_traceparent(&self, host: &str) {
        if let Some(known) = self.known().get_mut(host) {
            known.takes_traceparent = true;
        }
    }

    /// A host has been found to speak this.
    pub(super) fn note(&self, host: &str, speaks: Speaks) {
        let mut known = self.known();
        let now = |speaks| Known {
            speaks,
            takes_traceparent: false,
        };
        match known.get_mut(host) {
            Some(before) if before.speaks == speaks => {}
            Some(before) => *before = now(speaks),
            None => {
                known.insert(host.to_owned(), now(speaks));
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // A std mutex: held for a look at a table, never across an await.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
