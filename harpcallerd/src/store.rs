//! The job store: the one place that knows how jobs are kept.
//!
//! Writes are durable when they return: they survive `kill -9` and a power cut. One
//! thread makes them, many at a time, and syncs once for all of them. Reads show only
//! what is durable. All writes are idempotent by job id or packet number, so a write
//! whose outcome is unknown can be made again.
//!
//! A job's life here: [`Store::submit`], [`Store::start`], [`Store::append`],
//! [`Store::finish`]. A job that has not been finished is live.
//!
//! What is behind it: `writer` is the thread that writes, `read` what is read, `unsynced`
//! keeps reads from showing too much, `keys` sees to it that a key has one job, `prune`
//! removes what is too old or too much, `layout` and `codec` say what the bytes mean,
//! `sled` is the engine with its guards, `directory` the directory and its lock.

mod adopt;
mod check;
pub mod codec;
mod contents;
mod directory;
mod error;
mod keys;
pub mod layout;
mod open;
mod outage;
mod passed_over;
mod presence;
mod prune;
mod read;
mod round;
mod shared;
mod sled;
#[cfg(test)]
mod tests;
mod unsynced;
mod writer;

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use harp_proto::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio::time::timeout;

pub use self::adopt::Adopted;
use self::adopt::AdoptedBytes;
pub use self::check::{Checked, Problem};
pub use self::contents::Contents;
pub use self::error::{OpenError, StoreError};
use self::keys::Claim;
use self::layout::Table;
pub use self::prune::{Keep, Pruned};
use self::read::Long;
pub use self::round::Place;
use self::round::{Change, Done};
use self::shared::{READERS_WAIT, Shared};
use self::sled::Engine;
use self::writer::{Request, Write};
use crate::record::{CallRecord, EndRecord, JobRecord, LiveRecord};
use crate::segment::Segment;
pub use harp_jobs::varint;

/// How many bytes of writes wait in memory at most. A writer beyond that waits before
/// its write is taken in.
const WRITE_BUDGET: usize = 64 * 1024 * 1024;

/// What a write costs of the budget beside its content.
const WRITE_COST: usize = 256;

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Memory of the engine's cache, in bytes.
    pub cache_size: u64,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            cache_size: 64 * 1024 * 1024,
        }
    }
}

/// A job store. Clones are the same store.
///
/// Dropping the last clone lets the store close by itself a moment later;
/// [`Store::close`] waits for it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    budget: Arc<Semaphore>,
}

/// What became of a [`Store::submit_once`].
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

/// What became of a [`Store::finish`].
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
pub struct Appending(oneshot::Receiver<Result<Done, StoreError>>);

/// A job of another store on its way to the disk: a future of whether it is new here.
///
/// Dropping it does not call the job back.
#[derive(Debug)]
pub struct Adopting(oneshot::Receiver<Result<Done, StoreError>>);

