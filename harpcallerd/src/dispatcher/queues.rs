//! Cancelling all of a queue.

use harp_proto::{Outcome, QueueName};

use super::Dispatcher;
use crate::refusal::Refusal;

impl Dispatcher {
    /// Cancels all jobs of a queue and waits until their ends are on disk. Those that
    /// wait are taken out in one step, so none of them starts in between; a call whose
    /// submission has not been answered counts as one that comes after.
    ///
    /// Cancel safe: once begun, the cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::EndNotRecorded`] if the end of one of them cannot be recorded at present.
    pub async fn cancel_queue(&self, name: &QueueName) -> Result<(), Refusal> {
        let (withdrawn, running) = self.ledger.withdraw_queue(name, Outcome::Cancelled);
        let running = running.into_iter().map(|job| self.jobs.visit(job));
        let running: Vec<_> = running.collect();
        for live in &running {
            live.request_cancel();
        }
        let unrecorded = || Refusal::EndNotRecorded {
            why: "the end of a job cannot be recorded at present",
        };
        withdrawn.await.map_err(|_| unrecorded())?;
        for live in &running {
            // One that had ended by the time of the wish says no word any more.
            if self.ledger.is_live(live.id) || live.is_owned() {
                live.ended_or_unrecorded().await.ok_or_else(unrecorded)?;
            }
        }
        Ok(())
    }
}
