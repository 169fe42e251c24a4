//! Which jobs there are, beside those of the ordered load, and how they ended.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::fleet::{KINDS, Kind};
use crate::crash::ledger::outcome_name;

/// All errands of all clients.
#[derive(Debug, Default)]
pub(super) struct Book {
    state: Mutex<State>,
    /// Accepted so far, for those that look often.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Jobs whose end nobody has been shown.
    live: HashMap<String, Errand>,
    /// The ended ones, with the names of their outcomes.
    ended: HashMap<String, String>,
    by_kind: BTreeMap<(&'static str, String), u64>,
    broken: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Errand {
    /// Of [`KINDS`].
    kind: usize,
    /// Whether somebody may have cancelled it.
    may_be_cancelled: bool,
}

impl Book {
    /// A client has been told that its call has this job. `may_be_cancelled` if that is
    /// up to somebody else.
    pub(super) fn accepted(&self, id: &str, kind: usize, may_be_cancelled: bool) {
        let errand = Errand {
            kind,
            may_be_cancelled,
        };
        let mut state = self.state();
        if state.live.insert(id.to_owned(), errand).is_some() {
            state.broken.push(format!("two calls were given job {id}"));
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A client is about to cancel a job.
    pub(super) fn cancelling(&self, id: &str) {
        if let Some(errand) = self.state().live.get_mut(id) {
            errand.may_be_cancelled = true;
        }
    }

    /// A client has been shown how a job ended.
    pub(super) fn ended(&self, id: &str, outcome: &Value) {
        let name = outcome_name(outcome);
        let mut state = self.state();
        let Some(errand) = state.live.remove(id) else {
            if state.ended.get(id) != Some(&name) {
                let before = state.ended.get(id).cloned();
                let broken = format!("job {id} had ended with {before:?}, now with {outcome}");
                state.broken.push(broken);
            }
            return;
        };
        let Kind {
            name: kind, ends, ..
        } = &KINDS[errand.kind];
        let is_possible =
            ends.contains(&name.as_str()) || name == "cancelled" && errand.may_be_cancelled;
        if !is_possible {
            let broken = format!("job {id}, {kind}, ended with {outcome}");
            state.broken.push(broken);
        }
        *state.by_kind.entry((kind, name.clone())).or_default() += 1;
        state.ended.insert(id.to_owned(), name);
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: impl Display) {
        self.state().broken.push(what.to_string());
    }

    pub(super) fn all_broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }

    /// How many have been accepted.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Jobs whose end nobody has been shown.
    pub(super) fn live(&self) -> Vec<String> {
        self.state().live.keys().cloned().collect()
    }

    pub(super) fn live_count(&self) -> usize {
        self.state().live.len()
    }

    /// The ended ones with the names of their outcomes.
    pub(super) fn all_ended(&self) -> HashMap<String, String> {
        self.state().ended.clone()
    }

    /// How many of a kind ended how.
    pub(super) fn by_kind(&self) -> BTreeMap<(&'static str, String), u64> {
        self.state().by_kind.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
