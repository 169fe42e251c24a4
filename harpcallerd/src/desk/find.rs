//! Finding jobs by what they are: newest first or oldest first, a bounded piece at a time.

mod among;
mod filter;
mod keyed;
mod path;
mod walk;
mod words;

use std::time::Duration;

use harp_jobs::access::{Operation, Verdict};
use harp_jobs::changes::What;
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tokio::time::Instant;

pub use self::filter::{Filter, InQueue, Kind, Name};
pub use self::path::Path;
pub use self::words::Words;
use super::Desk;
use super::lists::passing_damaged;
use super::permission::identified;
use super::read::Report;
use super::view::View;

/// Records that one request looks at.
const RECORDS: u64 = 20_000;

/// How long one request looks.
const TIME: Duration = Duration::from_millis(200);

/// Which jobs are wanted, and from where on.
#[derive(Debug, Clone)]
pub struct Find {
    /// What has to hold of them.
    pub filter: Filter,
    /// The newest ones first.
    pub newest_first: bool,
    /// They stand behind this one in that order.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// Jobs that were found.
#[derive(Debug)]
pub struct Found {
    /// The jobs, in the order that was asked for.
    pub jobs: Vec<View>,
    /// Where to go on; `None` if all jobs have been looked at.
    pub next: Option<JobId>,
    /// False if there may be more than these before the limit, and the request has looked at
    /// as many as it may.
    pub complete: bool,
    /// When the last job was submitted that has been looked at, in milliseconds since 1970.
    pub through: Option<u64>,
    /// How many have been looked at.
    pub examined: u64,
}

impl Found {
    fn none() -> Found {
        Found {
            jobs: Vec::new(),
            next: None,
            complete: true,
            through: None,
            examined: 0,
        }
    }
}

impl Desk {
    /// Finds jobs that the client may read. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Storage`].
    pub async fn find(&self, by: &Client, find: &Find) -> Result<Found, Refusal> {
        identified(by).await?;
        let mut found = Found::none();
        let may_read = by.is_administrator()
            || self.access.borrow().judge(by, Operation::Read) != Verdict::Forbidden;
        if !may_read {
            return Ok(found);
        }
        // An id that is looked for is found at once.
        if let Some(job) = find.filter.only_job() {
            if find.after.is_none()
                && let Some(report) = passing_damaged(self.report(job).await)?
            {
                self.take(by, &find.filter, report, &mut found).await?;
            }
            return Ok(found);
        }
        let by_time = Instant::now() + TIME;
        if find.filter.wants_live_only() {
            let jobs = self.dispatcher.ledger().live_jobs().await?;
            self.find_among(by, find, jobs, by_time, &mut found).await?;
        } else if !find.filter.keys.is_empty() {
            self.find_keyed(by, find, by_time, &mut found).await?;
        } else {
            let start = find.filter.start(find.newest_first, find.after);
            let walked = self.walk(by, find, start, None, by_time, &mut found);
            walked.await?;
        }
        Ok(found)
    }

    /// A job that has changed, as it stands; `None` if it is not wanted, may not be read, or is
    /// gone. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`].
    pub async fn changed_job(
        &self,
        by: &Client,
        job: JobId,
        what: What,
        filter: &Filter,
    ) -> Result<Option<View>, Refusal> {
        if what == What::Ended {
            // It is told when it is on disk. Whoever runs the job takes note of it a moment
            // later, and until then the job is shown as one that runs. What keeps it from
            // that is found below, too.
            drop(self.dispatcher.jobs().wait(job).await);
        }
        let Some(report) = passing_damaged(self.report(job).await)? else {
            return Ok(None);
        };
        let mut found = Found::none();
        self.take(by, filter, report, &mut found).await?;
        Ok(found.jobs.pop())
    }

    /// Takes a job that matches, and that the client may read.
    async fn take(
        &self,
        by: &Client,
        filter: &Filter,
        report: Report,
        found: &mut Found,
    ) -> Result<(), Refusal> {
        let is_visible = |call| {
            by.is_administrator() || self.access.borrow().allow_job(by, Operation::Read, call)
        };
        if !filter.may_match(&report) || !is_visible(&report.call) {
            return Ok(());
        }
        let Some(view) = passing_damaged(self.view_of(report).await)? else {
            return Ok(());
        };
        if filter.matches(&view) {
            found.jobs.push(view);
        }
        Ok(())
    }
}
