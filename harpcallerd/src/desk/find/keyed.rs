//! Finding jobs by their keys. The ledger knows which those are, but for jobs of a release that
//! did not note it: these are walked through, as long as there are any.

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tokio::time::Instant;

use super::{Find, Found};
use crate::desk::Desk;

impl Desk {
    /// Finds jobs that have one of the keys of the filter.
    pub(super) async fn find_keyed(
        &self,
        by: &Client,
        find: &Find,
        by_time: Instant,
        found: &mut Found,
    ) -> Result<(), Refusal> {
        let (mut jobs, mut all_behind) = (Vec::new(), JobId::NONE);
        for key in &find.filter.keys {
            let keyed = self.dispatcher.ledger().keyed(key).await?;
            all_behind = all_behind.max(keyed.all_behind);
            jobs.extend(keyed.jobs);
        }
        jobs.retain(|job| *job > all_behind);
        let above = next_id(all_behind);
        if find.newest_first {
            self.find_among(by, find, jobs, by_time, found).await?;
            if found.next.is_some() || all_behind == JobId::NONE {
                return Ok(());
            }
            if found.jobs.len() >= find.limit {
                found.next = Some(above);
                return Ok(());
            }
            let start = find.filter.start(true, find.after);
            let start = start.map_or(above, |start| start.min(above));
            self.walk(by, find, Some(start), None, by_time, found).await
        } else {
            let start = find.filter.start(false, find.after);
            if start.is_none_or(|start| start < all_behind) {
                let walked = self.walk(by, find, start, Some(above), by_time, found);
                walked.await?;
                if found.next.is_some() {
                    return Ok(());
                }
            }
            self.find_among(by, find, jobs, by_time, found).await
        }
    }
}

/// The id behind this one.
fn next_id(job: JobId) -> JobId {
    let number = u128::from_be_bytes(*job.as_bytes()).saturating_add(1);
    JobId::from_bytes(number.to_be_bytes())
}
