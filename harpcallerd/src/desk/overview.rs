//! The queues, and the jobs of one, for clients.

use std::sync::Arc;

use harp_jobs::access::{Operation, Verdict};
use harp_jobs::client::Client;
use harp_jobs::ledger::Ledger as _;
pub use harp_jobs::lineup::queue::Spot;
use harp_jobs::refusal::Refusal;
use harp_values::{JobId, QueueName};
use tracing::info;

use super::Desk;
use super::lists::passing_damaged;
use super::view::View;

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOverview {
    /// Its name.
    pub name: QueueName,
    /// How many of its jobs may run at once.
    pub concurrency: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that have ended and hold their places all the same.
    pub kept: u64,
    /// When the oldest was submitted of those that hold a place and the first that waits, in
    /// milliseconds since 1970.
    pub oldest: u64,
}

/// Jobs of a queue that are looked at for one page, at most.
const LOOKED_AT: usize = 1000;

/// A part of a queue's jobs.
#[derive(Debug, Default)]
pub struct QueuePage {
    /// The jobs, in their order.
    pub jobs: Vec<View>,
    /// Behind which spot it goes on; `None` at the end.
    pub next: Option<Spot>,
}

/// What came of cancelling the jobs of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCancelled {
    /// Jobs that have been cancelled.
    pub cancelled: u64,
    /// Jobs that the client may not cancel.
    pub forbidden: u64,
}

impl Desk {
    /// The queues behind a name, in the order of their names, at most `limit`. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Storage`].
    pub async fn queues(
        &self,
        by: &Client,
        after: Option<&QueueName>,
        limit: usize,
    ) -> Result<Vec<QueueOverview>, Refusal> {
        self.permit_without_job(by, Operation::Observe).await?;
        let names = self.dispatcher.ledger().queues().await;
        let names = names?.into_iter();
        let names = names.filter(|name| after.is_none_or(|after| name > after));
        let mut queues = Vec::new();
        for name in names {
            if queues.len() >= limit {
                break;
            }
            queues.extend(self.queue(name).await?);
        }
        Ok(queues)
    }

    /// `None` for one that is gone.
    async fn queue(&self, name: QueueName) -> Result<Option<QueueOverview>, Refusal> {
        let tally = self.dispatcher.ledger().queue_tally(&name).await?;
        Ok(tally.map(|tally| QueueOverview {
            concurrency: tally.concurrency,
            running: tally.running,
            queued: tally.queued,
            kept: tally.kept,
            oldest: tally.oldest.submitted(),
            name,
        }))
    }

    /// The jobs of a queue behind a spot, in their order, those that hold a place first; at most
    /// `limit` of those that the client may read. No more than 1,000 are looked at, so there may
    /// be fewer before the last page. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Storage`].
    pub async fn jobs_of_queue(
        &self,
        by: &Client,
        name: &QueueName,
        after: Option<Spot>,
        limit: usize,
    ) -> Result<QueuePage, Refusal> {
        self.permit_without_job(by, Operation::Observe).await?;
        let ledger = self.dispatcher.ledger();
        let members = ledger.queue_page(name, after, LOOKED_AT).await?;
        let is_last = members.len() < LOOKED_AT;
        let mut page = QueuePage::default();
        for (job, spot) in members {
            if page.jobs.len() >= limit {
                return Ok(page);
            }
            page.next = Some(spot);
            let Some(view) = passing_damaged(self.look(job).await)? else {
                continue;
            };
            let rules = Arc::clone(&self.access.borrow());
            if rules.allow_job(by, Operation::Read, &view.report.call) {
                page.jobs.push(view);
            }
        }
        if is_last {
            page.next = None;
        }
        Ok(page)
    }

    async fn members(&self, name: &QueueName) -> Result<Vec<JobId>, Refusal> {
        let ledger = self.dispatcher.ledger();
        let members = ledger.queue_jobs(name).await;
        let members = members?;
        let held = ledger.held_members(name);
        let jobs = members.running.into_iter().chain(held);
        Ok(jobs.chain(members.waiting).collect())
    }

    /// Cancels those jobs of a queue that the client may cancel, those that wait last first, so
    /// that none of them starts in between. Cancel safe: what was begun goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`] if it may cancel no
    /// job at all, [`Refusal::Storage`], [`Refusal::EndNotRecorded`].
    pub async fn cancel_jobs_of_queue(
        &self,
        by: &Client,
        name: &QueueName,
    ) -> Result<QueueCancelled, Refusal> {
        super::permission::identified(by).await?;
        let rules = Arc::clone(&self.access.borrow());
        if !by.is_administrator() && rules.judge(by, Operation::Cancel) == Verdict::Forbidden {
            self.note_refused(by, "queue-cancel", None, &Refusal::Forbidden);
            return Err(Refusal::Forbidden);
        }
        info!(queue = %name, client = by.name(), "jobs of a queue to be cancelled by a client");
        let mut done = QueueCancelled::default();
        let mut allowed = Vec::new();
        for job in self.members(name).await?.into_iter().rev() {
            let report = passing_damaged(self.report(job).await)?;
            let Some(report) = report.filter(|report| report.ended.is_none()) else {
                continue;
            };
            if by.is_administrator() || rules.allow_job(by, Operation::Cancel, &report.call) {
                allowed.push(job);
            } else {
                done.forbidden += 1
            }
        }
        // Asked for one after the other, waited for together: each is withdrawn before the
        // next one is asked for.
        let cancels = allowed.into_iter().map(|job| self.cancel(by, job, false));
        for cancelled in futures_util::future::join_all(cancels).await {
            done.cancelled += u64::from(cancelled?.cancelled);
        }
        Ok(done)
    }
}
