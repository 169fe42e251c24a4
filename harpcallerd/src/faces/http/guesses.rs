//! Tokens that are being judged: of one peer a few at a time, and a wrong one until its answer
//! goes out. So a peer that guesses does so slowly, and one with right tokens waits for no more
//! than its turn.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::peer_group::PeerGroup;

/// Tokens of one peer at a time.
const GUESSES: usize = 8;

/// Tokens that are being judged.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    peers: Mutex<HashMap<PeerGroup, Counts>>,
    /// A place is free, or one more token is wrong.
    changed: Notify,
}

/// Those of one peer.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Those of them that were found to be wrong.
    wrong: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Guess {
    guesses: Guesses,
    peer: PeerGroup,
    is_wrong: bool,
}

impl Guesses {
    /// One more of this peer, as soon as it is its turn; `None` if as many of the peer's as may
    /// be were wrong just now. Cancel safe.
    pub(super) async fn take(&self, peer: PeerGroup) -> Option<Guess> {
        loop {
            // From here on no change is missed.
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            {
                let mut peers = self.peers();
                let counts = peers.entry(peer).or_default();
                if counts.wrong >= GUESSES {
                    return None;
                }
                if counts.all < GUESSES {
                    counts.all += 1;
                    return Some(Guess {
                        guesses: self.clone(),
                        peer,
                        is_wrong: false,
                    });
                }
            }
            changed.await;
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerGroup, Counts>> {
        // A std mutex: held for a few assignments.
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guess {
    /// The token is wrong.
    pub(super) fn is_wrong(&mut self) {
        if !std::mem::replace(&mut self.is_wrong, true) {
            if let Some(counts) = self.guesses.peers().get_mut(&self.peer) {
                counts.wrong += 1;
            }
            self.guesses.0.changed.notify_waiters();
        }
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.guesses.peers().entry(self.peer) {
            let counts = entry.get_mut();
            counts.all -= 1;
            counts.wrong -= usize::from(self.is_wrong);
            if counts.all == 0 {
                entry.remove();
            }
        }
        self.guesses.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use harp_jobs::client::Peer;

    use super::*;

    fn peer(port: u16, last: u8) -> PeerGroup {
        PeerGroup::of(&Peer::Network(([192, 0, 2, last], port).into()))
    }

    #[tokio::test]
    async fn right_tokens_wait_for_their_turn_and_guesses_are_refused() {
        let guesses = Guesses::default();
        let mut taken = Vec::new();
        for port in 0..8 {
            taken.push(guesses.take(peer(port, 1)).await.unwrap());
        }
        assert!(
            guesses.take(peer(0, 2)).now_or_never().flatten().is_some(),
            "another's"
        );
        // As long as one of them may be right, who comes waits.
        let mut next = Box::pin(guesses.take(peer(9, 1)));
        assert!(next.as_mut().now_or_never().is_none());
        for guess in &mut taken[1..] {
            guess.is_wrong();
            guess.is_wrong();
        }
        assert!(next.as_mut().now_or_never().is_none());
        taken.remove(0);
        let mut last = next.now_or_never().flatten().expect("a turn");
        let mut next = Box::pin(guesses.take(peer(9, 1)));
        assert!(next.as_mut().now_or_never().is_none());
        last.is_wrong();
        assert!(next.now_or_never().expect("an answer").is_none());
        drop((taken, last));
        assert!(guesses.peers().is_empty());
        assert!(guesses.take(peer(1, 1)).await.is_some());
    }
}
