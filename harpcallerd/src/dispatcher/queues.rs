//! Looking at a queue as a whole, and cancelling all of it.

use std::sync::Arc;

use futures_util::future::join_all;
use harp_proto::{JobId, Outcome, QueueName};
use tracing::info;

use super::Dispatcher;
use crate::jobs::LiveJob;
use crate::queue::Members;
use crate::refusal::Refusal;

/// How many ends are on their way to the disk at once.
const ENDS_AT_ONCE: usize = 1000;

impl Dispatcher {
    /// The names of all queues that have a job, held ones included, sorted.
    #[must_use]
    pub fn queue_names(&self) -> Vec<QueueName> {
        let lineup = self.lineup();
        let held = lineup.held.values().flat_map(|job| &job.queue);
        let mut names = lineup.queues.names();
        names.extend(held.map(|queue| queue.name.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The jobs of a queue; none if there is no such queue.
    #[must_use]
    pub fn queue_members(&self, name: &QueueName) -> Members {
        self.lineup().queues.members(name)
    }

    /// Cancels all jobs of a queue and waits until their ends are on disk. Those that
    /// wait are taken out in one step, so none of them starts in between; a call whose
    /// submission has not been answered counts as one that comes after.
    ///
    /// Cancel safe: once begun, the cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::EndNotRecorded`] if the end of one of them cannot be recorded at present.
    pub async fn cancel_queue(self: &Arc<Self>, name: &QueueName) -> Result<(), Refusal> {
        let (running, waiting) = self.clear_queue(name);
        for live in &running {
            live.request_cancel();
        }
        info!(queue = %name, running = running.len(), waiting = waiting.len(), "queue cancelled");
        let dispatcher = Arc::clone(self);
        let unstarted = waiting.clone();
        let ending = self.tasks.spawn(async move {
            for jobs in unstarted.chunks(ENDS_AT_ONCE) {
                let ends = jobs
                    .iter()
                    .map(|live| dispatcher.end_unstarted(live, Outcome::Cancelled));
                join_all(ends).await;
            }
        });
        let unrecorded = || Refusal::EndNotRecorded {
            why: "the end of a job cannot be recorded at present",
        };
        let ended = async {
            for live in waiting.iter().chain(&running) {
                live.ended_or_unrecorded().await.ok_or_else(unrecorded)?;
            }
            Ok(())
        };
        tokio::select! {
            ended = ended => ended,
            // A fault of this program; otherwise the ends say more.
            Err(_) = ending => Err(unrecorded()),
        }
    }

    /// Takes out all jobs that wait. Returns those that run, and those.
    fn clear_queue(self: &Arc<Self>, name: &QueueName) -> (Vec<Arc<LiveJob>>, Vec<Arc<LiveJob>>) {
        let mut lineup = self.lineup();
        // One that has ended keeps its place until its host is done, and needs no cancel.
        let running = self.handles(&lineup.queues.members(name).running);
        let held = lineup.held_of(name);
        for id in &held {
            lineup.held.remove(id);
        }
        let mut waiting = self.handles(&held);
        waiting.extend(self.handles(&lineup.queues.withdraw_all(name)));
        for live in &waiting {
            if let Some(start_by) = live.start_by {
                lineup.deadlines.remove(start_by.by, live.id);
            }
        }
        let next = lineup.queues.advance(name);
        drop(lineup);
        self.start_promoted(next);
        (running, waiting)
    }

    fn handles(&self, ids: &[JobId]) -> Vec<Arc<LiveJob>> {
        ids.iter().filter_map(|id| self.jobs.get(*id)).collect()
    }
}
