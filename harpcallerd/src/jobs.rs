//! The live jobs: those that wait in a queue or run.
//!
//! A live job's handle is what everybody but its owner sees of it: how far it has come,
//! the newest packets, and a way to ask for its cancellation. The owner of its life is
//! the task in `job.rs`, or, while it waits, its place in the queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dashmap::DashMap;
use harp_client::direct::Cancel;
use harp_proto::{JobId, Outcome, QueueName};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::packet_lines;
use crate::record::LiveRecord;
use crate::segment::Segment;

/// Bytes of packets that a running job keeps in memory for its followers. Whoever is
/// further behind reads the store.
const TAIL_BYTES: usize = 128 * 1024;

/// All live jobs by their ids.
#[derive(Debug, Default)]
pub struct Jobs {
    live: DashMap<JobId, Arc<LiveJob>>,
}

impl Jobs {
    /// The handle of a job that has not ended.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<Arc<LiveJob>> {
        self.live.get(&id).map(|job| Arc::clone(&job))
    }

    /// Enters a job.
    pub fn insert(&self, job: Arc<LiveJob>) {
        self.live.insert(job.id, job);
    }

    /// Takes a job out that has ended, its end on disk, or that never came to be.
    pub fn remove(&self, id: JobId) {
        self.live.remove(&id);
    }

    /// The ids of all of them at this moment, in the order of their sequence numbers.
    #[must_use]
    pub fn ids(&self) -> Vec<JobId> {
        let mut jobs: Vec<_> = self.live.iter().map(|job| (job.sequence, job.id)).collect();
        jobs.sort_unstable();
        jobs.into_iter().map(|(_, id)| id).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live.len()
    }
}

/// The handle of one live job.
#[derive(Debug)]
pub struct LiveJob {
    /// The job.
    pub id: JobId,
    /// The queue it is in, if any.
    pub queue: Option<QueueName>,
    /// Its number in the order of all submissions.
    pub sequence: u64,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted: u64,
    /// By when it must have started.
    pub start_by: Option<StartBy>,
    cancel: CancellationToken,
    progress: watch::Sender<Progress>,
    tail: Mutex<Tail>,
}

/// By when a job must have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartBy {
    /// The moment.
    pub by: Instant,
    /// How many seconds that is after the submission.
    pub seconds: u64,
}

/// How far a job has come. Everything it tells of is on disk.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Packets collected so far.
    pub packets: u64,
    /// How it ended, if it has.
    pub outcome: Option<Arc<Outcome>>,
    /// True if it has ended and the end could not be written so far: to everybody it
    /// goes on.
    pub unrecorded: bool,
    /// Once the job has ended and its host has been waited for: whether the host has
    /// proved that nothing of it is left.
    pub host: Option<Cancel>,
}

impl LiveJob {
    /// The handle of a job that is submitted now.
    #[must_use]
    pub fn new(id: JobId, record: &LiveRecord) -> Arc<LiveJob> {
        LiveJob::waiting_since(id, record, Duration::ZERO)
    }

    /// The handle of a job that has no packets yet, and was submitted so long ago.
    #[must_use]
    pub fn waiting_since(id: JobId, record: &LiveRecord, waited: Duration) -> Arc<LiveJob> {
        let start_by = record.start_by.and_then(|seconds| {
            let left = Duration::from_secs(seconds).saturating_sub(waited);
            // Beyond what the clock can hold is no limit.
            let by = Instant::now().checked_add(left)?;
            Some(StartBy { by, seconds })
        });
        Arc::new(LiveJob {
            id,
            queue: record.queue.as_ref().map(|queue| queue.name.clone()),
            sequence: record.sequence,
            submitted: record.submitted,
            start_by,
            cancel: CancellationToken::new(),
            progress: watch::Sender::default(),
            tail: Mutex::default(),
        })
    }

    /// Asks for the job's cancellation. Whoever owns its life ends it.
    pub fn request_cancel(&self) {
        self.cancel.cancel();
    }

