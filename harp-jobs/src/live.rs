//! What everybody but its ledger sees of a job: how far it has come, its newest packets, and
//! a way to wish for its cancellation.
//!
//! There is a handle for each job that is held here or waited for, and none for one that
//! only waits in its queue. It is a cache: what it does not know the ledger does. A waiter
//! takes a view first and asks the ledger then, never the other way round. Whoever may change
//! what a handle shows has a [`JobOwner`], everybody else a [`JobView`].

mod tail;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use harp_values::JobId;
use tokio::sync::{Notify, watch};

use self::tail::Tail;
pub use self::tail::TailBatch;
use crate::record::EndRecord;
use crate::segment::Segment;
use crate::transport::Proof;

/// The handles of all jobs that have one. Clones are the same handles.
#[derive(Debug, Clone, Default)]
pub struct Handles(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    handles: DashMap<JobId, Arc<Handle>>,
    /// Told when somebody may look at a job that nobody here owns.
    looked_at: Notify,
}

/// How far a job has come. Everything that it tells of is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number after that of the last packet; `None` as long as nobody has told.
    pub packets: Option<u64>,
    /// How it ended, if it has.
    pub end: Option<Arc<EndRecord>>,
    /// Once an attempt has ended and its host was waited for: what is known of the host.
    pub host: Option<Proof>,
    /// Rises when it goes back to wait for another attempt.
    pub attempts: u32,
    /// Its host cannot be reached, since this time in milliseconds since 1970.
    pub unreachable_since: Option<u64>,
}

/// The handle of one job.
#[derive(Debug)]
struct Handle {
    job: JobId,
    progress: watch::Sender<Progress>,
    wish: watch::Sender<bool>,
    tail: Mutex<Tail>,
    /// Owners and views.
    users: AtomicUsize,
    owners: AtomicUsize,
}

/// A use of a handle; the last one takes it out.
#[derive(Debug)]
struct Use {
    handle: Arc<Handle>,
    handles: Handles,
}

/// The right to say how far a job has come: that of its run.
#[derive(Debug)]
pub struct JobOwner(Use);

/// A look at a job.
#[derive(Debug)]
pub struct JobView(Use);

impl Handles {
    /// A view of a job, whether or not there is such a job.
    #[must_use]
    pub fn view(&self, job: JobId) -> JobView {
        let view = JobView(self.used(job));
        if view.0.handle.owners.load(Ordering::Relaxed) == 0 {
            self.0.looked_at.notify_one();
        }
        view
    }

    /// A view of a job that has a handle already.
    #[must_use]
    pub fn known(&self, job: JobId) -> Option<JobView> {
        let handle = self.0.handles.get(&job)?;
        // Under the lock of its place, as every first and last use is.
        handle.users.fetch_add(1, Ordering::Relaxed);
        Some(JobView(Use {
            handle: Arc::clone(&handle),
            handles: self.clone(),
        }))
    }

    /// The owner of a job that has its turn, with so many packets so far; `None` for one that
    /// has ended and owes something: of that its owner tells the host alone.
    #[must_use]
    pub fn own(&self, job: JobId, packets: Option<u64>) -> JobOwner {
        let owner = JobOwner(self.used(job));
        owner.0.handle.owners.fetch_add(1, Ordering::Relaxed);
        owner.0.handle.progress.send_modify(|progress| {
            progress.packets = packets.or(progress.packets);
            progress.host = None;
        });
        owner
    }

    /// Shows an end that the ledger has told of, where nobody owns the job and nobody has
    /// shown it: as a rule of one that had not started.
    pub fn tell_end(&self, job: JobId, end: Arc<EndRecord>) {
        if let Some(view) = self.known(job)
            && view.0.handle.owners.load(Ordering::Relaxed) == 0
        {
            view.0.handle.progress.send_if_modified(|progress| {
                // Its owner may have told it, and gone: of the host that one knows more.
                if progress.end.is_some() {
                    return false;
                }
                if end.started.is_none() {
                    progress.host = Some(Proof::Confirmed);
                }
                progress.packets.get_or_insert(end.packets);
                progress.end = Some(end);
                true
            });
        }
    }

    /// Shows that a job waits for another attempt.
    pub fn tell_back_to_wait(&self, job: JobId) {
        if let Some(view) = self.known(job) {
            let progress = &view.0.handle.progress;
            progress.send_modify(|progress| progress.attempts += 1);
        }
    }

