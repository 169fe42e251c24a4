//! Whether anything goes on on a connection: it may be idle for a while, a request's head may take
//! its time, and so may whoever takes an answer, but not for ever.

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
    /// Over HTTP/2, a part of an answer waits for the peer to make room, of which nothing has
    /// been heard meanwhile.
    Untaken,
}

/// Whether anything goes on on a connection, and since when not.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<PaceState>,
    /// In HTTP/2 a first byte can be of anything, and a peer that takes what is sent need not
    /// make room for an answer.
    is_http2: bool,
}

#[derive(Debug)]
struct PaceState {
    under_way: usize,
    /// Since when nothing is under way, or the head of a request comes.
    since: Instant,
    is_begun: bool,
    /// Before the first request.
    is_new: bool,
    /// Answers of which a part has gone out, and nobody has asked for the next.
    untaken: usize,
    /// Since when there are such, and nothing has come.
    untaken_since: Instant,
}

impl Pace {
    /// Of a connection that has just come.
    pub(super) fn new(is_http2: bool) -> Pace {
        let now = Instant::now();
        Pace {
            state: Mutex::new(PaceState {
                under_way: 0,
                since: now,
                is_begun: false,
                is_new: true,
                untaken: 0,
                untaken_since: now,
            }),
            is_http2,
        }
    }

    /// Notes that bytes have come.
    pub(super) fn has_come(&self) {
        let mut state = self.state();
        if state.untaken > 0 {
            state.untaken_since = Instant::now();
        }
        if !self.is_http2 && state.under_way == 0 && !state.is_begun {
            state.is_begun = true;
            if !state.is_new {
                state.since = Instant::now();
            }
        }
    }

    /// Completes when the connection is late. Cancel safe.
    pub(super) async fn overdue(
        &self,
        request_timeout: Duration,
        write_timeout: Duration,
    ) -> Overdue {
        loop {
            let (by, overdue) = {
                let state = self.state();
                // A new connection has the time of one request for its first one.
                match state.is_begun || state.is_new {
                    _ if state.untaken > 0 => {
                        (state.untaken_since + write_timeout, Some(Overdue::Untaken))
                    }
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
            let soon = request_timeout.min(write_timeout);
            let look = Instant::now() + soon.max(Duration::from_millis(100));
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
pub(super) struct UnderWay {
    pace: Arc<Pace>,
    /// A part of the answer has gone out, and nobody has asked for the next.
    is_untaken: bool,
}

impl UnderWay {
    /// One more.
    pub(super) fn begin(pace: &Arc<Pace>) -> UnderWay {
        let mut state = pace.state();
        state.under_way += 1;
        (state.is_begun, state.is_new) = (false, false);
        drop(state);
        UnderWay {
            pace: Arc::clone(pace),
            is_untaken: false,
        }
    }

    /// A part of the answer goes out.
    pub(super) fn goes_out(&mut self) {
        // Over HTTP/1.1 the socket shows whether the peer makes room.
        if self.pace.is_http2 && !self.is_untaken {
            self.is_untaken = true;
            let mut state = self.pace.state();
            if state.untaken == 0 {
                state.untaken_since = Instant::now();
            }
            state.untaken += 1;
        }
    }

    /// The next part is asked for: there is room for it.
    pub(super) fn is_asked(&mut self) {
        if std::mem::take(&mut self.is_untaken) {
            self.pace.state().untaken -= 1;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.is_asked();
        let mut state = self.pace.state();
        state.under_way -= 1;
        state.since = Instant::now();
    }
}
