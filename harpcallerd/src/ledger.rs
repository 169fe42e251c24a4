//! What is decided of jobs, over the store that keeps them: who is taken in, who waits, who
//! has its turn, who is ended before its start.
//!
//! All of it is decided behind one mutex, by the lineup; what comes of it is told as
//! [`News`], so that nothing is lost with a future that is dropped. A job that only waits is
//! an entry of the lineup and a record: it has neither a task nor a handle.
//!
//! This one is the daemon's until it is switched to [`local`], which keeps the core's
//! contract; then this file and `accept` go, and `recovery.rs`, which `local/open.rs` takes
//! over. Held jobs (`held.rs`) are kept in one way by both.

mod accept;
mod held;
pub mod local;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::failures;
use harp_jobs::lineup::queue::Members;
use harp_jobs::lineup::{Entrant, Lineup, Stands};
use harp_jobs::world::Moment;
use harp_proto::{JobId, Outcome, QueueName};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::info;

use crate::limits::ClientLimits;
use crate::record::{CallRecord, LiveRecord, QueueRecord};
use crate::store::Store;

pub use accept::Accepted;
use held::HeldJobs;

/// The ledger of one dispatcher. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    clients: watch::Receiver<ClientLimits>,
    state: Mutex<State>,
    /// Told when a job is due before all others.
    new_first_due: Notify,
    news: mpsc::UnboundedSender<Told>,
    /// Moments are counted from here.
    begun: Instant,
    /// Submissions under way.
    tasks: TaskTracker,
    /// Cancelled when nothing is taken in any more.
    closed: CancellationToken,
}

#[derive(Debug)]
struct State {
    lineup: Lineup,
    /// Of jobs that may not wait for ever.
    start_by: HashMap<JobId, Limited>,
    /// Jobs that are ended before their start, and whose ends are not on record yet: their
    /// numbers in the order of submissions.
    leaving: HashMap<JobId, u64>,
    /// Jobs that wait for a word of the operator, and are in no queue.
    held: HeldJobs,
    is_closed: bool,
}

/// A job that may not wait for ever.
#[derive(Debug, Clone, Copy)]
struct Limited {
    /// By how many seconds after its submission it must have started.
    seconds: u64,
    /// Its number in the order of submissions.
    sequence: u64,
}

/// What the ledger tells.
#[derive(Debug)]
pub enum News {
    /// A job has its turn: [`Ledger::begin`] it.
    Turn(JobId),
    /// A job with its turn was taken in and its start recorded.
    Started {
        /// The job.
        job: JobId,
        /// Its call.
        call: Box<CallRecord>,
        /// When it started, in milliseconds since 1970.
        at: u64,
    },
    /// Jobs are ended before their start: to be recorded.
    Withdrawn(Withdrawn),
}

/// Jobs that are ended before their start. Each end is to be told to the ledger once it is
/// on record, by [`Ledger::ended`].
#[derive(Debug)]
pub struct Withdrawn {
    /// The jobs, in their order.
    pub jobs: Vec<JobId>,
    /// How they end.
    pub outcome: Outcome,
    /// Who waits for all of the ends to be on record. Dropped if that cannot be at present.
    pub done: Option<oneshot::Sender<()>>,
}

/// News, counted among what a stop waits for until somebody has taken them up.
#[derive(Debug)]
pub struct Told {
    /// The news.
    pub news: News,
    _counted: TaskTrackerToken,
}

/// By when a job must have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartBy {
    /// The moment.
    pub by: Instant,
    /// How many seconds that is after the submission.
    pub seconds: u64,
}

impl Ledger {
    /// A ledger without jobs. The numbers of submissions go on behind `last_sequence`.
    #[must_use]
    pub fn new(
        store: Store,
        clients: watch::Receiver<ClientLimits>,
        tasks: TaskTracker,
        last_sequence: u64,
    ) -> (Ledger, mpsc::UnboundedReceiver<Told>) {
        let (news, told) = mpsc::unbounded_channel();
        let shared = Shared {
            store,
            clients,
            state: Mutex::new(State {
                lineup: Lineup::new(last_sequence),
                start_by: HashMap::new(),
                leaving: HashMap::new(),
                held: HeldJobs::default(),
                is_closed: false,
            }),
            new_first_due: Notify::new(),
            news,
            begun: Instant::now(),
            tasks,
            closed: CancellationToken::new(),
        };
        (Ledger(Arc::new(shared)), told)
    }

