//! A budget of bytes that many share, so that lines which are each bounded are bounded
//! together too.
//!
//! Small lines do not ask. A large one holds a [`Share`] of the [`Budget`], which grows with
//! its buffer. When the budget is used up, lines wait for their next bytes and are not read
//! meanwhile:
//!
//! - The next to get bytes is a line of the peer that holds the fewest; of one peer, the line
//!   that asks for the fewest, or the first of those that have waited for [`OVERTAKEN`].
//! - Nobody waits for ever: one line at a time may go beyond the budget until it is whole. So
//!   all together hold at most the budget and one longest line.
//! - A line gives way, which ends it, if another waits and it has stalled: fewer than
//!   [`PROGRESS`] bytes in the last [`UNDISTURBED`]. So does, after [`UNHURRIED`], a line of a
//!   peer that holds more than its part while a line of a peer that holds less waits.
//! - A line that is whole gives way to nobody: whoever has it is about to be done with it.

mod share;
mod state;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use share::{GaveWay, Share};
use state::State;
use tokio::time::Instant;

/// How long a line holds what it has, however many wait and however slow it is.
pub const UNDISTURBED: Duration = Duration::from_secs(1);

/// A line that moves fewer bytes than this in [`UNDISTURBED`] has stalled.
pub const PROGRESS: usize = 64 * 1024;

/// How long a line that does not stall holds what it has, whatever its peer holds beside it.
pub const UNHURRIED: Duration = Duration::from_secs(5);

/// How long smaller lines of its peer may overtake one that waits.
pub const OVERTAKEN: Duration = Duration::from_secs(2);

/// Bytes that many share. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Makes a number of a peer. Two that get the same one count as one peer.
    peers: RandomState,
    state: Mutex<State>,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Shared {
            peers: RandomState::new(),
            state: Mutex::new(State::new(limit)),
        }))
    }

    /// Changes the budget. If it shrinks, what is held above it is given back in its time.
    pub fn set_limit(&self, limit: usize) {
        self.0.state().set_limit(limit, Instant::now());
    }

    /// A share, of nothing yet, for the lines of a connection with this peer. Takes no lock.
    #[must_use]
    pub fn share(&self, peer: &impl Hash) -> Share {
        Share::new(self.clone(), self.0.peers.hash_one(peer))
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.state().held()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
