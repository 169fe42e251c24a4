//! How many clients there are, in all, of one peer, and in their TLS handshakes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::refusal::Full;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::ClientLimits;
use crate::peer_group::PeerGroup;

/// How long a handshake keeps its permit however many others come.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// The connections of now.
#[derive(Debug)]
pub struct Permits {
    /// Connections that there may be whatever the limits of now say.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    by_peer: HashMap<PeerGroup, usize>,
    /// Those in their handshake, oldest first.
    handshakes: BTreeMap<u64, Handshake>,
    next: u64,
}

#[derive(Debug)]
struct Handshake {
    group: PeerGroup,
    since: Instant,
    lost: CancellationToken,
}

/// A connection's permit; given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    permits: Arc<Permits>,
    group: PeerGroup,
}

/// A permit for a TLS handshake; given back when dropped.
#[derive(Debug)]
pub struct HandshakePermit {
    permits: Arc<Permits>,
    number: u64,
    lost: CancellationToken,
}

impl Permits {
    /// Permits for at most so many connections, whatever the limits say.
    #[must_use]
    pub fn new(most: usize) -> Permits {
        Permits {
            most,
            state: Mutex::default(),
        }
    }

    /// Gives a permit for a new connection, by the limits of now.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn take(
        self: &Arc<Permits>,
        group: PeerGroup,
        limits: &ClientLimits,
    ) -> Result<ConnectionPermit, Full> {
        let mut state = self.state();
        if state.connections >= limits.max_connections.min(self.most) {
            return Err(Full::Connections);
        }
        let of_peer = state.by_peer.entry(group).or_default();
        if *of_peer >= limits.max_connections_per_peer {
            return Err(Full::ConnectionsOfPeer);
        }
        *of_peer += 1;
        state.connections += 1;
        Ok(ConnectionPermit {
            permits: Arc::clone(self),
            group,
        })
    }

    /// Gives a permit for a TLS handshake. If all are taken, one has to go: of the peer that
    /// has the most, the oldest. It has had its time by then, unless that peer has more than a
    /// fair share, which it could keep by beginning anew all the time. `None` if there is none,
    /// or if the newcomer's peer has as many itself.
    #[must_use]
    pub fn handshake(
        self: &Arc<Permits>,
        group: PeerGroup,
        limits: &ClientLimits,
    ) -> Option<HandshakePermit> {
        let now = Instant::now();
        let mut state = self.state();
        if state.handshakes.len() >= limits.max_handshakes {
            let oldest = state.to_lose(group, now, limits.max_handshakes)?;
            state.handshakes.remove(&oldest)?.lost.cancel();
        }
        let number = state.next;
        state.next += 1;
        let lost = CancellationToken::new();
        let handshake = Handshake {
            group,
            since: now,
            lost: lost.clone(),
        };
        state.handshakes.insert(number, handshake);
        Some(HandshakePermit {
            permits: Arc::clone(self),
            number,
            lost,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The handshake that has to make room for one of this peer.
    fn to_lose(&self, group: PeerGroup, now: Instant, all: usize) -> Option<u64> {
        let mut by_peer: HashMap<PeerGroup, usize> = HashMap::new();
        for handshake in self.handshakes.values() {
            *by_peer.entry(handshake.group).or_default() += 1;
        }
        let own = by_peer.get(&group).copied().unwrap_or(0);
        let peers = by_peer.len() + usize::from(own == 0);
        let fair_share = all.div_ceil(peers);
        let may_go = self.handshakes.iter().filter(|(_, handshake)| {
            let theirs = by_peer[&handshake.group];
            let is_own = handshake.group == group;
            let had_its_time = now - handshake.since >= UNDISTURBED;
            (is_own || theirs > own) && (had_its_time || theirs > fair_share && !is_own)
        });
        let first =
            may_go.max_by_key(|(number, handshake)| (by_peer[&handshake.group], Reverse(**number)));
        first.map(|(number, _)| *number)
    }
}

impl HandshakePermit {
    /// Waits until the permit has gone to another. Cancel safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.permits.state();
        state.connections -= 1;
        if let Some(of_peer) = state.by_peer.get_mut(&self.group) {
            *of_peer -= 1;
            if *of_peer == 0 {
                state.by_peer.remove(&self.group);
            }
        }
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.permits.state().handshakes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_in_all_and_for_each_peer() {
        let limits = ClientLimits {
            max_connections: 4,
            max_connections_per_peer: 2,
            max_handshakes: 1,
            ..ClientLimits::default()
        };
        let permits = Arc::new(Permits::new(3));
        let (one, two) = (PeerGroup::User(1), PeerGroup::User(2));
        let first = permits.take(one, &limits).unwrap();
        let _second = permits.take(one, &limits).unwrap();
        assert_eq!(
            permits.take(one, &limits).unwrap_err(),
            Full::ConnectionsOfPeer
        );
        let third = permits.take(two, &limits).unwrap();
        assert_eq!(permits.take(two, &limits).unwrap_err(), Full::Connections);
        drop(first);
        drop(third);
        assert!(permits.take(one, &limits).is_ok());
        // Nothing is left of a peer that is gone.
        assert_eq!(permits.state().by_peer.len(), 1);

        let handshake = permits.handshake(one, &limits).unwrap();
        assert!(permits.handshake(two, &limits).is_none());
        drop(handshake);
        assert!(permits.handshake(two, &limits).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_handshake_of_the_peer_with_the_most_makes_room() {
        let limits = ClientLimits {
            max_handshakes: 3,
            ..ClientLimits::default()
        };
        let permits = Arc::new(Permits::new(10));
        let (one, two) = (PeerGroup::User(1), PeerGroup::User(2));
        let silent: Vec<_> = (0..3)
            .map(|_| permits.handshake(one, &limits).unwrap())
            .collect();
        assert!(permits.handshake(one, &limits).is_none(), "they are new");
        let _first = permits.handshake(two, &limits).unwrap();
        assert!(silent[0].lost.is_cancelled(), "more than half is no share");
        assert!(!silent[1].lost.is_cancelled());
        let third = PeerGroup::User(3);
        assert!(permits.handshake(two, &limits).is_none(), "within theirs");
        tokio::time::advance(UNDISTURBED).await;
        let _own = permits.handshake(one, &limits).unwrap();
        assert!(silent[1].lost.is_cancelled() && !silent[2].lost.is_cancelled());
        let _third = permits.handshake(third, &limits).unwrap();
        drop(silent);
        assert_eq!(permits.state().handshakes.len(), 3);
    }
}
