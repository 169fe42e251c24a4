//! How many connections there may be, and which one goes when there are too many.
//!
//! A connection that has not authenticated yet is worth less than a call: when all
//! places are taken one such goes for the new one, of the peer that has most of them the
//! oldest. So connections that send nothing keep neither a call out nor another peer's
//! connection.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use harp_service::accept::neighbourhood;
use tokio_util::sync::CancellationToken;

/// Every connection of the service.
#[derive(Debug)]
pub struct Connections {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    next: u64,
    /// Those that have not authenticated, oldest first.
    strangers: BTreeMap<u64, Stranger>,
    calls: usize,
}

#[derive(Debug)]
struct Stranger {
    /// Its address, or the network that it could take any address of.
    from: IpAddr,
    dropped: CancellationToken,
}

/// A connection's permit; given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Arc<Connections>,
    number: u64,
    dropped: CancellationToken,
    is_call: bool,
}

impl Connections {
    /// Places for `limit` connections.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Connections> {
        Arc::new(Connections {
            state: Mutex::new(State {
                limit,
                next: 0,
                strangers: BTreeMap::new(),
                calls: 0,
            }),
        })
    }

    /// Has places for `limit` connections from now on. Those beyond it stay until they end.
    pub fn resize(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// A permit for a new connection of this peer, if need be that of one that has not
    /// authenticated. `None` if every place is a call's.
    #[must_use]
    pub fn admit(self: &Arc<Connections>, peer: IpAddr) -> Option<ConnectionPermit> {
        let mut state = self.state();
        if state.calls + state.strangers.len() >= state.limit {
            let number = state.to_lose()?;
            state.strangers.remove(&number)?.dropped.cancel();
        }
        let number = state.next;
        state.next += 1;
        let dropped = CancellationToken::new();
        let stranger = Stranger {
            from: neighbourhood(peer),
            dropped: dropped.clone(),
        };
        state.strangers.insert(number, stranger);
        Some(ConnectionPermit {
            connections: Arc::clone(self),
            number,
            dropped,
            is_call: false,
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connection that has to make room.
    fn to_lose(&self) -> Option<u64> {
        let mut by_peer: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in self.strangers.values() {
            *by_peer.entry(stranger.from).or_default() += 1;
        }
        let all = self.strangers.iter();
        let first =
            all.max_by_key(|(number, stranger)| (by_peer[&stranger.from], Reverse(**number)));
        first.map(|(number, _)| *number)
    }
}

impl ConnectionPermit {
    /// Waits until the place has been given to somebody else: the connection must end.
    /// Never happens to a call's.
    ///
    /// Cancel safe.
    pub async fn dropped(&self) {
        self.dropped.cancelled().await;
    }

    /// The connection has authenticated: nobody takes its place any more. False if that
    /// has happened already.
    #[must_use]
    pub fn becomes_call(&mut self) -> bool {
        let mut state = self.connections.state();
        self.is_call = state.strangers.remove(&self.number).is_some();
        state.calls += usize::from(self.is_call);
        self.is_call
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if self.is_call {
            state.calls -= 1;
        } else {
            state.strangers.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn the_oldest_stranger_goes_and_a_call_never_does() {
        let connections = Connections::new(2);
        let mut call = connections.admit(peer(1)).unwrap();
        let stranger = connections.admit(peer(1)).unwrap();
        assert!(call.becomes_call());

        let mut next = connections.admit(peer(1)).unwrap();
        assert!(stranger.dropped.is_cancelled());
        assert!(!call.dropped.is_cancelled());
        drop(stranger);

        assert!(next.becomes_call());
        assert!(connections.admit(peer(1)).is_none());
        connections.resize(3);
        assert!(connections.admit(peer(1)).is_some());
        connections.resize(2);
        drop(call);
        assert!(connections.admit(peer(1)).is_some());
    }

    #[test]
    fn a_peer_with_many_strangers_loses_its_own() {
        let connections = Connections::new(4);
        let lone = connections.admit(peer(1)).unwrap();
        let mut many = Vec::new();
        for _ in 0..100 {
            many.push(connections.admit(peer(2)).unwrap());
        }
        assert!(!lone.dropped.is_cancelled());
        let newcomer = connections.admit(peer(3)).unwrap();
        many.push(connections.admit(peer(2)).unwrap());
        for one in [&lone, &newcomer] {
            assert!(!one.dropped.is_cancelled());
        }
        let left = many.iter().filter(|one| !one.dropped.is_cancelled());
        assert_eq!(left.count(), 2);
        // Of a network everybody may have as many addresses as wanted.
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn who_lost_the_place_cannot_become_a_call() {
        let connections = Connections::new(1);
        let mut first = connections.admit(peer(1)).unwrap();
        let _second = connections.admit(peer(2)).unwrap();
        assert!(!first.becomes_call());
    }
}