impl Store {
    /// Opens the store in a directory, or makes one. Blocks, for a fraction of a second
    /// as a rule.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what to do. A store that is damaged is never taken for an
    /// empty one.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Store, OpenError> {
        open::open(directory, options)
    }

    /// Reads all of a store that nobody has open, tells `report` what is wrong with it,
    /// and repairs what can be repaired if `repair` says so. Blocks, for as long as
    /// reading everything takes.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot even be opened.
    pub fn check(
        directory: &Path,
        options: StoreOptions,
        repair: bool,
        report: &mut dyn FnMut(Problem),
    ) -> Result<Checked, OpenError> {
        check::check(directory, options, repair, report)
    }

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
        let call = codec::encode_call(call).map_err(refused(id))?;
        let live = live.clone();
        let size = call.len();
        self.write(id, size, Change::Submit { call, live, claim })
            .await
    }

    /// Records that the job's execution starts, in milliseconds since 1970. If it has
    /// started before, the first time stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLive`] if the job has ended or does not exist.
    pub async fn start(&self, id: JobId, started: u64) -> Result<(), StoreError> {
        self.write(id, 0, Change::Start { at: started }).await?;
        Ok(())
    }

    /// Adds packets to a live job. Waits until there is room for them in memory; what is
    /// returned then waits until they are on disk. Packets that the job has already are
    /// passed over.
    ///
    /// Several appends of a job are made in the order of their first step. A segment is
    /// best not much longer than [`SEGMENT_SIZE`](crate::segment::SEGMENT_SIZE).
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

    /// The same without waiting: `None`, and nothing is done, if there is no room for the
    /// packets in memory at present. One that waits for room is served before this.
    ///
    /// # Errors
    ///
    /// As for [`Store::append`].
    pub fn try_append(
        &self,
        id: JobId,
        segments: Vec<Segment>,
    ) -> Result<Option<Appending>, StoreError> {
        let size = segments.iter().map(Segment::len_bytes).sum::<usize>() + WRITE_COST;
        let permit = match self.budget.clone().try_acquire_many_owned(cost(size)) {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Ok(None),
            Err(TryAcquireError::Closed) => return Err(StoreError::Closed),
        };
        let answer = self.send(id, size, Change::Append { segments }, permit)?;
        Ok(Some(Appending(answer)))
    }

    /// Records how the job ended, and whether its place in its queue is free, all in one
    /// step. A job that has ended before stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLive`] if there is no such job, [`StoreError::Refused`] if it
    /// counts packets that are not on disk. After [`StoreError::UnknownOutcome`] the job must not be shown as ended.
    pub async fn finish(
        &self,
        id: JobId,
        end: &EndRecord,
        place: Place,
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
    pub async fn adopt_packets(
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
    pub async fn adopt(
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

    /// Frees the place in its queue that an ended job has kept.
    ///
    /// # Errors
    ///
    /// As for all writes.
    pub async fn release_place(&self, id: JobId) -> Result<(), StoreError> {
        self.write(id, 0, Change::ReleasePlace).await?;
        Ok(())
    }

    /// A job without its outcome and packets; `None` if there is no such job.
    ///
    /// # Errors
    ///
    /// As for all reads: [`StoreError::Unreadable`] or [`StoreError::Corrupt`] if what is
    /// there is damaged, [`StoreError::UnreadableNow`] if the store cannot be written and
    /// what it has can therefore not be read. That is told when it has lasted for a few
    /// seconds.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.read(|| self.read_job(id)).await
    }

    async fn read_job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        let (stage, call) = {
            let engine = self.shared.engine()?;
            let Some(stage) = read::stage(&engine, id)? else {
                return Ok(None);
            };
            let Some(call) = Long::read(&engine, Table::Calls, id)? else {
                return Ok(None);
            };
            (stage, call)
        };
        self.settled(id).await?;
        let job = if call.is_whole() {
            read::job(&*self.shared.engine()?, id, stage, call)
        } else {
            self.blocking(move |engine| read::job(engine, id, stage, call))
                .await
        };
        self.unless_pruned(id, job.map(Some))
    }

    /// How a job ended; `None` if it has not, or there is no such job.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn outcome(&self, id: JobId) -> Result<Option<EndRecord>, StoreError> {
        self.read(|| self.read_outcome(id)).await
    }

    async fn read_outcome(&self, id: JobId) -> Result<Option<EndRecord>, StoreError> {
        let Some(end) = Long::read(&*self.shared.engine()?, Table::Ends, id)? else {
            return Ok(None);
        };
        self.settled(id).await?;
        let end = if end.is_whole() {
            read::end(&*self.shared.engine()?, end)
        } else {
            self.blocking(move |engine| read::end(engine, end)).await
        };
        self.unless_pruned(id, end.map(Some))
    }

    /// Packets of a job from this number on, in segments that together have at most
    /// `max_bytes`, but at least one if there is the packet `from`. The first has `from`
    /// in it, perhaps not as its first packet. Empty if there is no such packet on disk.
    /// They are not to be kept for long: they can hold more memory than they are long.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn segments(
        &self,
        id: JobId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        self.read(|| self.read_segments(id, from, max_bytes)).await
    }

    async fn read_segments(
        &self,
        id: JobId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        let segments = self
            .blocking(move |engine| read::segments(engine, id, from, max_bytes))
            .await;
        let mut segments = self.unless_pruned(id, segments)?;
        let limit = self.shared.unsynced.packets_limit(id);
        segments.retain(|segment| segment.first() < limit);
        if let Some(last) = segments.last_mut() {
            *last = last.between(0, limit);
        }
        segments.retain(|segment| segment.end() > from);
        Ok(segments)
    }

    /// How many packets of the job are on disk.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn packet_count(&self, id: JobId) -> Result<u64, StoreError> {
        self.read(|| async {
            let count = read::packet_count(&*self.shared.engine()?, id)?;
            Ok(count.min(self.shared.unsynced.packets_limit(id)))
        })
        .await
    }

    /// All live jobs, in the order of their sequence numbers: what recovery needs when
    /// the store has been opened. How long it takes depends on their number alone. One
    /// whose record is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn live(&self) -> Result<Vec<(JobId, LiveRecord)>, StoreError> {
        Ok(self.standing(Table::Live).await?.jobs)
    }

    /// The live jobs whose records are damaged, so that it is not known where they stand.
    /// They can be finished.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn damaged_live(&self) -> Result<Vec<JobId>, StoreError> {
        Ok(self.standing(Table::Live).await?.damaged)
    }

    /// How many packets of the job can be read, from the first on: all of them, unless
    /// some are damaged.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn readable_packets(&self, id: JobId) -> Result<u64, StoreError> {
        self.blocking(move |engine| read::readable_packets(engine, id))
            .await
    }

    /// Ended jobs whose places in their queues are kept, as they stood.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn kept_places(&self) -> Result<Vec<(JobId, LiveRecord)>, StoreError> {
        Ok(self.standing(Table::Places).await?.jobs)
    }

    /// Ended jobs in the order of their ids, at most `limit` of them, from the one after
    /// `after`. A page can be shorter than `limit` so that it fits into memory; only an
    /// empty one is the end. A job whose record is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn ended_page(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|| async {
            let page = self
                .blocking(move |engine| read::ended_page(engine, after, limit))
                .await?;
            for job in &page {
                self.settled(job.id).await?;
            }
            Ok(page)
        })
        .await
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
        let contents = self.contents();
        let shared = self.shared.clone();
        let jobs = self
            .blocking(move |engine| prune::candidates(engine, &shared.passed_over, &keep, contents))
            .await?;
        let Some(&oldest) = jobs.first() else {
            return Ok(Pruned::default());
        };
        match self.write(oldest, 0, Change::Prune { jobs, keep }).await? {
            Done::Pruned(jobs, more) => Ok(Pruned { jobs, more }),
            // Not the answer to this.
            _ => Ok(Pruned::default()),
        }
    }

    /// How much there is on disk. Costs nothing.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.shared.contents()
    }

    /// Why the store cannot be written at present, `None` if it can. It is tried again
    /// all the time; the log tells when it failed, and when it could be written again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure().map(|reason| reason.to_string())
    }

    /// Waits until the store can be written; at once if it can. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`].
    pub async fn writable(&self) -> Result<(), StoreError> {
        match self.shared.writable().await {
            true => Ok(()),
            false => Err(StoreError::Closed),
        }
    }

    /// Brings everything to the disk and closes the store, for all its clones: what they
    /// ask of it afterwards is refused.
    ///
    /// Dropping the future does not keep the store from closing.
    pub async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        if self.requests.send(Request::Close(closed)).is_ok() {
            // An error says that the writer has closed it already.
            let _ = closing.await;
        }
    }

    async fn write(&self, id: JobId, size: usize, change: Change) -> Result<Done, StoreError> {
        answered(self.hand_over(id, size, change).await?.await)
    }

    /// Gives a change to the writer, once there is room for it.
    async fn hand_over(
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
            answer,
            size,
            permit,
        };
        self.requests
            .send(Request::Write(write))
            .map_err(|_| StoreError::Closed)?;
        Ok(receiver)
    }

    /// Reads through outages, however long they are. Cancel safe if `read` is.
    ///
    /// # Errors
    ///
    /// Those of `read` that do not pass, and [`StoreError::Closed`].
    pub async fn patiently<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match read().await {
                Err(error) if error.is_passing() => self.writable().await?,
                known => return known,
            }
        }
    }

    async fn standing(&self, table: Table) -> Result<read::Standing, StoreError> {
        self.blocking(move |engine| read::standing(engine, table))
            .await
    }

    /// Reads, and reads again if the engine was opened anew meanwhile: what was read
    /// before may not be there any more. A read that fails because nothing can be written
    /// is made again when that is over, unless it takes too long.
    async fn read<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            let opening = self.shared.opening().await;
            let result = read().await;
            let Err(StoreError::Unreadable(why)) = result else {
                if self.shared.is_present(opening) {
                    return result;
                }
                continue;
            };
            if self.shared.is_closed() {
                return Err(StoreError::Closed);
            }
            if self.can_be_written().await && self.shared.is_present(opening) {
                return Err(StoreError::Unreadable(why));
            }
            if !self.shared.reopened(opening).await {
                return Err(StoreError::UnreadableNow(why));
            }
        }
    }

    /// Whether the store can be written, found out by writing. A reader may be the first
    /// to meet an engine that has failed, and only a write makes that known.
    async fn can_be_written(&self) -> bool {
        let written = self.write(JobId::NONE, 0, Change::Mark);
        matches!(timeout(READERS_WAIT, written).await, Ok(Ok(_)))
    }

    /// Waits until the job's state that has just been read is on disk.
    async fn settled(&self, id: JobId) -> Result<(), StoreError> {
        let settled = self.shared.unsynced.state_settled(id).await;
        settled.map_err(|_| {
            let why = "the job's last change may not be on disk, because writing failed";
            StoreError::Unreadable(why.into())
        })
    }

    /// What has been read of a job; nothing if pieces of it were missing because the job
    /// was pruned meanwhile.
    fn unless_pruned<T: Default>(
        &self,
        id: JobId,
        read: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match read {
            Err(StoreError::Corrupt { .. })
                if read::stage(&*self.shared.engine()?, id) == Ok(None) =>
            {
                Ok(T::default())
            }
            read => read,
        }
    }

    /// Reads on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || read(&*shared.engine()?))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unreadable(error.to_string())))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
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

/// What a write of this size takes of the budget. The greatest packets and results still
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

fn refused(id: JobId) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |error| StoreError::Refused {
        id,
        why: error.to_string(),
    }
}
