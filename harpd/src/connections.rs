//! How many connections there may be, and which one goes when there are too many.
//!
//! A connection that has not authenticated yet is worth less than a call: when all
//! places are taken the oldest such one is dropped for the new one, so connections that
//! send nothing never keep a real call out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Every connection of the service.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Those that have not authenticated, oldest first.
    strangers: BTreeMap<u64, CancellationToken>,
    calls: usize,
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
            limit,
            state: Mutex::default(),
        })
    }

    /// A permit for a new connection, if need be that of the oldest one that has not
    /// authenticated. `None` if every place is a call's.
    #[must_use]
    pub fn admit(self: &Arc<Connections>) -> Option<ConnectionPermit> {
        let mut state = self.state();
        if state.calls + state.strangers.len() >= self.limit {
            let (_, oldest) = state.strangers.pop_first()?;
            oldest.cancel();
        }
        let number = state.next;
        state.next += 1;
        let dropped = CancellationToken::new();
        state.strangers.insert(number, dropped.clone());
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

    #[test]
    fn the_oldest_stranger_goes_and_a_call_never_does() {
        let connections = Connections::new(2);
        let mut call = connections.admit().unwrap();
        let stranger = connections.admit().unwrap();
        assert!(call.becomes_call());

        let mut next = connections.admit().unwrap();
        assert!(stranger.dropped.is_cancelled());
        assert!(!call.dropped.is_cancelled());
        drop(stranger);

        assert!(next.becomes_call());
        assert!(connections.admit().is_none());
        drop(call);
        assert!(connections.admit().is_some());
    }

    #[test]
    fn who_lost_the_place_cannot_become_a_call() {
        let connections = Connections::new(1);
        let mut first = connections.admit().unwrap();
        let _second = connections.admit().unwrap();
        assert!(!first.becomes_call());
    }
}