    /// The jobs that are looked at, and owned by nobody here: what becomes of them is to be asked.
    #[must_use]
    pub fn unowned(&self) -> Vec<JobId> {
        let all = self.0.handles.iter();
        let unowned = all.filter(|handle| {
            handle.owners.load(Ordering::Relaxed) == 0 && handle.progress.borrow().end.is_none()
        });
        unowned.map(|handle| handle.job).collect()
    }

    /// Completes when somebody has begun to look at a job since the last time. Cancel safe.
    pub async fn looked_at(&self) {
        self.0.looked_at.notified().await;
    }

    /// Shows how far a job has come that others hold: its packets, if it runs. Whoever waits for
    /// it looks again.
    pub fn tell_elsewhere(&self, job: JobId, packets: Option<u64>) {
        if let Some(view) = self.known(job)
            && view.0.handle.owners.load(Ordering::Relaxed) == 0
        {
            let progress = &view.0.handle.progress;
            progress.send_modify(|progress| progress.packets = packets);
        }
    }

    /// Shows what is known of the host of a job that has ended elsewhere.
    pub fn tell_host(&self, job: JobId, proof: Proof) {
        if let Some(view) = self.known(job) {
            let progress = &view.0.handle.progress;
            progress.send_modify(|progress| _ = progress.host.get_or_insert(proof));
        }
    }

    /// How many handles there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.handles.len()
    }

    fn used(&self, job: JobId) -> Use {
        let handle = self
            .0
            .handles
            .entry(job)
            .or_insert_with(|| Arc::new(Handle::new(job)));
        handle.users.fetch_add(1, Ordering::Relaxed);
        Use {
            handle: Arc::clone(&handle),
            handles: self.clone(),
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let users = &self.handle.users;
        let is_last = |_: &JobId, _: &Arc<Handle>| users.fetch_sub(1, Ordering::Relaxed) == 1;
        let handles = &self.handles.0.handles;
        handles.remove_if(&self.handle.job, is_last);
    }
}

impl Handle {
    fn new(job: JobId) -> Handle {
        Handle {
            job,
            progress: watch::Sender::default(),
            wish: watch::Sender::default(),
            tail: Mutex::default(),
            users: AtomicUsize::new(0),
            owners: AtomicUsize::new(0),
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Held for a few pointer moves, never across an await. A panic while it is held
        // leaves at worst a shorter cache.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for JobOwner {
    fn drop(&mut self) {
        let handle = &self.0.handle;
        if handle.owners.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        // Nobody tells of the job any more, and an end that the ledger told of meanwhile was
        // left to this owner: whoever waits has to ask again.
        handle.progress.send_if_modified(|progress| {
            let knows_nothing = progress.end.is_none();
            if knows_nothing {
                progress.packets = None;
                self.0.handles.0.looked_at.notify_one();
            }
            knows_nothing
        });
    }
}

impl JobOwner {
    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.handle.job
    }

    /// Shows packets, which are durable.
    pub fn show(&self, segments: Vec<Segment>) {
        let Some(batch) = TailBatch::new(segments) else {
            return;
        };
        let (handle, end) = (&self.0.handle, batch.end());
        let is_followed = handle.progress.receiver_count() > 0;
        handle.tail().push(batch, is_followed);
        handle
            .progress
            .send_modify(|progress| progress.packets = Some(end));
    }

    /// Shows the end, which is durable.
    pub fn end(&self, end: Arc<EndRecord>) {
        self.0.handle.progress.send_modify(|progress| {
            progress.packets = Some(end.packets);
            progress.end = Some(end);
        });
    }

    /// Shows what is known of the host. What was said first stays.
    pub fn host(&self, proof: Proof) {
        self.0.handle.progress.send_modify(|progress| {
            progress.host.get_or_insert(proof);
        });
    }

    /// Shows whether the host can be reached; since when not, in milliseconds since 1970.
    pub fn unreachable(&self, since: Option<u64>) {
        self.0
            .handle
            .progress
            .send_modify(|progress| progress.unreachable_since = since);
    }

    /// Completes once somebody wishes for the cancellation. Cancel safe.
    pub async fn cancel_wished(&self) {
        let mut wish = self.0.handle.wish.subscribe();
        // The sender is in the handle, which outlives this.
        let _ = wish.wait_for(|wished| *wished).await;
    }
}

impl JobView {
    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.handle.job
    }

