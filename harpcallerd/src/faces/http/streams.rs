//! How many requests may wait or follow at once: of all peers, and of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::ClientLimits;
use crate::peer_group::PeerGroup;

/// Those that wait or follow. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_peer: HashMap<PeerGroup, usize>,
}

/// One that waits or follows, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Streams,
    peer: PeerGroup,
}

impl Streams {
    /// One more, if there may be.
    pub(super) fn take(&self, peer: PeerGroup, limits: &ClientLimits) -> Option<StreamPermit> {
        let mut counts = self.counts();
        let own = counts.of_peer.get(&peer).copied().unwrap_or_default();
        if counts.all >= limits.max_streams || own >= limits.max_streams_per_peer {
            return None;
        }
        counts.all += 1;
        counts.of_peer.insert(peer, own + 1);
        Some(StreamPermit {
            streams: self.clone(),
            peer,
        })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        // A std mutex: held for a few map operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut counts = self.streams.counts();
        counts.all -= 1;
        if let Some(own) = counts.of_peer.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                counts.of_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_own_limit_and_gives_back_what_it_took() {
        let limits = ClientLimits {
            max_streams: 3,
            max_streams_per_peer: 2,
            ..ClientLimits::default()
        };
        let streams = Streams::default();
        let (one, other) = (PeerGroup::User(1), PeerGroup::User(2));
        let held = streams.take(one, &limits);
        assert!(held.is_some());
        let second = streams.take(one, &limits);
        assert!(second.is_some() && streams.take(one, &limits).is_none());
        let third = streams.take(other, &limits);
        assert!(third.is_some() && streams.take(other, &limits).is_none());
        drop(held);
        assert!(streams.take(one, &limits).is_some());
        drop((second, third));
        assert!(streams.counts().of_peer.is_empty());
    }
}
