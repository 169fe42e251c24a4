//! Asking for a job's call, times and end.

use std::pin::pin;
use std::sync::Arc;

use harp_jobs::access::Operation;
use harp_jobs::client::Client;
use harp_jobs::jobs::{Ended, NotKnown};
use harp_jobs::ledger::Unreadable;
use harp_jobs::record::{CallRecord, EndRecord, JobRecord, Stage};
use harp_jobs::refusal::Refusal;
use harp_values::JobId;

use super::Desk;

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
    /// Since when its host cannot be reached, if it runs and its host keeps the call.
    pub unreachable_since: Option<u64>,
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
    /// What is shown of a record.
    pub(super) fn of(record: JobRecord) -> Report {
        let (started, ended) = match record.stage {
            Stage::Queued { .. } => (None, None),
            Stage::Running { started } => (Some(started), None),
            Stage::Ended { started, ended } => (started, Some(ended)),
        };
        Report {
            id: record.id,
            call: record.call,
            started,
            ended,
            held: false,
            unreachable_since: None,
        }
    }
}

/// How long what is kept of a job is, in bytes; 0 for what is not there or cannot be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lengths {
    /// Of its call.
    pub call: usize,
    /// Of its end.
    pub end: usize,
}

impl Desk {
    /// How much memory answers about a job take, for a face that has to make room for them.
    /// Tells a client nothing. Cancel safe.
    pub async fn lengths(&self, job: JobId) -> Lengths {
        let lengths = self.dispatcher.ledger().lengths(job).await;
        let (call, end) = lengths.unwrap_or_default();
        Lengths { call, end }
    }

    /// A job's call and times. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`].
    pub async fn job(&self, by: &Client, job: JobId) -> Result<Report, Refusal> {
        self.permit(by, Operation::Read, job).await?;
        let report = self.report(job).await?;
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
    ) -> Result<Option<Arc<EndRecord>>, Refusal> {
        let mut permission = self.permit(by, Operation::Read, job).await?;
        let jobs = self.dispatcher.jobs();
        if wait == Wait::Not {
            return match jobs.end(job).await? {
                Ended::Nothing => Err(Refusal::NoSuchJob),
                Ended::NotYet => Ok(None),
                Ended::Yes(end) => Ok(Some(end)),
            };
        }
        let end = pin!(jobs.wait(job));
        let end = self.while_permitted(&mut permission, by, end);
        match end.await? {
            Ok(Some(end)) => Ok(Some(end)),
            Ok(None) => Err(Refusal::NoSuchJob),
            Err(NotKnown::Closing) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is shown of a job; `None` if there is no such job.
    pub(super) async fn report(&self, job: JobId) -> Result<Option<Report>, Unreadable> {
        let record = self.dispatcher.jobs().job(job).await?;
        Ok(record.map(|record| self.report_of(*record)))
    }

    /// What is shown of a job whose record has just been read.
    pub(super) fn report_of(&self, mut record: JobRecord) -> Report {
        let jobs = self.dispatcher.jobs();
        jobs.show(&mut record);
        let report = Report::of(record);
        if report.ended.is_some() {
            return report;
        }
        Report {
            held: report.started.is_none() && self.dispatcher.ledger().is_held(report.id),
            unreachable_since: jobs.unreachable_since(report.id),
            ..report
        }
    }
}
