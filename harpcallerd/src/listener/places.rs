//! How many clients there are, in all, of one peer, and in their TLS handshakes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::PeerGroup;
use crate::limits::ClientLimits;
use crate::refusal::Full;

/// The connections of now.
#[derive(Debug, Default)]
pub struct Places {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    by_peer: HashMap<PeerGroup, usize>,
    handshakes: usize,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    group: PeerGroup,
}

/// A place among the TLS handshakes; given back when dropped.
#[derive(Debug)]
pub struct HandshakePlace(Arc<Places>);

impl Places {
    /// A place for a new connection, by the limits of now.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn take(
        self: &Arc<Places>,
        group: PeerGroup,
        limits: &ClientLimits,
    ) -> Result<Place, Full> {
        let mut state = self.state();
        if state.connections >= limits.max_connections {
            return Err(Full::Connections);
        }
        let of_peer = state.by_peer.entry(group).or_default();
        if *of_peer >= limits.max_connections_per_peer {
            return Err(Full::ConnectionsOfPeer);
        }
        *of_peer += 1;
        state.connections += 1;
        Ok(Place {
            places: Arc::clone(self),
            group,
        })
    }

    /// A place for a TLS handshake, if there is one.
    #[must_use]
    pub fn handshake(self: &Arc<Places>, limits: &ClientLimits) -> Option<HandshakePlace> {
        let mut state = self.state();
        if state.handshakes >= limits.max_handshakes {
            return None;
        }
        state.handshakes += 1;
        Some(HandshakePlace(Arc::clone(self)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.connections -= 1;
        if let Some(of_peer) = state.by_peer.get_mut(&self.group) {
            *of_peer -= 1;
            if *of_peer == 0 {
                state.by_peer.remove(&self.group);
            }
        }
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.0.state().handshakes -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_for_each_peer() {
        let limits = ClientLimits {
            max_connections: 3,
            max_connections_per_peer: 2,
            max_handshakes: 1,
            ..ClientLimits::default()
        };
        let places = Arc::new(Places::default());
        let (one, two) = (PeerGroup::User(1), PeerGroup::User(2));
        let first = places.take(one, &limits).unwrap();
        let _second = places.take(one, &limits).unwrap();
        assert_eq!(
            places.take(one, &limits).unwrap_err(),
            Full::ConnectionsOfPeer
        );
        let third = places.take(two, &limits).unwrap();
        assert_eq!(places.take(two, &limits).unwrap_err(), Full::Connections);
        drop(first);
        drop(third);
        assert!(places.take(one, &limits).is_ok());
        // Nothing is left of a peer that is gone.
        assert_eq!(places.state().by_peer.len(), 1);

        let handshake = places.handshake(&limits).unwrap();
        assert!(places.handshake(&limits).is_none());
        drop(handshake);
        assert!(places.handshake(&limits).is_some());
    }
}
