//! Whether anything goes on on a connection: it may be idle for a while, and a request's head
//! may take its time, but not for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long a connection may be kept without a request.
const IDLE: Duration = Duration::from_secs(75);

/// What a connection is late with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request has come for long.
    Idle,
    /// A request was begun, and its head did not come to an end.
    Slow,
}

/// Whether anything goes on on a connection, and since when not.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<PaceState>,
    /// Whether a first byte is one of a request's head: in HTTP/2 it can be of anything.
    heads_are_seen: bool,
}

#[derive(Debug)]
struct PaceState {
    under_way: usize,
    /// Since when nothing is under way, or the head of a request comes.
    since: Instant,
    is_begun: bool,
    /// Before the first request.
    is_new: bool,
}

impl Pace {
    /// Of a connection that has just come.
    pub(super) fn new(heads_are_seen: bool) -> Pace {
        Pace {
            state: Mutex::new(PaceState {
                under_way: 0,
                since: Instant::now(),
                is_begun: false,
                is_new: true,
            }),
            heads_are_seen,
        }
    }

    /// Notes that bytes have come.
    pub(super) fn has_come(&self) {
        let mut state = self.state();
        if self.heads_are_seen && state.under_way == 0 && !state.is_begun {
            state.is_begun = true;
            if !state.is_new {
                state.since = Instant::now();
            }
        }
    }

    /// Completes when the connection is late. Cancel safe.
    pub(super) async fn overdue(&self, request_timeout: Duration) -> Overdue {
        loop {
            let (by, overdue) = {
                let state = self.state();
                // A new connection has the time of one request for its first one.
                match state.is_begun || state.is_new {
                    _ if state.under_way > 0 => (Instant::now() + IDLE, None),
                    true => (state.since + request_timeout, Some(Overdue::Slow)),
                    false => (state.since + IDLE, Some(Overdue::Idle)),
                }
            };
            if let Some(overdue) = overdue
                && by <= Instant::now()
            {
                return overdue;
            }
            // Looked at again before anything that may begin meanwhile can be late.
            let look = Instant::now() + request_timeout.max(Duration::from_millis(100));
            sleep_until(by.min(look)).await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, PaceState> {
        // A std mutex: held for a few assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way, until all of its answer has been taken.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Pace>);

impl UnderWay {
    /// One more.
    pub(super) fn begin(pace: &Arc<Pace>) -> UnderWay {
        let mut state = pace.state();
        state.under_way += 1;
        (state.is_begun, state.is_new) = (false, false);
        drop(state);
        UnderWay(Arc::clone(pace))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.since = Instant::now();
    }
}
