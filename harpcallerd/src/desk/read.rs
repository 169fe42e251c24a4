//! Asking for a job's call, times and end.

use std::sync::Arc;

use harp_proto::{JobId, Outcome};

use super::Desk;
use crate::access::Operation;
use crate::client::Client;
use crate::record::{CallRecord, EndRecord, JobRecord, Stage};
use crate::refusal::Refusal;
use crate::store::StoreError;

/// A job as it is shown. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The job's id.
    pub id: JobId,
    /// The call as it was submitted.
    pub call: CallRecord,
    /// When its execution started, if it has.
    pub started: Option<u64>,
    /// When it ended, if it has: no sooner than its end is shown.
    pub ended: Option<u64>,
    /// Whether it waits for a word of the operator.
    pub held: bool,
}

/// Whether somebody who asks for an end waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No: that there is none yet is an answer.
    Not,
    /// Until there is one.
    UntilEnd,
}

impl Report {
    /// What is shown of a record. `is_shown` says whether the job's end, if it is in the
    /// record, has been shown.
    pub(super) fn of(record: JobRecord, is_shown: bool) -> Report {
        let (started, ended) = match record.stage {
            Stage::Queued { .. } => (None, None),
            Stage::Running { started } => (Some(started), None),
            Stage::Ended { started, ended } => (started, is_shown.then_some(ended)),
        };
        Report {
            id: record.id,
            call: record.call,
            started,
            ended,
            held: false,
        }
    }
}

impl Desk {
    /// A job's call and times. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`].
    pub async fn job(&self, by: &Client, job: JobId) -> Result<Report, Refusal> {
        self.permit(by, Operation::Read, job).await?;
        let report = self.report(job).await.map_err(Refusal::storage)?;
        report.ok_or(Refusal::NoSuchJob)
    }

    /// How a job ended. `None` if it has not, or if that would have to be waited for and
    /// nobody may wait any more. Whoever waits for an end also waits for the end of an outage
    /// of the store. Cancel safe.
    ///
    /// # Errors
    ///
    /// As for [`Desk::job`].
    pub async fn end(
        &self,
        by: &Client,
        job: JobId,
        wait: Wait,
    ) -> Result<Option<Arc<Outcome>>, Refusal> {
        let mut permission = self.permit(by, Operation::Read, job).await?;
        match wait {
            Wait::Not => self.end_by_now(job).await,
            Wait::UntilEnd => {
                let end = self.end_once_there(job);
                self.while_permitted(&mut permission, by, end).await?
            }
        }
    }

    /// What is shown of a job; `None` if there is no such job.
    pub(super) async fn report(&self, job: JobId) -> Result<Option<Report>, StoreError> {
        // Asked first: a job that runs now may have its end on disk before the store is read.
        // It is shown as ended no sooner than its result is.
        let live = self.dispatcher.jobs().get(job);
        let record = self.dispatcher.store().job(job).await?;
        let is_shown = live.is_none_or(|live| live.watch().borrow().outcome.is_some());
        let report = record.map(|record| Report::of(record, is_shown));
        Ok(report.map(|report| Report {
            held: report.started.or(report.ended).is_none()
                && self.dispatcher.ledger().is_held(job),
            ..report
        }))
    }

    /// The stored end of a job, for those who wait for it: they wait for the end of an outage
    /// too, until nobody may any more. Cancel safe.
    pub(super) async fn stored_end(&self, job: JobId) -> Result<Option<EndRecord>, StoreError> {
        let store = self.dispatcher.store();
        tokio::select! {
            biased;
            end = store.patiently(|| store.outcome(job)) => end,
            () = self.closing.cancelled() => store.outcome(job).await,
        }
    }

    async fn end_by_now(&self, job: JobId) -> Result<Option<Arc<Outcome>>, Refusal> {
        if let Some(live) = self.dispatcher.jobs().get(job) {
            return Ok(live.watch().borrow().outcome.clone());
        }
        if self.dispatcher.ledger().is_live(job) {
            return Ok(None);
        }
        let end = self.dispatcher.store().outcome(job).await;
        let end = end.map_err(Refusal::storage)?.ok_or(Refusal::NoSuchJob)?;
        Ok(Some(Arc::new(end.outcome)))
    }

    async fn end_once_there(&self, job: JobId) -> Result<Option<Arc<Outcome>>, Refusal> {
        let live = self.dispatcher.jobs().visit(job);
        let mut progress = live.watch();
        if !live.is_owned() && !self.dispatcher.ledger().is_live(job) {
            let end = self.stored_end(job).await;
            let end = end.map_err(Refusal::storage)?.ok_or(Refusal::NoSuchJob)?;
            return Ok(Some(Arc::new(end.outcome)));
        }
        tokio::select! {
            biased;
            // The sender is in `live`, so there is always an answer.
            ended = progress.wait_for(|progress| progress.outcome.is_some()) => {
                Ok(ended.ok().and_then(|progress| progress.outcome.clone()))
            }
            () = self.closing.cancelled() => Ok(None),
        }
    }
}
