//! Finding jobs among some whose ids are known: those that live, those that have a key. All
//! others are not walked through.

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tokio::time::Instant;

use super::{Find, Found, RECORDS};
use crate::desk::Desk;
use crate::desk::lists::passing_damaged;

impl Desk {
    /// Finds jobs among these.
    pub(super) async fn find_among(
        &self,
        by: &Client,
        find: &Find,
        mut jobs: Vec<JobId>,
        by_time: Instant,
        found: &mut Found,
    ) -> Result<(), Refusal> {
        // Ids are in the order of submissions, as in a walk.
        jobs.sort_unstable();
        if find.newest_first {
            jobs.reverse();
        }
        let start = find.filter.start(find.newest_first, find.after);
        let is_behind = |job: &JobId| match (start, find.newest_first) {
            (None, _) => true,
            (Some(start), true) => *job < start,
            (Some(start), false) => *job > start,
        };
        for job in jobs.into_iter().filter(is_behind) {
            // There is one more, so there is where to go on.
            if found.jobs.len() >= find.limit {
                return Ok(());
            }
            if found.examined >= RECORDS || Instant::now() >= by_time {
                found.complete = false;
                return Ok(());
            }
            if find.filter.is_beyond(find.newest_first, job.submitted()) {
                break;
            }
            found.examined += 1;
            found.through = Some(job.submitted());
            found.next = Some(job);
            if let Some(report) = passing_damaged(self.report(job).await)? {
                self.take(by, &find.filter, report, found).await?;
            }
        }
        found.next = None;
        Ok(())
    }
}