    /// Completes once somebody asked for the cancellation. Cancel safe.
    pub async fn cancel_requested(&self) {
        self.cancel.cancelled().await;
    }

    /// True if somebody asked for the cancellation.
    #[must_use]
    pub fn is_cancel_requested(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Watches how far the job comes. A watcher misses no end: the last value stays.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits for the job's end. `None` if it has ended, but that cannot be recorded at
    /// present. Cancel safe.
    pub async fn ended_or_unrecorded(&self) -> Option<Arc<Outcome>> {
        let mut progress = self.watch();
        let known = progress.wait_for(|progress| progress.outcome.is_some() || progress.unrecorded);
        // The sender is in `self`, which outlives this.
        known.await.ok()?.outcome.clone()
    }

    /// Waits until it is known what became of the host of a job that has ended: at most
    /// `slot_grace` after the end. Cancel safe.
    pub async fn host_done(&self) -> Cancel {
        let mut progress = self.watch();
        let known = progress.wait_for(|progress| progress.host.is_some()).await;
        // The sender is in `self`, which outlives this.
        known
            .ok()
            .and_then(|progress| progress.host)
            .unwrap_or(Cancel::Unconfirmed)
    }

    /// Says what became of the host; what was said first stays. Only the job's owner
    /// calls this.
    pub fn announce_host(&self, host: Cancel) {
        self.progress.send_modify(|progress| {
            progress.host.get_or_insert(host);
        });
    }

    /// Shows packets that are on disk. Only the job's owner calls this.
    pub fn announce_packets(&self, segments: Vec<Segment>) {
        let Some(end) = segments.last().map(Segment::end) else {
            return;
        };
        self.tail().push(segments);
        self.progress.send_modify(|progress| progress.packets = end);
    }

    /// Shows the end, which is on disk. Only the job's owner calls this.
    pub fn announce_end(&self, outcome: Arc<Outcome>) {
        self.progress
            .send_modify(|progress| progress.outcome = Some(outcome));
    }

    /// The newest packets from number `from` on, if they are still in memory.
    #[must_use]
    pub fn recent_packets(&self, from: u64) -> Option<Vec<Arc<TailSegment>>> {
        self.tail().from(from)
    }

    /// Says that the end could not be written. Only the job's owner calls this.
    pub fn announce_unrecorded(&self) {
        self.progress
            .send_modify(|progress| progress.unrecorded = true);
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        // A std mutex: held for a few pointer moves, never across an await. A panic
        // while it is held leaves at worst a shorter cache.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest packets of one job: a cache behind which stands the store.
#[derive(Debug, Default)]
struct Tail {
    segments: VecDeque<Arc<TailSegment>>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            self.bytes += segment.len_bytes();
            self.segments.push_back(Arc::new(TailSegment {
                segment,
                lines: OnceLock::new(),
            }));
        }
        while self.bytes > TAIL_BYTES
            && let Some(oldest) = self.segments.pop_front()
        {
            self.bytes -= oldest.segment.len_bytes();
        }
    }

    fn from(&self, number: u64) -> Option<Vec<Arc<TailSegment>>> {
        if self.segments.front()?.segment.first() > number {
            return None;
        }
        let first = self
            .segments
            .partition_point(|held| held.segment.end() <= number);
        Some(self.segments.range(first..).cloned().collect())
    }
}

/// A segment with its wire lines, made once for all followers.
#[derive(Debug)]
pub struct TailSegment {
    /// The packets.
    pub segment: Segment,
    lines: OnceLock<Bytes>,
}

impl TailSegment {
    /// All packets of the segment as lines of the client protocol, without times.
    pub fn lines(&self) -> &Bytes {
        self.lines.get_or_init(|| {
            let mut lines = BytesMut::new();
            packet_lines::write(
                &mut lines,
                &self.segment,
                self.segment.first(),
                u64::MAX,
                false,
            );
            lines.freeze()
        })
    }
}
