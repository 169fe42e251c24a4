//! Connections to the dispatcher that wait for their next request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{Connection, feature};

/// A connection that was idle for longer is not used again: something between the two
/// ends may have forgotten it.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// How long a dispatcher is taken for one that does not know `hello`. It may be
/// replaced by one that does.
const TACITURN_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct ConnectionPool {
    size: usize,
    idle: Mutex<Vec<Idle>>,
    /// One permit for each short request that may run at the same time.
    short: Semaphore,
    /// Time when the dispatcher was found to answer without `hello` only.
    taciturn_since: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl ConnectionPool {
    pub(super) fn new(size: usize) -> ConnectionPool {
        ConnectionPool {
            size,
            idle: Mutex::new(Vec::new()),
            short: Semaphore::new(size.clamp(1, Semaphore::MAX_PERMITS)),
            taciturn_since: Mutex::new(None),
        }
    }

    /// Waits until a short request may run. Cancel safe.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so that this always is a permit.
        self.short.acquire().await.ok()
    }

    /// A connection that is alive as far as one can know without asking.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The one used last is the likeliest to be alive.
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() < LONGEST_IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose reply has been read whole.
    pub(super) fn put(&self, mut connection: Connection) {
        if connection.is_taciturn() {
            self.remember_taciturn();
        }
        if !connection.has(feature::KEEP_ALIVE) {
            return;
        }
        connection.mark_reused();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.size {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// How many connections wait for their next request.
    pub(super) fn idle(&self) -> usize {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Forgets every idle connection: one of them was found dead.
    pub(super) fn clear(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.clear();
    }

    /// True if the dispatcher takes one request a connection.
    pub(super) fn is_taciturn(&self) -> bool {
        let since = self
            .taciturn_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < TACITURN_FOR)
    }

    /// The dispatcher has answered `hello`.
    pub(super) fn forget_taciturn(&self) {
        *self
            .taciturn_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remember_taciturn(&self) {
        let mut since = self
            .taciturn_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Not put off by each request, so that `hello` is tried again in time.
        if since.is_none_or(|since| since.elapsed() >= TACITURN_FOR) {
            *since = Some(Instant::now());
        }
    }
}