    /// Enters a job again that waited when the dispatcher stopped. In the order of the
    /// numbers of submission, before the first one.
    pub fn resume(&self, job: JobId, record: LiveRecord) {
        let start_by = self.start_by(&record);
        self.line_up(&mut self.state(), job, record, start_by);
    }

    /// By when a job must have started that was submitted before this dispatcher began.
    fn start_by(&self, record: &LiveRecord) -> Option<Moment> {
        let waited = self.0.store.elapsed_since(record.submitted);
        let left = Duration::from_secs(record.start_by?).saturating_sub(waited);
        Some(self.moment(Instant::now()) + left)
    }

    fn line_up(&self, state: &mut State, job: JobId, record: LiveRecord, start_by: Option<Moment>) {
        let entrant = Entrant {
            id: job,
            queue: record.queue,
            start_by,
            pool: None,
        };
        let sequence = record.sequence;
        if let Some(seconds) = record.start_by {
            state.start_by.insert(job, Limited { seconds, sequence });
        }
        let turns = state.lineup.resume(entrant, sequence, None);
        self.give(turns);
        self.0.new_first_due.notify_one();
    }

    /// Keeps the place of a job that has ended and whose host may still be busy, until it is
    /// settled.
    pub fn keep(&self, job: JobId, queue: QueueRecord, sequence: u64) {
        self.state().lineup.keep(job, Some(queue), sequence, true);
    }

    /// Begins a job that has its turn: from now on it belongs to whoever calls this. `None`
    /// if it was withdrawn meanwhile; otherwise by when it must have started, if by any time.
    #[must_use]
    pub fn begin(&self, job: JobId) -> Option<Option<StartBy>> {
        let mut state = self.state();
        let by = state.lineup.start_by(job);
        if !state.lineup.start(job) {
            return None;
        }
        let limited = state.start_by.remove(&job);
        Some(by.zip(limited).map(|(by, limited)| StartBy {
            by: self.instant(by),
            seconds: limited.seconds,
        }))
    }

    /// Ends a job that has not started. False if it has, or there is none.
    pub fn withdraw(&self, job: JobId, outcome: Outcome) -> bool {
        let mut state = self.state();
        let Some(turns) = state.leave(job) else {
            return false;
        };
        self.tell(News::Withdrawn(Withdrawn {
            jobs: vec![job],
            outcome,
            done: None,
        }));
        self.give(turns);
        true
    }

    /// Ends all jobs of a queue that have not started, in one step: none of them starts in
    /// between. The receipt is answered when all the ends are on record, and dropped if they
    /// cannot be at present; with it come the jobs of the queue that run.
    pub fn withdraw_queue(
        &self,
        name: &QueueName,
        outcome: Outcome,
    ) -> (oneshot::Receiver<()>, Vec<JobId>) {
        let (done, receipt) = oneshot::channel();
        let mut state = self.state();
        let Members { running, waiting } = state.lineup.queue_members(name);
        let members = running.iter().chain(&waiting).copied();
        let sequences: HashMap<_, _> = members
            .filter_map(|job| Some((job, state.lineup.sequence(job)?)))
            .collect();
        let (waiting, turns) = state.lineup.withdraw_queue(name);
        let mut jobs = state.held.of_queue(name);
        for job in &jobs {
            let held = state.held.take(*job);
            let sequence = held.map_or(0, |held| held.record.sequence);
            state.leaving.insert(*job, sequence);
        }
        for job in &waiting {
            state.start_by.remove(job);
            let sequence = sequences.get(job).copied().unwrap_or_default();
            state.leaving.insert(*job, sequence);
        }
        jobs.extend(waiting);
        info!(queue = %name, waiting = jobs.len(), "queue cancelled");
        self.tell(News::Withdrawn(Withdrawn {
            jobs,
            outcome,
            done: Some(done),
        }));
        self.give(turns);
        let runs = |job: &JobId| state.lineup.stands(*job) == Some(Stands::Runs);
        (receipt, running.into_iter().filter(runs).collect())
    }

    /// The end of a job is on record. If it started, it keeps its place until it is settled.
    pub fn ended(&self, job: JobId) {
        let mut state = self.state();
        if state.leaving.remove(&job).is_some() {
            return;
        }
        let turns = state.lineup.close(job, true);
        self.give(turns);
    }

