//! Handles: what everybody but its owner sees of a job that is run here or waited for. How
//! far it has come, the newest packets, and a way to ask for its cancellation.
//!
//! The owner is the task in `job.rs`, from the job's turn on. A job that only waits has no
//! handle, unless somebody waits for it. So who waits for a job [visits](Jobs::visit) its
//! handle first, then asks the ledger or the store where the job is: whatever happens in
//! between is told to the handle.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;
use harp_host::Cancel;
use harp_proto::{JobId, Outcome};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Ledger, StartBy};
use crate::segment::Segment;

/// Bytes of packets that a running job keeps in memory for followers who may come.
/// Whoever is further behind reads the store.
const TAIL: usize = 128 * 1024;

/// The same while the job has followers: twice what can come to the disk at once, so that
/// those who keep up need not read the store.
const FOLLOWED_TAIL: usize = 2 * 1024 * 1024;

/// What packets that came to the disk together count in the tail beside their bytes.
const BATCH_COST: usize = 256;

/// The handles by their jobs' ids. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs {
    handles: Arc<DashMap<JobId, Arc<LiveJob>>>,
    ledger: Ledger,
}

/// A handle that somebody waits at. Dropping the last one takes a handle away that has no
/// owner.
#[derive(Debug)]
pub struct Visit {
    live: Arc<LiveJob>,
    handles: Arc<DashMap<JobId, Arc<LiveJob>>>,
}

impl Jobs {
    /// No handles of the jobs of a ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Jobs {
        Jobs {
            handles: Arc::default(),
            ledger,
        }
    }

    /// The handle of a job that is run here.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<Arc<LiveJob>> {
        let live = self.handles.get(&id).map(|job| Arc::clone(&job));
        live.filter(|live| live.is_owned())
    }

    /// The handle of a job, whether it is run here or not, or there is none at all: that is
    /// to be asked afterwards.
    #[must_use]
    pub fn visit(&self, id: JobId) -> Visit {
        let entry = self.handles.entry(id);
        let entry = entry.or_insert_with(|| LiveJob::new(id));
        entry.visitors.fetch_add(1, Ordering::Relaxed);
        Visit {
            live: Arc::clone(&entry),
            handles: Arc::clone(&self.handles),
        }
    }

    /// The handle for a job's owner: of a job that has its turn, once.
    #[must_use]
    pub fn own(&self, id: JobId, start_by: Option<StartBy>) -> Arc<LiveJob> {
        let entry = self.handles.entry(id);
        let entry = entry.or_insert_with(|| LiveJob::new(id));
        entry.take_over(start_by);
        Arc::clone(&entry)
    }

    /// Takes a job out that has ended, its end on disk and announced.
    pub fn remove(&self, id: JobId) {
        // Before the handle goes: whoever makes another one is told so.
        self.ledger.ended(id);
        self.handles.remove(&id);
    }
}

impl Deref for Visit {
    type Target = LiveJob;

    fn deref(&self) -> &LiveJob {
        &self.live
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.handles.remove_if(&self.live.id, |_, there| {
            let is_last = self.live.visitors.fetch_sub(1, Ordering::Relaxed) == 1;
            // It may be another handle by now.
            is_last && Arc::ptr_eq(there, &self.live) && !there.is_owned()
        });
    }
}

/// The handle of one job.
#[derive(Debug)]
pub struct LiveJob {
    /// The job.
    pub id: JobId,
    /// By when it must have started, once it has an owner.
    start_by: OnceLock<StartBy>,
    is_owned: AtomicBool,
    visitors: AtomicUsize,
    cancel: CancellationToken,
    progress: watch::Sender<Progress>,
    tail: Mutex<Tail>,
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
    /// A handle without an owner.
    #[must_use]
    pub fn new(id: JobId) -> Arc<LiveJob> {
        Arc::new(LiveJob {
            id,
            start_by: OnceLock::new(),
            is_owned: AtomicBool::new(false),
            visitors: AtomicUsize::new(0),
            cancel: CancellationToken::new(),
            progress: watch::Sender::default(),
            tail: Mutex::default(),
        })
    }

    /// The job has an owner from now on. Only the job's owner calls this, once.
    pub(crate) fn take_over(&self, start_by: Option<StartBy>) {
        if let Some(start_by) = start_by {
            // There is one owner, so it is empty.
            let _ = self.start_by.set(start_by);
        }
        self.is_owned.store(true, Ordering::Release);
    }

    /// True from the job's turn on: it is run here, or was.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.is_owned.load(Ordering::Acquire)
    }

    /// By when it must have started, if by any time. Known to its owner.
    #[must_use]
    pub fn start_by(&self) -> Option<StartBy> {
        self.start_by.get().copied()
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
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::limits::ClientLimits;
    use crate::segment::SegmentBuilder;
    use crate::store::{Store, StoreOptions};

    fn live() -> Arc<LiveJob> {
        LiveJob::new(JobId::submitted_at(1))
    }

    /// Announces `count` batches of one packet of 64 KiB each.
    fn announce(live: &LiveJob, from: u64, count: u64) {
        for number in from..from + count {
            let mut segment = SegmentBuilder::new(number);
            segment.push(1, &[b'1'; 64 * 1024]);
            live.announce_packets(vec![segment.finish()]);
        }
    }

    #[tokio::test]
    async fn a_handle_without_an_owner_goes_with_its_last_visitor() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let (_, clients) = watch::channel(ClientLimits::default());
        let (ledger, _) = Ledger::new(store.clone(), clients, TaskTracker::new(), 0);
        let jobs = Jobs::new(ledger);
        let id = JobId::submitted_at(1);
        let (one, other) = (jobs.visit(id), jobs.visit(id));
        assert!(Arc::ptr_eq(&one.live, &other.live));
        drop(one);
        assert_eq!(jobs.handles.len(), 1);
        assert!(jobs.get(id).is_none(), "nobody runs it");
        drop(other);
        assert!(jobs.handles.is_empty());

        // An owner who comes meets the wishes of those who were there before, and stays.
        let visit = jobs.visit(id);
        visit.request_cancel();
        let owned = jobs.own(id, None);
        assert!(owned.is_cancel_requested());
        drop(visit);
        assert!(Arc::ptr_eq(&jobs.get(id).unwrap(), &owned));
        // Who visits at the end takes nothing away that comes later.
        let late = jobs.visit(id);
        jobs.remove(id);
        let again = jobs.visit(id);
        drop(late);
        assert_eq!(jobs.handles.len(), 1);
        drop(again);
        assert!(jobs.handles.is_empty());
        store.close().await;
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
