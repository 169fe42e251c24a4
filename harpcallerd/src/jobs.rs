//! The live jobs: those that wait in a queue or run.
//!
//! A live job's handle is what everybody but its owner sees of it: how far it has come,
//! the newest packets, and a way to ask for its cancellation. The owner of its life is
//! the task in `job.rs`, or, while it waits, its place in the queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use harp_host::Cancel;
use harp_proto::{JobId, Outcome, QueueName};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::record::LiveRecord;
use crate::segment::Segment;

/// Bytes of packets that a running job keeps in memory for followers who may come.
/// Whoever is further behind reads the store.
const TAIL: usize = 128 * 1024;

/// The same while the job has followers: twice what can come to the disk at once, so that
/// those who keep up need not read the store.
const FOLLOWED_TAIL: usize = 2 * 1024 * 1024;

/// What packets that came to the disk together count in the tail beside their bytes.
const BATCH_COST: usize = 256;

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
        let Some(batch) = TailBatch::new(segments) else {
            return;
        };
        let end = batch.end();
        let most = match self.progress.receiver_count() {
            0 => TAIL,
            _ => FOLLOWED_TAIL,
        };
        self.tail().push(batch, most);
        self.progress.send_modify(|progress| progress.packets = end);
    }

    /// Shows the end, which is on disk. Only the job's owner calls this.
    pub fn announce_end(&self, outcome: Arc<Outcome>) {
        self.progress
            .send_modify(|progress| progress.outcome = Some(outcome));
    }

    /// The newest packets from number `from` on, if they are still in memory, up to about
    /// `most` bytes of them.
    #[must_use]
    pub fn recent_packets(&self, from: u64, most: usize) -> Option<Vec<Arc<TailBatch>>> {
        self.tail().from(from, most)
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
    batches: VecDeque<Arc<TailBatch>>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, batch: TailBatch, most: usize) {
        self.bytes += batch.cost();
        self.batches.push_back(Arc::new(batch));
        while self.bytes > most
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    fn from(&self, number: u64, most: usize) -> Option<Vec<Arc<TailBatch>>> {
        if self.batches.front()?.first() > number {
            return None;
        }
        let first = self.batches.partition_point(|held| held.end() <= number);
        let mut bytes = 0;
        let enough = |held: &&Arc<TailBatch>| {
            let is_wanted = bytes < most;
            bytes += held.bytes;
            is_wanted
        };
        Some(
            self.batches
                .range(first..)
                .take_while(enough)
                .cloned()
                .collect(),
        )
    }
}

/// Packets that came to the disk together, at least one, and the form that a face gives
/// them, made once for all who follow.
#[derive(Debug)]
pub struct TailBatch {
    segments: Vec<Segment>,
    bytes: usize,
    /// By which face, and the form.
    form: OnceLock<(&'static str, Bytes)>,
}

impl TailBatch {
    /// `None` if there are no packets.
    fn new(segments: Vec<Segment>) -> Option<TailBatch> {
        segments.last()?;
        Some(TailBatch {
            bytes: segments.iter().map(Segment::len_bytes).sum(),
            segments,
            form: OnceLock::new(),
        })
    }

    /// The packets, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of the first packet.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(0, Segment::first)
    }

    /// Number after that of the last packet.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }

    /// All packets in the form of a face, as `make` makes it. It is kept for the face that
    /// asks first; others have it made for each of their clients.
    pub fn in_form(&self, face: &'static str, make: impl Fn(&TailBatch) -> Bytes) -> Bytes {
        let (kept_for, form) = self.form.get_or_init(|| (face, make(self)));
        match *kept_for == face {
            true => form.clone(),
            false => make(self),
        }
    }

    fn cost(&self) -> usize {
        self.bytes + BATCH_COST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBuilder;

    fn live() -> Arc<LiveJob> {
        let record = LiveRecord {
            sequence: 1,
            queue: None,
            started: Some(1),
            start_by: None,
            submitted: 1,
        };
        LiveJob::new(JobId::submitted_at(1), &record)
    }

    /// Announces `count` batches of one packet of 64 KiB each.
    fn announce(live: &LiveJob, from: u64, count: u64) {
        for number in from..from + count {
            let mut segment = SegmentBuilder::new(number);
            segment.push(1, &[b'1'; 64 * 1024]);
            live.announce_packets(vec![segment.finish()]);
        }
    }

    #[test]
    fn a_followed_job_keeps_more_of_its_packets() {
        let live = live();
        announce(&live, 0, 100);
        assert!(live.recent_packets(98, usize::MAX).is_none());
        assert!(live.recent_packets(99, usize::MAX).is_some());
        let follower = live.watch();
        announce(&live, 100, 10);
        let kept = live.recent_packets(99, usize::MAX).unwrap();
        assert_eq!((kept[0].first(), kept.len()), (99, 11));
        announce(&live, 110, 90);
        assert!(live.recent_packets(200 - 32, usize::MAX).is_none());
        assert!(live.recent_packets(200 - 31, usize::MAX).is_some());
        // No more than is asked for, but at least one batch.
        assert_eq!(live.recent_packets(190, 1).unwrap().len(), 1);
        drop(follower);
        announce(&live, 200, 1);
        assert!(live.recent_packets(199, usize::MAX).is_none());
    }

    #[test]
    fn small_batches_are_bounded_too() {
        let live = live();
        for number in 0..10_000 {
            let mut segment = SegmentBuilder::new(number);
            segment.push(1, b"1");
            live.announce_packets(vec![segment.finish()]);
        }
        let kept = live.tail().batches.len();
        assert!(kept < TAIL / BATCH_COST, "{kept}");
    }
}
