//! What a start does with the jobs that had not ended.
//!
//! One function decides, [`decide`]; the rest carries it out. One day a host may keep a
//! call whose dispatcher died, for it to be attached to again: that is a third answer of
//! `decide`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use harp_proto::{JobId, Outcome};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::clock;
use crate::dispatcher::Dispatcher;
use crate::job::{missing_result, storage_failure};
use crate::record::{EndRecord, LiveRecord};
use crate::store::{Place, Store, StoreError};

/// What becomes of a job that had not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It waited, and waits again, at its old place.
    Resume,
    /// It ran, or is not wanted any more: it ends with `missing_result`.
    End,
}

pub(crate) fn decide(job: &LiveRecord, resume_queued: bool) -> Decision {
    if job.waits_again(resume_queued) {
        Decision::Resume
    } else {
        Decision::End
    }
}

/// The greatest sequence number that is taken, 0 if none is.
#[must_use]
pub fn last_sequence(unfinished: &[(JobId, LiveRecord)]) -> u64 {
    unfinished
        .iter()
        .map(|(_, job)| job.sequence)
        .max()
        .unwrap_or_default()
}

/// Ends what ran when the dispatcher died, keeps the places of all jobs whose hosts may
/// still be busy for `slot_grace`, and lets the rest wait again in its old order.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read, or an end not recorded; the daemon must
/// then not open for clients.
pub async fn recover(
    dispatcher: &Arc<Dispatcher>,
    unfinished: Vec<(JobId, LiveRecord)>,
    resume_queued: bool,
    slot_grace: Duration,
) -> Result<(), StoreError> {
    let (resumed, ended): (Vec<_>, Vec<_>) = unfinished
        .into_iter()
        .partition(|(_, job)| decide(job, resume_queued) == Decision::Resume);
    let ends = ended
        .iter()
        .map(|(id, job)| end(dispatcher.store(), *id, job));
    for ended in join_all(ends).await {
        ended?;
    }
    if !ended.is_empty() {
        warn!(
            jobs = ended.len(),
            "jobs that had not ended are ended with missing_result"
        );
    }
    for id in dispatcher.store().damaged_live().await? {
        end_damaged(dispatcher.store(), id).await?;
    }
    // Those of just now, and those of jobs that had ended before a crash.
    let until = Instant::now() + slot_grace;
    for (id, job) in dispatcher.store().kept_places().await? {
        if let Some(queue) = job.queue {
            dispatcher.hold_place(id, queue, until);
        }
    }
    if !resumed.is_empty() {
        info!(jobs = resumed.len(), "jobs wait in their queues again");
    }
    for (id, job) in resumed {
        dispatcher.resume(id, job);
    }
    Ok(())
}

async fn end(store: &Store, id: JobId, job: &LiveRecord) -> Result<(), StoreError> {
    let record = EndRecord {
        started: job.started,
        ended: clock::now().max(job.started.unwrap_or(job.submitted)),
        packets: packets(store, id).await?,
        outcome: Outcome::Error(missing_result()),
    };
    let place = match job.started {
        Some(_) => Place::Kept,
        None => Place::Free,
    };
    store.finish(id, &record, place).await.map(drop)
}

/// Ends a job of which it cannot be read any more whether it waited or ran.
async fn end_damaged(store: &Store, id: JobId) -> Result<(), StoreError> {
    let why = "the record of where the job stood is damaged";
    error!(job = %id, "{why}; the job is ended with storage_error");
    let record = EndRecord {
        started: None,
        ended: clock::now(),
        packets: packets(store, id).await?,
        outcome: Outcome::Error(storage_failure(&why)),
    };
    store.finish(id, &record, Place::Free).await.map(drop)
}

/// How many packets a job has; of damaged ones those that can be read.
async fn packets(store: &Store, id: JobId) -> Result<u64, StoreError> {
    match store.packet_count(id).await {
        Err(error @ StoreError::Corrupt { .. }) => {
            error!("{error}");
            store.readable_packets(id).await
        }
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_waits_again_and_what_ran_ends() {
        let job = |started| LiveRecord {
            sequence: 1,
            queue: None,
            submitted: 5,
            started,
            start_by: None,
        };
        assert_eq!(decide(&job(None), true), Decision::Resume);
        assert_eq!(decide(&job(None), false), Decision::End);
        assert_eq!(decide(&job(Some(6)), true), Decision::End);
        assert_eq!(decide(&job(Some(6)), false), Decision::End);
    }
}