    /// Whether somebody here runs the job and tells how far it comes.
    #[must_use]
    pub fn is_run(&self) -> bool {
        let handle = &self.0.handle;
        handle.owners.load(Ordering::Relaxed) > 0 && handle.progress.borrow().packets.is_some()
    }

    /// Watches how far the job comes. The last value stays.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.0.handle.progress.subscribe()
    }

    /// Wishes for the job's cancellation. Whoever holds it, now or later, will see to it.
    pub fn wish_cancel(&self) {
        self.0.handle.wish.send_replace(true);
    }

    /// The newest packets from a number on, if they are in memory, up to about `most` bytes
    /// of them but at least one batch.
    #[must_use]
    pub fn recent(&self, from: u64, most: usize) -> Option<Vec<Arc<TailBatch>>> {
        self.0.handle.tail().from(from, most)
    }
}

#[cfg(test)]
mod tests {
    use harp_values::Outcome;

    use super::*;

    fn job(number: u128) -> JobId {
        JobId::from_bytes(number.to_be_bytes())
    }

    fn end() -> Arc<EndRecord> {
        Arc::new(EndRecord {
            started: None,
            ended: 1,
            outcome: Outcome::Cancelled,
            packets: 3,
            remarks: Default::default(),
        })
    }

    #[test]
    fn a_handle_is_there_as_long_as_it_is_used() {
        let handles = Handles::default();
        assert!(handles.known(job(1)).is_none());
        let view = handles.view(job(1));
        let owner = handles.own(job(1), Some(0));
        assert_eq!(
            (handles.count(), owner.job(), view.job()),
            (1, job(1), job(1))
        );
        drop(view);
        assert_eq!(handles.count(), 1);
        let view = handles.known(job(1)).unwrap();
        drop(owner);
        assert_eq!(handles.count(), 1);
        drop(view);
        assert_eq!(handles.count(), 0);
    }

    #[test]
    fn a_wish_waits_for_whoever_comes_to_hold_the_job() {
        use futures_util::FutureExt;
        let handles = Handles::default();
        let view = handles.view(job(1));
        view.wish_cancel();
        let owner = handles.own(job(1), Some(0));
        assert!(owner.cancel_wished().now_or_never().is_some());
        let other = handles.own(job(2), Some(0));
        assert!(other.cancel_wished().now_or_never().is_none());
    }

    #[test]
    fn the_ledger_tells_ends_of_jobs_that_nobody_owns() {
        let handles = Handles::default();
        handles.tell_end(job(1), end());
        assert_eq!(handles.count(), 0, "nobody wants to know");
        let view = handles.view(job(1));
        let watch = view.watch();
        let owner = handles.own(job(1), Some(2));
        handles.tell_end(job(1), end());
        assert_eq!(watch.borrow().packets, Some(2));
        assert_eq!(watch.borrow().end, None, "its owner tells that");
        drop(owner);
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow().packets, None, "who waits asks again");
        handles.tell_end(job(1), end());
        assert_eq!(watch.borrow().end, Some(end()));
        assert_eq!(watch.borrow().host, Some(Proof::Confirmed));
        // One that has told the end and gone may have left its host behind.
        let view = handles.view(job(2));
        handles.own(job(2), Some(0)).end(end());
        handles.tell_end(job(2), end());
        assert_eq!(view.watch().borrow().host, None);
    }

    #[test]
    fn of_a_job_that_others_hold_it_is_told_what_was_asked() {
        let handles = Handles::default();
        let (elsewhere, here) = (handles.view(job(1)), handles.view(job(2)));
        let owner = handles.own(job(2), Some(5));
        assert_eq!(handles.unowned(), [job(1)]);
        for job in [job(1), job(2), job(3)] {
            handles.tell_elsewhere(job, Some(2));
        }
        assert_eq!(elsewhere.watch().borrow().packets, Some(2));
        assert!(!elsewhere.is_run());
        assert_eq!(here.watch().borrow().packets, Some(5), "its owner tells");
        // One that comes to be held here once more has two owners for a moment.
        let next = handles.own(job(2), Some(6));
        drop(owner);
        assert_eq!(here.watch().borrow().packets, Some(6));
        drop(next);
        assert_eq!(here.watch().borrow().packets, None);
        handles.tell_end(job(1), end());
        assert_eq!(handles.unowned(), [job(2)]);
    }
}
