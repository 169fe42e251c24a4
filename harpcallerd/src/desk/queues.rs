//! Looking at queues, and cancelling all of one.

use std::sync::Arc;

use harp_jobs::audit::Act;
use harp_jobs::client::Client;
use harp_jobs::ledger::Ledger;
use harp_jobs::refusal::Refusal;
use harp_values::{JobId, QueueName};
use tracing::info;

use super::Desk;
use super::cancel::not_recorded;
use super::lists::passing_damaged;
use super::read::Report;

/// Jobs of a queue that are looked up at once.
const PAGE: usize = 256;

/// A walk over the jobs of one queue as they stood at its beginning.
#[derive(Debug)]
pub struct QueueJobs {
    desk: Arc<Desk>,
    /// Those that are left, each with whether it holds a place.
    jobs: std::vec::IntoIter<(JobId, bool)>,
}

impl Desk {
    /// The names of all queues that have a job, sorted.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators.
    pub async fn queue_names(&self, by: &Client) -> Result<Vec<QueueName>, Refusal> {
        self.administrators_only(by, "queue-list")?;
        let names = self.dispatcher.ledger().queues().await;
        names.map_err(Refusal::from)
    }

    /// The jobs of a queue, those that hold a place first, each kind in its order; none if
    /// there is no such queue.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators.
    pub async fn queue_jobs(
        self: &Arc<Self>,
        by: &Client,
        name: &QueueName,
    ) -> Result<QueueJobs, Refusal> {
        self.administrators_only(by, "queue-list")?;
        let members = self.dispatcher.ledger().queue_jobs(name).await;
        let members = members?;
        let running = members.running.into_iter().map(|id| (id, true));
        let held = self.dispatcher.ledger().held_members(name);
        let waiting = held.into_iter().chain(members.waiting);
        let waiting = waiting.map(|id| (id, false));
        let jobs: Vec<_> = running.chain(waiting).collect();
        Ok(QueueJobs {
            desk: Arc::clone(self),
            jobs: jobs.into_iter(),
        })
    }

    /// Cancels all jobs of a queue and waits until their ends are on disk; none of those that
    /// wait starts in between. Returns how many have been cancelled. Cancel safe: once begun, the
    /// cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::EndNotRecorded`],
    /// [`Refusal::Closing`].
    pub async fn cancel_queue(&self, by: &Client, name: &QueueName) -> Result<usize, Refusal> {
        self.administrators_only(by, "queue-cancel")?;
        let jobs = Arc::clone(self.dispatcher.jobs());
        let (audit, by, name) = (self.audit.clone(), by.clone(), name.clone());
        self.act(async move {
            info!(queue = %name, client = by.name(), "queue to be cancelled by an administrator");
            let cancelled = jobs.cancel_queue(&name).await.map_err(|error| {
                not_recorded(&error, "the end of a job cannot be recorded at present")
            });
            audit.administered(&by, Act::CancelQueue(&name), cancelled.as_ref().err());
            cancelled
        })
        .await
    }
}

impl QueueJobs {
    /// The next jobs, each with whether it holds a place; `None` at the end. Cancel safe in
    /// this sense: jobs of a page that is not waited for are passed over.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<(Report, bool)>>, Refusal> {
        let mut page = Vec::new();
        let mut is_over = true;
        for (id, runs) in self.jobs.by_ref().take(PAGE) {
            is_over = false;
            // One that is not there any more has been pruned just now.
            if let Some(report) = passing_damaged(self.desk.report(id).await)? {
                page.push((report, runs));
            }
        }
        Ok((!is_over).then_some(page))
    }
}
