//! What the attempt of a run is busy with. One future of it is polled at a time.

use harp_values::Failure;

use crate::batch::Batch;
use crate::transport::{Attempt, Commit, Heard, Proved, Stored};
use crate::world::{BoxFuture, Moment};

type Boxed = Box<dyn Attempt>;

/// The attempt, and what it is busy with.
pub(super) enum Work {
    /// Nothing, or there is none.
    Idle(Option<Boxed>),
    /// Making everything ready.
    Ready(BoxFuture<'static, (Boxed, Result<(), Failure>)>),
    /// Sending the request. Not dropped before it completes.
    Commit(BoxFuture<'static, (Boxed, Commit)>),
    /// Listening to the host.
    Listen(Boxed),
    /// Telling the host that the call is given up.
    Tell(BoxFuture<'static, Boxed>),
    /// Waiting for the host to be done.
    Prove(BoxFuture<'static, (Boxed, Proved)>),
}

/// What has come of it.
pub(super) enum Came {
    Ready(Result<(), Failure>),
    Commit(Commit),
    Heard(Heard),
    Told,
    Proved(Proved),
}

impl Work {
    pub(super) fn ready(mut attempt: Boxed, by: Moment) -> Work {
        Work::Ready(Box::pin(async move {
            let ready = attempt.ready(by).await;
            (attempt, ready)
        }))
    }

    pub(super) fn commit(mut attempt: Boxed, by: Moment) -> Work {
        Work::Commit(Box::pin(async move {
            let commit = attempt.commit(by).await;
            (attempt, commit)
        }))
    }

    pub(super) fn tell(mut attempt: Boxed) -> Work {
        Work::Tell(Box::pin(async move {
            attempt.tell().await;
            attempt
        }))
    }

    pub(super) fn prove(mut attempt: Boxed) -> Work {
        Work::Prove(Box::pin(async move {
            let proved = attempt.prove().await;
            (attempt, proved)
        }))
    }

    /// What comes of it; never if there is nothing to wait for. Cancel safe: it goes on when
    /// it is asked for again.
    pub(super) async fn came(&mut self, batch: &mut Batch) -> Came {
        let (attempt, came) = match self {
            Work::Idle(_) => std::future::pending().await,
            Work::Ready(work) => {
                let (attempt, ready) = work.await;
                (attempt, Came::Ready(ready))
            }
            Work::Commit(work) => {
                let (attempt, commit) = work.await;
                (attempt, Came::Commit(commit))
            }
            // It listens on, until it is told otherwise.
            Work::Listen(attempt) => return Came::Heard(attempt.next(batch).await),
            Work::Tell(work) => (work.await, Came::Told),
            Work::Prove(work) => {
                let (attempt, proved) = work.await;
                (attempt, Came::Proved(proved))
            }
        };
        *self = Work::Idle(Some(attempt));
        came
    }

    /// Does not listen for now, and lets the host know that it is still wanted. Never
    /// completes.
    pub(super) async fn hold_on(&mut self) -> Came {
        if let Work::Listen(attempt) = self {
            attempt.hold_on().await;
        }
        std::future::pending().await
    }

    /// Takes the attempt out, if it is at hand.
    pub(super) fn take(&mut self) -> Option<Boxed> {
        match std::mem::replace(self, Work::Idle(None)) {
            Work::Idle(attempt) => attempt,
            Work::Listen(attempt) => Some(attempt),
            Work::Ready(_) | Work::Commit(_) | Work::Tell(_) | Work::Prove(_) => None,
        }
    }

    /// The attempt, if it is at hand.
    pub(super) fn attempt(&self) -> Option<&Boxed> {
        match self {
            Work::Idle(attempt) => attempt.as_ref(),
            Work::Listen(attempt) => Some(attempt),
            Work::Ready(_) | Work::Commit(_) | Work::Tell(_) | Work::Prove(_) => None,
        }
    }

    /// Listens no longer.
    pub(super) fn rest(&mut self) {
        if matches!(self, Work::Listen(_)) {
            *self = Work::Idle(self.take());
        }
    }

    /// Tells the attempt what is durable, if it is at hand.
    pub(super) fn stored(&mut self, what: Stored) {
        if let Work::Idle(Some(attempt)) | Work::Listen(attempt) = self {
            attempt.stored(what);
        }
    }
}