    /// Whatever a job that has ended owed is done: its place is free.
    pub fn settle(&self, job: JobId) {
        let mut state = self.state();
        let turns = state.lineup.settle(job);
        self.give(turns);
    }

    /// True for a job that is on record here and whose end is not.
    #[must_use]
    pub fn is_live(&self, job: JobId) -> bool {
        let state = self.state();
        state.leaving.contains_key(&job)
            || state.held.contains(job)
            || state
                .lineup
                .stands(job)
                .is_some_and(|stands| !matches!(stands, Stands::Entering | Stands::Owes))
    }

    /// All jobs that have not ended, in the order of their submission.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<JobId> {
        let state = self.state();
        let leaving = state
            .leaving
            .iter()
            .map(|(job, sequence)| (*job, *sequence));
        let mut jobs: Vec<_> = state
            .lineup
            .live_jobs()
            .into_iter()
            .chain(leaving)
            .chain(state.held.iter())
            .collect();
        drop(state);
        jobs.sort_unstable_by_key(|(_, sequence)| *sequence);
        jobs.into_iter().map(|(job, _)| job).collect()
    }

    /// The names of all queues that have a job, held ones included, sorted.
    #[must_use]
    pub fn queue_names(&self) -> Vec<QueueName> {
        let state = self.state();
        let mut names = state.lineup.queue_names();
        names.extend(state.held.queue_names().cloned());
        drop(state);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The jobs of a queue; none if there is no such queue.
    #[must_use]
    pub fn queue_members(&self, name: &QueueName) -> Members {
        self.state().lineup.queue_members(name)
    }

    /// Takes nothing in and gives no turns any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.lineup.close_turns();
        drop(state);
        self.0.closed.cancel();
    }

    /// Ends jobs whose time to start is over, as it comes: one timer for all of them. Never
    /// completes. Cancel safe.
    pub async fn serve_the_due(&self) {
        loop {
            let first = {
                let state = self.state();
                let held = state.held.first_due();
                state.lineup.first_due().into_iter().chain(held).min()
            };
            let timer = async {
                match first {
                    Some(by) => sleep_until(self.instant(by)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.0.new_first_due.notified() => continue,
            }
            let now = self.moment(Instant::now());
            let mut state = self.state();
            let (overdue, turns) = state.lineup.take_due(now);
            let overdue: Vec<_> = overdue
                .into_iter()
                .map(|job| {
                    let limited = state.start_by.remove(&job);
                    let known = limited.map_or((0, 0), |job| (job.seconds, job.sequence));
                    (job, known)
                })
                .collect();
            let held = state.held.take_due(now).into_iter().map(|(job, held)| {
                let seconds = held.record.start_by.unwrap_or_default();
                (job, (seconds, held.record.sequence))
            });
            for (job, (seconds, sequence)) in overdue.into_iter().chain(held) {
                state.leaving.insert(job, sequence);
                self.tell(News::Withdrawn(Withdrawn {
                    jobs: vec![job],
                    outcome: Outcome::Error(failures::not_started(seconds)),
                    done: None,
                }));
            }
            self.give(turns);
        }
    }

    fn give(&self, turns: Vec<JobId>) {
        for job in turns {
            self.tell(News::Turn(job));
        }
    }

    fn tell(&self, news: News) {
        // Without a listener the dispatcher is gone.
        let _ = self.0.news.send(Told {
            news,
            _counted: self.0.tasks.token(),
        });
    }

    fn moment(&self, instant: Instant) -> Moment {
        Moment::START + instant.saturating_duration_since(self.0.begun)
    }

    fn instant(&self, moment: Moment) -> Instant {
        // Beyond what the clock can hold is as good as never.
        let never = Duration::from_secs(365 * 86400 * 30);
        let since = moment.since(Moment::START).min(never);
        self.0.begun + since
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A std mutex: held for a few map operations, never across an await.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out a job that has not started; who has its turn instead.
    fn leave(&mut self, job: JobId) -> Option<Vec<JobId>> {
        if let Some(held) = self.held.take(job) {
            self.leaving.insert(job, held.record.sequence);
            return Some(Vec::new());
        }
        let sequence = self.lineup.sequence(job)?;
        let turns = self.lineup.withdraw(job)?;
        self.start_by.remove(&job);
        self.leaving.insert(job, sequence);
        Some(turns)
    }
}
