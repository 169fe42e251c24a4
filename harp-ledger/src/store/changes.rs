//! Changes of jobs: each is handed to the one writer, and is on disk when its future is
//! done.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use harp_jobs::ledger::PaperEdit;
use harp_jobs::record::{CallRecord, EndRecord};
use harp_jobs::segment::Segment;
use harp_values::JobId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::StoreError;
use super::reply::{Reply, Told};
use super::round::{Adopted, AdoptedBytes, Change, Claim, Deed, Done, PlaceAfter};
use super::writer::{Write, WriterRequest};
use super::{Store, WRITE_BUDGET, codec};

/// Cost of a write beside its content, in bytes of the budget.
const WRITE_COST: usize = 256;

/// Result of recording an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The job has ended with this.
    Now,
    /// It had ended before, and nothing has changed: this is how.
    Before(EndRecord),
}

/// Packets on their way to the disk: a future of the number up to which all packets of
/// the job are there.
///
/// Dropping it does not call the packets back.
#[derive(Debug)]
pub struct Appending(pub(super) oneshot::Receiver<Result<Done, StoreError>>);

/// A job of another store on its way to the disk: a future of whether it is new here.
///
/// Dropping it does not call the job back.
#[derive(Debug)]
pub struct Adopting(oneshot::Receiver<Result<Done, StoreError>>);

impl Store {
    /// Records how the job ended, and whether its place in its queue is free, all in one
    /// step. A job that has ended before stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLive`] if there is no such job, [`StoreError::Refused`] if it
    /// counts packets that are not on disk. After [`StoreError::UnknownOutcome`] the job must not be shown as ended.
    pub(crate) async fn end(
        &self,
        id: JobId,
        end: &EndRecord,
        place: PlaceAfter,
    ) -> Result<Finished, StoreError> {
        let packets = end.packets;
        let end = codec::encode_end(end).map_err(refused(id))?;
        let size = end.len();
        let change = Change::Finish {
            end,
            packets,
            place,
        };
        let done = self.write(id, size, change).await?;
        if done != Done::Already {
            return Ok(Finished::Now);
        }
        match self.outcome(id).await? {
            Some(end) => Ok(Finished::Before(end)),
            None => Err(StoreError::NotLive(id)),
        }
    }

    /// Adds packets of a job that comes from another store and is to be adopted next.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub(crate) async fn adopt_packets(
        &self,
        id: JobId,
        segments: Vec<Segment>,
    ) -> Result<Appending, StoreError> {
        let size = segments.iter().map(Segment::len_bytes).sum();
        let change = Change::AdoptPackets { segments };
        Ok(Appending(self.hand_over(id, size, change).await?))
    }

    /// Records a job of another store as it stands there, all in one step. A job that
    /// exists stays as it is. The packets that it counts have been added before.
    ///
    /// Waits until there is room in memory; what is returned then waits until the job is
    /// on disk.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub(crate) async fn adopt(
        &self,
        id: JobId,
        call: &CallRecord,
        state: &Adopted,
    ) -> Result<Adopting, StoreError> {
        let claim = Claim::of(call, None);
        let call = codec::encode_call(call).map_err(refused(id))?;
        let state = AdoptedBytes::encode(state).map_err(refused(id))?;
        let size = call.len() + state.len();
        let change = Change::Adopt { call, claim, state };
        Ok(Adopting(self.hand_over(id, size, change).await?))
    }

    /// Writes a paper, if the one that is to be replaced is there.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub(crate) async fn edit_paper(&self, edit: PaperEdit) -> Result<(), StoreError> {
        let size = edit.text.as_ref().map_or(0, Bytes::len);
        let change = Change::Deed(Deed::Paper(edit));
        self.write(JobId::NONE, size, change).await?;
        Ok(())
    }

    /// Holds no job any more, all in one step but for a crash: then some may be held on.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub async fn release_held(&self) -> Result<(), StoreError> {
        self.write(JobId::NONE, 0, Change::ReleaseHeld).await?;
        Ok(())
    }

    pub(super) async fn write(
        &self,
        id: JobId,
        size: usize,
        change: Change,
    ) -> Result<Done, StoreError> {
        answered(self.hand_over(id, size, change).await?.await)
    }

    /// Gives a change to the writer, once there is room for it.
    pub(super) async fn hand_over(
        &self,
        id: JobId,
        size: usize,
        change: Change,
    ) -> Result<oneshot::Receiver<Result<Done, StoreError>>, StoreError> {
        let size = size + WRITE_COST;
        let permit = self.budget.clone().acquire_many_owned(cost(size)).await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        self.send(id, size, change, permit)
    }

    fn send(
        &self,
        id: JobId,
        size: usize,
        change: Change,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Done, StoreError>>, StoreError> {
        self.shared.check_writable()?;
        let (answer, receiver) = oneshot::channel();
        let write = Write {
            id,
            change,
            size,
            told: Told::Caller { answer, permit },
            _pending: self.shared.pulse.pending(size),
        };
        self.requests
            .send(WriterRequest::Write(write))
            .map_err(|_| StoreError::Closed)?;
        Ok(receiver)
    }

    /// Gives a change to the writer that is made as soon as it can be, behind those that were
    /// given to it before. Waits for nothing. After the end of the store `reply` is dropped.
    pub(crate) fn push(&self, id: JobId, size: usize, change: Change, reply: Box<dyn Reply>) {
        let write = Write {
            id,
            change,
            size: size + WRITE_COST,
            told: Told::Patient(reply),
            _pending: self.shared.pulse.pending(size + WRITE_COST),
        };
        // It goes without a word, which says what there is to say.
        let _ = self.requests.send(WriterRequest::Write(write));
    }
}

impl Future for Appending {
    type Output = Result<u64, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answered(answer).map(|done| match done {
                Done::PacketsUpTo(number) => number,
                // Not the answer to an append.
                _ => 0,
            })
        })
    }
}

impl Future for Adopting {
    type Output = Result<bool, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answered(answer).map(|done| done == Done::Recorded))
    }
}

/// Part of the budget that a write of this size takes. The greatest packets and results still
/// fit into it, one at a time.
fn cost(size: usize) -> u32 {
    u32::try_from(size.min(WRITE_BUDGET)).unwrap_or(u32::MAX)
}

fn answered(
    answer: Result<Result<Done, StoreError>, oneshot::error::RecvError>,
) -> Result<Done, StoreError> {
    let unanswered = "its writer ended before the answer";
    answer.unwrap_or_else(|_| Err(StoreError::UnknownOutcome(unanswered.into())))
}

pub(super) fn refused(id: JobId) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |error| StoreError::Refused {
        id,
        why: error.to_string(),
    }
}
