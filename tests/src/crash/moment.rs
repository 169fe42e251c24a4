//! The moments of a job's life at which the dispatcher is killed, and telling when one
//! of them has come.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When the dispatcher is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// Whenever.
    Random,
    /// A call has been sent by its client, and is not answered yet.
    Submitting,
    /// A call with a key has been sent, and is not answered yet.
    SubmittingKey,
    /// A client has been told its job's id.
    Submitted,
    /// The job's start is on its way to disk: its host has accepted the connection, and
    /// TLS has not begun.
    BeforeTls,
    /// The TLS handshake is done, and the request has not been read.
    BeforeRequest,
    /// The host has read the request, and has not acknowledged it.
    BeforeAcknowledgement,
    /// The host has acknowledged the request, and has sent no packet.
    Acknowledged,
    /// Some packets have been sent, more follow.
    Streaming,
    /// The host has sent its last line, and it may not have been read.
    Returned,
    /// A follower has been shown a packet.
    PacketShown,
    /// A client has been shown how a job ended.
    OutcomeShown,
    /// A cancel has been sent by its client, and is not answered yet.
    Cancelling,
    /// A cancel has been answered.
    Cancelled,
    /// A call was given up and its host is not done: the place in the queue is kept.
    PlaceKept,
    /// A queued job's time to start is just over.
    StartByOver,
    /// The dispatcher was stopped by SIGSTOP for a while, and requests have piled up.
    Frozen,
    /// harpd was stopped by SIGSTOP for a while, and may stand still beyond the crash.
    HostFrozen,
    /// The dispatcher is starting, and deals with what an earlier crash left.
    Starting,
    /// The dispatcher is stopping in order.
    Stopping,
}

impl Moment {
    /// All of them.
    pub const ALL: [Moment; 20] = [
        Moment::Random,
        Moment::Submitting,
        Moment::SubmittingKey,
        Moment::Submitted,
        Moment::BeforeTls,
        Moment::BeforeRequest,
        Moment::BeforeAcknowledgement,
        Moment::Acknowledged,
        Moment::Streaming,
        Moment::Returned,
        Moment::PacketShown,
        Moment::OutcomeShown,
        Moment::Cancelling,
        Moment::Cancelled,
        Moment::PlaceKept,
        Moment::StartByOver,
        Moment::Frozen,
        Moment::HostFrozen,
        Moment::Starting,
        Moment::Stopping,
    ];
}

/// Tells one who waits for a moment that it has come.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    awaited: Option<Moment>,
    has_come: bool,
}

impl Signal {
    /// Waits until somebody says that the moment has come; false if nobody does in time.
    /// The task that stands at it is held there until [`Signal::release`].
    pub(crate) fn wait(&self, moment: Moment, patience: Duration) -> bool {
        let mut state = self.state();
        *state = State {
            awaited: Some(moment),
            has_come: false,
        };
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.has_come);
        waited.unwrap_or_else(PoisonError::into_inner).0.has_come
    }

    /// Nobody waits for a moment any more.
    pub(crate) fn release(&self) {
        *self.state() = State::default();
        self.changed.notify_all();
    }

    /// The moment has come. Stays there for as long as whoever waited for it wants, so
    /// that nothing more happens in between.
    pub(crate) fn reached(&self, moment: Moment) {
        let mut state = self.state();
        if state.awaited != Some(moment) || state.has_come {
            return;
        }
        state.has_come = true;
        self.changed.notify_all();
        let held = self
            .changed
            .wait_timeout_while(state, Duration::from_secs(10), |state| state.has_come);
        drop(held.unwrap_or_else(PoisonError::into_inner));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
