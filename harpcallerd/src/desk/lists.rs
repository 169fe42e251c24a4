//! Lists of jobs, page by page: however many jobs there are, the first page comes at once
//! and the memory stays that of one page.

use std::collections::HashSet;
use std::sync::Arc;

use harp_jobs::client::Client;
use harp_jobs::ledger::Unreadable;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tracing::error;

use super::Desk;
use super::read::Report;

/// Jobs of the first page of a list, so that it comes at once, and of each further one.
const FIRST_PAGE: usize = 16;
const PAGE: usize = 256;

/// Which jobs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are queued or running.
    Live,
    /// Those that have ended, too.
    All,
}

/// A walk over the jobs: those that have ended, by id, then those that live, by sequence
/// number. Each job that lives when it begins is in it once, and if all are asked for,
/// each that had ended by then.
#[derive(Debug)]
pub struct Jobs {
    desk: Arc<Desk>,
    which: Which,
    /// Those that lived at the beginning and have not been listed.
    live: std::vec::IntoIter<JobId>,
    /// Of those, the ones that were not met among the ended.
    unlisted: HashSet<JobId>,
    /// Where the ended ones go on; `None` when all of them are done.
    ended: Option<Page>,
}

#[derive(Debug, Clone, Copy)]
struct Page {
    after: Option<JobId>,
    most: usize,
}

impl Desk {
    /// The jobs.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::Storage`].
    pub async fn jobs(self: &Arc<Self>, by: &Client, which: Which) -> Result<Jobs, Refusal> {
        self.administrators_only(by, "list")?;
        let live = self.dispatcher.ledger().live_jobs().await?;
        Ok(Jobs {
            desk: Arc::clone(self),
            which,
            unlisted: live.iter().copied().collect(),
            live: live.into_iter(),
            ended: (which == Which::All).then_some(Page {
                after: None,
                most: FIRST_PAGE,
            }),
        })
    }
}

impl Jobs {
    /// The next jobs, not empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<Report>>, Refusal> {
        if let Some(page) = self.ended_page().await? {
            return Ok(Some(page));
        }
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(id) = self.live.next()
        {
            if !self.unlisted.contains(&id) {
                continue;
            }
            let Some(report) = passing_damaged(self.desk.report(id).await)? else {
                continue;
            };
            if self.which == Which::All || report.ended.is_none() {
                page.push(report);
            }
        }
        Ok((!page.is_empty()).then_some(page))
    }

    async fn ended_page(&mut self) -> Result<Option<Vec<Report>>, Unreadable> {
        let Some(page) = self.ended else {
            return Ok(None);
        };
        let ledger = self.desk.dispatcher.ledger();
        let page = ledger.ended_page(page.after, page.most).await?;
        let Some(last) = page.last() else {
            self.ended = None;
            return Ok(None);
        };
        self.ended = Some(Page {
            after: Some(last.id),
            most: PAGE,
        });
        for job in &page {
            self.unlisted.remove(&job.id);
        }
        let reports = page.into_iter().map(Report::of);
        Ok(Some(reports.collect()))
    }
}

/// One damaged record keeps no others out of a list.
pub(super) fn passing_damaged<T>(
    read: Result<Option<T>, Unreadable>,
) -> Result<Option<T>, Refusal> {
    match read {
        Err(error @ Unreadable::Damaged(_)) => {
            error!(%error, "left out of a list");
            Ok(None)
        }
        read => read.map_err(Refusal::from),
    }
}
