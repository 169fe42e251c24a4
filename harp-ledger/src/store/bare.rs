//! Writing jobs without a ledger: for benchmarks, examples and tests. The dispatcher has no
//! such verbs, since nobody but its ledger decides about jobs; they are built with the feature
//! `bare`, which no program that is installed asks for.

use bytes::Bytes;
use harp_jobs::ledger::{Keep, Pruned};
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord};
use harp_jobs::segment::Segment;
use harp_values::JobId;

use super::changes::{Appending, Finished, refused};
use super::error::StoreError;
use super::round::{Candidates, Change, Claim, Done, PlaceAfter};
use super::{Store, codec};

/// Result of a [`Store::submit_once`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// The job is recorded.
    Now,
    /// It is not: this one has its key.
    Before(JobId),
    /// It is not: its key stands for a call to another host, of another procedure or
    /// with other arguments.
    KeyTaken,
}

impl Store {
    /// Records a job that has been submitted and, if `live` says so, started in the same
    /// step. A job that exists stays as it is.
    ///
    /// Dropping the future may leave the job recorded or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownOutcome`]: the job may exist. Any other: it certainly does
    /// not.
    pub async fn submit(
        &self,
        id: JobId,
        call: &CallRecord,
        live: &LiveRecord,
    ) -> Result<(), StoreError> {
        self.record(id, call, live, None).await?;
        Ok(())
    }

    /// Records a job like [`Store::submit`], unless there is one under the same key of
    /// the same client already: with `unless_since`, one submitted less than this many
    /// seconds before that still lives or has returned a result. What decides is the
    /// order of the writes, and the other job is on disk when this returns. A call
    /// without a key is recorded in any case.
    ///
    /// # Errors
    ///
    /// As for [`Store::submit`].
    pub async fn submit_once(
        &self,
        id: JobId,
        call: &CallRecord,
        live: &LiveRecord,
        unless_since: Option<u64>,
    ) -> Result<Submitted, StoreError> {
        let claim = Claim::of(call, unless_since);
        Ok(match self.record(id, call, live, claim).await? {
            Done::Existing(job) => Submitted::Before(job),
            Done::KeyTaken => Submitted::KeyTaken,
            _ => Submitted::Now,
        })
    }

    async fn record(
        &self,
        id: JobId,
        call: &CallRecord,
        live: &LiveRecord,
        claim: Option<Claim>,
    ) -> Result<Done, StoreError> {
        let call = Bytes::from(codec::encode_call(call).map_err(refused(id))?);
        let live = live.clone();
        let size = call.len();
        self.write(id, size, Change::Submit { call, live, claim })
            .await
    }

    /// Records that the job's execution starts, in milliseconds since 1970. If it has started
    /// before, the first time stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLive`] if the job has ended or does not exist.
    #[cfg(test)]
    pub(crate) async fn start(&self, id: JobId, started: u64) -> Result<(), StoreError> {
        self.write(id, 0, Change::Start { at: started }).await?;
        Ok(())
    }

    /// Adds packets to a live job. Waits until there is room for them in memory; what is
    /// returned then waits until they are on disk. Packets that the job has already are
    /// passed over.
    ///
    /// Several appends of a job are made in the order of their first step. A segment is
    /// best not much longer than [`SEGMENT_SIZE`](harp_jobs::segment::SEGMENT_SIZE).
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if the packets do not follow those that the job has,
    /// [`StoreError::NotLive`] if it has ended or does not exist: from the second step.
    pub async fn append(&self, id: JobId, segments: Vec<Segment>) -> Result<Appending, StoreError> {
        let size = segments.iter().map(Segment::len_bytes).sum();
        let answer = self
            .hand_over(id, size, Change::Append { segments })
            .await?;
        Ok(Appending(answer))
    }

    /// Records how the job ended, and whether its place in its queue is free, all in one step.
    /// A job that has ended before stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLive`] if there is no such job, [`StoreError::Refused`] if it counts
    /// packets that are not on disk. After [`StoreError::UnknownOutcome`] the job must not be
    /// shown as ended.
    pub async fn finish(
        &self,
        id: JobId,
        end: &EndRecord,
        place: PlaceAfter,
    ) -> Result<Finished, StoreError> {
        self.end(id, end, place).await
    }

    /// Frees the place in its queue that an ended job has kept.
    ///
    /// # Errors
    ///
    /// As for all writes.
    #[cfg(test)]
    pub(crate) async fn release_place(&self, id: JobId) -> Result<(), StoreError> {
        self.write(id, 0, Change::ReleasePlace).await?;
        Ok(())
    }

    /// Removes ended jobs that are not to be kept, with all that belongs to them, and
    /// reuses their space: a bounded piece, so that other writes go on in between. To be
    /// called again as long as there is more. What cannot be read is logged once and
    /// passed over, until the store is opened again.
    ///
    /// The store's files do not become smaller by it: what becomes free in them is used
    /// for new jobs. An export into a new store gives the space back.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub async fn prune(&self, keep: Keep) -> Result<Pruned, StoreError> {
        let Candidates {
            jobs,
            is_withheld: withheld,
        } = self.candidates(keep).await?;
        let nothing = Pruned {
            withheld,
            ..Pruned::default()
        };
        let Some(oldest) = jobs.first().map(|job| job.id) else {
            return Ok(nothing);
        };
        match self.write(oldest, 0, Change::Prune { jobs, keep }).await? {
            Done::Pruned(pruned, _) => Ok(Pruned { withheld, ..pruned }),
            // Not the answer to this.
            _ => Ok(nothing),
        }
    }
}
