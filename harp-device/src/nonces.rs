//! Numbers that a device is never sent twice, over restarts of the dispatcher too.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far ahead numbers are kept from later lives of the dispatcher at once: an hour.
const AHEAD: u64 = 3600 * 1_000_000;

/// Where numbers come from: the time in microseconds, raised where it stands still or has
/// been set back.
#[derive(Debug)]
pub(crate) struct Nonces(Mutex<State>);

#[derive(Debug)]
struct State {
    last: u64,
    /// What is on record: no life of before has given a number above this.
    kept: u64,
}

impl Nonces {
    /// Numbers above this, which is on record.
    pub(crate) fn above(kept: u64) -> Nonces {
        Nonces(Mutex::new(State { last: kept, kept }))
    }

    /// The next number at this time, in milliseconds since 1970.
    pub(crate) fn next(&self, wall: u64) -> u64 {
        let mut state = self.state();
        state.last = wall.saturating_mul(1000).max(state.last + 1);
        state.last
    }

    /// What has to be on record before this number goes out; `None` if it is.
    pub(crate) fn wanted(&self, nonce: u64) -> Option<u64> {
        let state = self.state();
        (nonce > state.kept).then_some(nonce + AHEAD)
    }

    /// This is on record.
    pub(crate) fn keep(&self, kept: u64) {
        let mut state = self.state();
        state.kept = state.kept.max(kept);
    }

    /// What is on record, or shall be.
    pub(crate) fn kept(&self) -> u64 {
        self.state().kept
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice_whatever_the_clock_does() {
        let nonces = Nonces::above(0);
        let first = nonces.next(1_795_285_355_000);
        assert_eq!(first, 1_795_285_355_000_000);
        assert_eq!(nonces.next(1_795_285_355_000), first + 1, "it stands still");
        assert_eq!(nonces.next(5), first + 2, "it was set back");
        let kept = nonces.wanted(first + 2).unwrap();
        nonces.keep(kept);
        assert_eq!(nonces.wanted(first + 2), None);
        let later = Nonces::above(kept);
        assert!(later.next(5) > first + 2);
        // JSON numbers are whole up to here.
        assert!(kept < 1 << 53);
    }
}
