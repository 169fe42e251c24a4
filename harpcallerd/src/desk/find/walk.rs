//! Finding jobs by a walk through all of them, in their order.

use harp_jobs::client::Client;
use harp_jobs::ledger::{Cursor, Direction, Ledger as _};
use harp_jobs::record::JobRecord;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tokio::time::Instant;

use super::{Find, Found, RECORDS};
use crate::desk::Desk;

/// Records that are read at once: few at first, so that a first page comes at once.
const FIRST: usize = 64;
const MORE: usize = 512;

/// As many as are missing, as long as every one that was looked at is wanted.
fn next_page(found: &Found, limit: usize) -> usize {
    if found.jobs.len() as u64 == found.examined {
        limit.saturating_sub(found.jobs.len()).clamp(1, MORE)
    } else {
        MORE
    }
}

impl Desk {
    /// Finds jobs behind `after` and before `until`.
    pub(super) async fn walk(
        &self,
        by: &Client,
        find: &Find,
        mut after: Option<JobId>,
        until: Option<JobId>,
        by_time: Instant,
        found: &mut Found,
    ) -> Result<(), Refusal> {
        let towards = if find.newest_first {
            Direction::Older
        } else {
            Direction::Newer
        };
        let mut at_once = FIRST.min(find.limit.max(1));
        loop {
            let from = after.map_or(Cursor::Edge, Cursor::Behind);
            let page = self.dispatcher.ledger().walk(from, towards, at_once).await;
            let page: Vec<JobRecord> = page?;
            if page.is_empty() {
                found.next = None;
                return Ok(());
            }
            for record in page {
                let (id, submitted) = (record.id, record.call.submitted);
                after = Some(id);
                let is_over = until.is_some_and(|until| id >= until);
                if is_over || find.filter.is_beyond(find.newest_first, submitted) {
                    found.next = None;
                    return Ok(());
                }
                found.examined += 1;
                found.through = Some(submitted);
                found.next = Some(id);
                let report = self.report_of(record);
                self.take(by, &find.filter, report, found).await?;
                if found.jobs.len() >= find.limit {
                    return Ok(());
                }
                if found.examined >= RECORDS || Instant::now() >= by_time {
                    found.complete = false;
                    return Ok(());
                }
            }
            at_once = next_page(found, find.limit);
        }
    }
}
