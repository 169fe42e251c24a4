//! Wrong tokens whose answer is on its way: of one peer there are few.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::peer_group::PeerGroup;

/// Wrong tokens of one peer whose answer is on its way.
const GUESSES: usize = 8;

/// Wrong tokens whose answer is on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses(Arc<Mutex<HashMap<PeerGroup, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Guess(Guesses, PeerGroup);

impl Guesses {
    /// One more of this peer, if there may be.
    pub(super) fn take(&self, peer: PeerGroup) -> Option<Guess> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= GUESSES {
            return None;
        }
        *count += 1;
        Some(Guess(self.clone(), peer))
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        let Guess(Guesses(counts), peer) = self;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(peer);
            }
        }
    }
}
