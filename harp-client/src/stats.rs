//! What a client has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What a [`HarpCaller`](crate::HarpCaller) and its clones have done since it was made, for
/// metrics: all but `idle_connections` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were begun. One that is made again counts once.
    pub requests: u64,
    /// Requests that came to an error; one whose future was dropped did not.
    pub failed_requests: u64,
    /// Repetitions of calls with a key.
    pub repetitions: u64,
    /// Attempts to go on with a wait or a stream of packets whose dispatcher was lost.
    pub reconnects: u64,
    /// Connections that were opened.
    pub opened_connections: u64,
    /// Connections that could not be opened.
    pub failed_connections: u64,
    /// Connections that carry no request now.
    pub idle_connections: usize,
}

/// The counts as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) failed_requests: Counter,
    pub(crate) repetitions: Counter,
    pub(crate) reconnects: Counter,
    pub(crate) opened_connections: Counter,
    pub(crate) failed_connections: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn stats(&self, idle_connections: usize) -> Stats {
        Stats {
            requests: self.requests.get(),
            failed_requests: self.failed_requests.get(),
            repetitions: self.repetitions.get(),
            reconnects: self.reconnects.get(),
            opened_connections: self.opened_connections.get(),
            failed_connections: self.failed_connections.get(),
            idle_connections,
        }
    }
}
