//! What a start does with the jobs that had not ended.
//!
//! One function decides, [`decide`]; the rest carries it out. One day a host may keep a
//! call whose dispatcher died, for it to be attached to again: that is a third answer of
//! `decide`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use harp_proto::{JobId, Outcome, error_type};
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
    /// It waited in a store of which this one is a copy, and waits for the operator.
    Hold,
    /// It ran, or is not wanted any more: it ends with `missing_result`.
    End,
}

pub(crate) fn decide(job: &LiveRecord, is_held: bool, resume_queued: bool) -> Decision {
    if !job.waits_again(resume_queued) {
        Decision::End
    } else if is_held {
        Decision::Hold
    } else {
        Decision::Resume
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

/// How long places of jobs are kept whose hosts may still be busy.
#[derive(Debug, Clone, Copy)]
pub struct Graces {
    /// From the start on, for a host that knows that its connection is gone.
    pub slot: Duration,
    /// From the job's end on, for one whose connection broke.
    pub broken: Duration,
    /// If the hosts cannot know yet that this machine was started anew: until when.
    pub unaware_until: Option<Instant>,
}

/// Ends what ran when the dispatcher died, keeps the places of all jobs whose hosts may
/// still be busy, and lets the rest wait again in its old order; those that are held wait for
/// the operator.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read, or an end not recorded; the daemon must
/// then not open for clients.
pub async fn recover(
    dispatcher: &Arc<Dispatcher>,
    unfinished: Vec<(JobId, LiveRecord)>,
    resume_queued: bool,
    graces: Graces,
) -> Result<(), StoreError> {
    let marked: HashSet<_> = dispatcher.store().held().await?.into_iter().collect();
    let (mut resumed, mut held, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for (id, job) in unfinished {
        let jobs = match decide(&job, marked.contains(&id), resume_queued) {
            Decision::Resume => &mut resumed,
            Decision::Hold => &mut held,
            Decision::End => &mut ended,
        };
        jobs.push((id, job));
    }
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
    for (id, job) in dispatcher.store().kept_places().await? {
        if let Some(queue) = job.queue {
            let end = dispatcher.store().outcome(id).await?;
            let until = graces.until(Instant::now(), end.as_ref(), clock::now());
            dispatcher.hold_place(id, queue, job.sequence, until);
        }
    }
    if !resumed.is_empty() {
        info!(jobs = resumed.len(), "jobs wait in their queues again");
    }
    for (id, job) in resumed {
        dispatcher.resume(id, job);
    }
    if !held.is_empty() {
        warn!(
            jobs = held.len(),
            "jobs are held until \"harpcallerd resume\" or a cancel: they came with a copy of a \
             store, whose dispatcher may have run them"
        );
    }
    for (id, job) in held {
        dispatcher.ledger().hold(id, job);
    }
    Ok(())
}

impl Graces {
    /// Until when a job's place is kept. `wall` is the time in milliseconds since 1970.
    fn until(&self, now: Instant, end: Option<&EndRecord>, wall: u64) -> Instant {
        let broken = match end {
            Some(EndRecord {
                ended,
                outcome: Outcome::Error(failure),
                ..
            }) if failure.error_type == error_type::NETWORK_ERROR => {
                let since = Duration::from_millis(wall.saturating_sub(*ended));
                now + self.broken.saturating_sub(since)
            }
            _ => now,
        };
        let slot = now + self.slot;
        self.unaware_until
            .map_or(slot, |until| until.max(slot))
            .max(broken)
    }
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
    fn a_place_is_kept_for_as_long_as_its_host_may_not_know() {
        let seconds = Duration::from_secs;
        let now = Instant::now();
        let ended = |outcome| EndRecord {
            started: Some(1),
            ended: 100_000,
            packets: 0,
            outcome,
        };
        let broken = ended(Outcome::Error(harp_proto::Failure::new(
            "network_error",
            "cut",
        )));
        let missing = ended(Outcome::Error(missing_result()));
        let graces = |unaware_until| Graces {
            slot: seconds(10),
            broken: seconds(66),
            unaware_until,
        };
        for (graces, end, wall, kept) in [
            (graces(None), Some(&missing), 100_000, 10),
            (graces(Some(now + seconds(60))), Some(&missing), 100_000, 60),
            (graces(Some(now + seconds(3))), Some(&missing), 100_000, 10),
            (graces(None), Some(&broken), 100_000, 66),
            (graces(None), Some(&broken), 140_000, 26),
            (graces(None), Some(&broken), 500_000, 10),
            // A clock that was set back is no reason to wait for longer.
            (graces(None), Some(&broken), 0, 66),
            (graces(None), None, 0, 10),
        ] {
            assert_eq!(graces.until(now, end, wall), now + seconds(kept));
        }
    }

    #[test]
    fn what_waited_waits_again_and_what_ran_ends() {
        let job = |started| LiveRecord {
            started,
            ..LiveRecord::UNKNOWN
        };
        assert_eq!(decide(&job(None), false, true), Decision::Resume);
        assert_eq!(decide(&job(None), true, true), Decision::Hold);
        assert_eq!(decide(&job(None), false, false), Decision::End);
        assert_eq!(decide(&job(None), true, false), Decision::End);
        for (is_held, resume_queued) in [(false, false), (false, true), (true, true)] {
            let decision = decide(&job(Some(6)), is_held, resume_queued);
            assert_eq!(decision, Decision::End);
        }
    }
}
