//! How the writer tells what has become of a change.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::StoreError;
use super::round::Done;

/// Whoever is told.
pub(crate) enum Told {
    /// A caller that waits. While nothing can be written it is told so, and asks again.
    Caller {
        answer: oneshot::Sender<Result<Done, StoreError>>,
        /// Held as long as the change is in memory.
        permit: OwnedSemaphorePermit,
    },
    /// One for whom the change is made however long it takes.
    Patient(Box<dyn Reply>),
}

/// What follows on a change that is made as soon as it can be.
pub(crate) trait Reply: Send {
    /// The change is on disk, or is never made, as after the end of the store. Called by the
    /// writer in the order of the changes; waits for nothing.
    fn done(self: Box<Self>, done: Result<Done, StoreError>);

    /// Nothing can be written at present. If the error is [`StoreError::UnknownOutcome`], the
    /// change may be on disk. False if it is not to be made any more.
    fn put_off(&mut self, error: &StoreError) -> bool {
        let _ = error;
        true
    }
}
