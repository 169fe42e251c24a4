//! Looking at a job once: nothing is waited for. A job is shown as ended everywhere at the
//! same moment: when whoever runs it has shown its end.

use std::sync::Arc;

use harp_values::JobId;

use super::Jobs;
use crate::ledger::{Unreadable, Whereabouts};
use crate::live::JobView;
use crate::record::{EndRecord, JobRecord, Stage};

/// Whether and how a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// There is no such job.
    Nothing,
    /// It waits or runs.
    NotYet,
    /// It has ended.
    Yes(Arc<EndRecord>),
}

impl Jobs {
    /// A job without its outcome and packets; `None` if there is none. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub async fn job(&self, job: JobId) -> Result<Option<Box<JobRecord>>, Unreadable> {
        let mut record = self.ledger.job(job).await?;
        if let Some(record) = &mut record {
            self.show(record);
        }
        Ok(record)
    }

    /// Makes a record that has just been read what is shown of it: a job that runs here has
    /// not ended before its end is shown.
    pub fn show(&self, record: &mut JobRecord) {
        if let Stage::Ended {
            started: Some(started),
            ..
        } = record.stage
            && let Some(run) = self.run_of(record.id)
            && run.watch().borrow().end.is_none()
        {
            record.stage = Stage::Running { started };
        }
    }

    /// How a job has ended by now. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub async fn end(&self, job: JobId) -> Result<Ended, Unreadable> {
        if let Some(run) = self.run_of(job) {
            let end = run.watch().borrow().end.clone();
            return Ok(end.map_or(Ended::NotYet, Ended::Yes));
        }
        self.ledger_end(job).await
    }

    /// How a job has ended, as the ledger has it. Most that are asked for have: one question
    /// then.
    pub(super) async fn ledger_end(&self, job: JobId) -> Result<Ended, Unreadable> {
        loop {
            if let Some(end) = self.ledger.end(job).await? {
                return Ok(Ended::Yes(end));
            }
            let places = self.ledger.whereabouts(&[job]).await?;
            match places.first() {
                None | Some(Whereabouts::Nothing) => return Ok(Ended::Nothing),
                // It has ended in between.
                Some(Whereabouts::Ended) => {}
                Some(Whereabouts::Waits | Whereabouts::Here | Whereabouts::There(_)) => {
                    return Ok(Ended::NotYet);
                }
            }
        }
    }

    /// Since when the host of a job that runs here cannot be reached, in milliseconds since
    /// 1970; `None` if it can, or nobody knows.
    #[must_use]
    pub fn unreachable_since(&self, job: JobId) -> Option<u64> {
        let progress = self.run_of(job)?.watch().borrow().clone();
        progress
            .unreachable_since
            .filter(|_| progress.end.is_none())
    }

    /// A view of a job that is run here, up to the moment when its end is shown and beyond.
    fn run_of(&self, job: JobId) -> Option<JobView> {
        self.handles.known(job).filter(JobView::is_run)
    }
}
