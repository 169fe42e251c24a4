//! Accepting calls, letting them wait, starting them, cancelling them: whatever happens
//! to a job around its own life in `job.rs`.
//!
//! Order of things, so that nothing accepted is lost and nothing starts that is not on
//! disk: a job enters its queue and the live jobs, is recorded, and only then answered
//! and, if it has a place, started. Its place is given back when `job::run` returns.

mod held;
mod overdue;
mod queues;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::lineup::due::Due;
use harp_proto::{JobId, Outcome, QueueName};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, info, info_span, warn};

use crate::audit::Audit;
use crate::call::NewCall;
use crate::client::Identity;
use crate::clock;
use crate::hosts::Hosts;
use crate::job::{self, Rules, Start};
use crate::jobs::{Jobs, LiveJob};
use crate::limits::ClientLimits;
use crate::queue::Queues;
use crate::record::{CallRecord, LiveRecord, QueueRecord};
use crate::refusal::{Full, Refusal};
use crate::store::{Store, StoreError, Submitted};

/// The live jobs and all that acts on them.
#[derive(Debug)]
pub struct Dispatcher {
    store: Store,
    jobs: Jobs,
    lineup: Mutex<Lineup>,
    /// Told when a job has to start before all others that wait.
    new_first_deadline: Notify,
    runner: job::Runner,
    clients: watch::Receiver<ClientLimits>,
    /// Submissions and jobs under way.
    tasks: TaskTracker,
    /// Cancelled when no new calls are taken.
    closed: CancellationToken,
    /// Cancelled when running jobs have to end at once.
    interrupt: CancellationToken,
}

/// What has to be decided together when a job comes, starts or goes.
#[derive(Debug)]
struct Lineup {
    queues: Queues,
    /// Of jobs that wait.
    deadlines: Due<Instant>,
    /// Jobs that wait for a word of the operator, and are in no queue.
    held: HashMap<JobId, LiveRecord>,
    next_sequence: u64,
    /// No new calls are taken.
    closed: bool,
}

/// A job that has a place or waits for one, and is not recorded yet.
struct Admitted {
    live: Arc<LiveJob>,
    call: CallRecord,
    record: LiveRecord,
    unless_since: Option<u64>,
}

/// What a submission has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Whether an earlier submission with the same key had made it.
    pub existing: bool,
}

impl Dispatcher {
    /// A dispatcher without live jobs. `next_sequence` is greater than that of any live
    /// job in the store.
    #[must_use]
    pub fn new(
        store: Store,
        hosts: Arc<Hosts>,
        rules: watch::Receiver<Arc<Rules>>,
        clients: watch::Receiver<ClientLimits>,
        audit: Audit,
        next_sequence: u64,
    ) -> Arc<Dispatcher> {
        let interrupt = CancellationToken::new();
        Arc::new(Dispatcher {
            runner: job::Runner::new(store.clone(), hosts, rules, audit, interrupt.clone()),
            store,
            jobs: Jobs::default(),
            lineup: Mutex::new(Lineup {
                queues: Queues::default(),
                deadlines: Due::default(),
                held: HashMap::new(),
                next_sequence,
                closed: false,
            }),
            new_first_deadline: Notify::new(),
            clients,
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            interrupt,
        })
    }

    /// The live jobs.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The store behind them.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Accepts a call and returns its job once that is on disk: a new one, or the one
    /// that its key stands for.
    ///
    /// Cancel safe in this sense: once begun, the submission goes on when the future is
    /// dropped; the job then exists although nobody was told its id. `told` is told what has
    /// come of it all the same.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closing`], [`Refusal::Full`], [`Refusal::KeyTaken`], or
    /// [`Refusal::CallNotRecorded`] with what is known of the job.
    pub async fn submit(
        self: &Arc<Self>,
        call: NewCall,
        client: Option<&Identity>,
        told: impl FnOnce(&Result<Accepted, Refusal>) + Send + 'static,
    ) -> Result<Accepted, Refusal> {
        // Counted from before the check, so that a stop waits for it.
        let counted = self.tasks.token();
        let admitted = match self.admit(call, client) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let refused = Err(refusal);
                told(&refused);
                return refused;
            }
        };
        let live = Arc::clone(&admitted.live);
        let dispatcher = Arc::clone(self);
        let recording = async move {
            let _counted = counted;
            let recorded = dispatcher.record(admitted).await;
            told(&recorded);
            recorded
        };
        // Whoever has submitted it stands in the log.
        match tokio::spawn(recording.in_current_span()).await {
            Ok(answer) => answer,
            // A fault of this program in one submission must not block its queue.
            Err(panic) => {
                self.forget(&live);
                Err(Refusal::CallNotRecorded {
                    may_exist: true,
                    why: panic.to_string(),
                })
            }
        }
    }

    fn admit(&self, call: NewCall, client: Option<&Identity>) -> Result<Admitted, Refusal> {
        let submitted = clock::now();
        let id = JobId::submitted_at(submitted);
        let mut lineup = self.lineup();
        if lineup.closed {
            return Err(Refusal::Closing);
        }
        let max_live_jobs = self.clients.borrow().max_live_jobs;
        if self.jobs.count() >= max_live_jobs {
            return Err(Refusal::Full(Full::LiveJobs(max_live_jobs)));
        }
        let max_queue_length = self.clients.borrow().max_queue_length;
        if let Some(queue) = &call.queue
            && lineup.queues.waiting(&queue.name) >= max_queue_length
        {
            return Err(Refusal::Full(Full::Queue(max_queue_length)));
        }
        let sequence = lineup.next_sequence;
        lineup.next_sequence += 1;
        let (queue, runs) = match call.queue {
            None => (None, true),
            Some(queue) => {
                let joined = lineup
                    .queues
                    .join(&queue.name, queue.concurrency, id, sequence);
                let queue = QueueRecord {
                    name: queue.name,
                    concurrency: joined.concurrency,
                };
                (Some(queue), joined.runs)
            }
        };
        let record = LiveRecord {
            sequence,
            queue: queue.clone(),
            submitted,
            started: runs.then_some(submitted),
            start_by: call.start_by,
        };
        let live = LiveJob::new(id, &record);
        self.jobs.insert(Arc::clone(&live));
        Ok(Admitted {
            live,
            record,
            call: CallRecord {
                host: call.host,
                procedure: call.procedure,
                arguments: call.arguments,
                info: call.info,
                timeout: call.timeout,
                max_exec_time: call.max_exec_time,
                queue,
                client: client.map(|client| client.as_str().to_owned()),
                key: call.key,
                submitted,
            },
            unless_since: call.unless_since,
        })
    }

    async fn record(self: Arc<Self>, admitted: Admitted) -> Result<Accepted, Refusal> {
        let (job, existing) = match self.try_to_record(&admitted).await {
            Ok(Submitted::Now) => (self.recorded(admitted), false),
            Ok(Submitted::Before(job)) => {
                self.forget(&admitted.live);
                info!(%job, "submitted again under its key");
                (job, true)
            }
            Ok(Submitted::KeyTaken) => {
                self.forget(&admitted.live);
                return Err(Refusal::KeyTaken);
            }
            Err(error) => {
                let may_exist = matches!(error, StoreError::UnknownOutcome(_));
                let why = error.to_string();
                match may_exist {
                    true => drop(self.tasks.spawn(Arc::clone(&self).find_out(admitted))),
                    false => self.forget(&admitted.live),
                }
                return Err(Refusal::CallNotRecorded { may_exist, why });
            }
        };
        Ok(Accepted { job, existing })
    }

    async fn try_to_record(&self, admitted: &Admitted) -> Result<Submitted, StoreError> {
        let Admitted {
            live,
            call,
            record,
            unless_since,
        } = admitted;
        let submitted = self.store.submit_once(live.id, call, record, *unless_since);
        submitted.await.inspect_err(|error| {
            warn!(job = %live.id, host = call.host, procedure = call.procedure, %error, "job not recorded");
        })
    }

    /// Finds out about a job that may be on disk or not, as soon as the store can be
    /// written again, and sees to it that it is: were it there without anybody knowing,
    /// it would be stuck until the next start. A stop leaves it to that start.
    async fn find_out(self: Arc<Self>, admitted: Admitted) {
        let mut pause = Duration::from_millis(100);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                () = self.closed.cancelled() => return,
            }
            match self.try_to_record(&admitted).await {
                Ok(Submitted::Now) => {
                    self.recorded(admitted);
                    return;
                }
                Ok(Submitted::Before(_) | Submitted::KeyTaken)
                | Err(StoreError::Refused { .. }) => return self.forget(&admitted.live),
                Err(StoreError::Closed) => return,
                // It may still be on disk, also where that cannot be read.
                Err(_) => {}
            }
        }
    }

    /// Lets a job go its way that is on disk now.
    fn recorded(self: &Arc<Self>, admitted: Admitted) -> JobId {
        let Admitted {
            live, call, record, ..
        } = admitted;
        let id = live.id;
        info!(
            job = %id, host = call.host, procedure = call.procedure,
            queue = live.queue.as_ref().map(tracing::field::display), "job accepted"
        );
        if let Some(started) = record.started {
            let call = Box::new(call);
            self.start(live, Start::Recorded { call, started });
        } else if let Some(queue) = &live.queue {
            let mut lineup = self.lineup();
            self.await_start(&mut lineup, &live);
            let next = lineup.queues.ready(queue, live.sequence);
            drop(lineup);
            self.start_promoted(next);
            if live.is_cancel_requested() {
                self.end_if_waiting(&live, Outcome::Cancelled);
            }
        }
        id
    }

    /// Takes a job back that is not recorded.
    fn forget(self: &Arc<Self>, live: &LiveJob) {
        self.jobs.remove(live.id);
        if let Some(queue) = &live.queue {
            let next = self
                .lineup()
                .queues
                .undo_join(queue, live.id, live.sequence);
            self.start_promoted(next);
        }
    }

    /// Enters a job again that waited when the dispatcher stopped. To be called in the
    /// order of the jobs' sequence numbers, before the first submission.
    pub fn resume(self: &Arc<Self>, id: JobId, record: LiveRecord) {
        let live = self.enter_waiting(id, &record);
        self.line_up(live, record);
    }

    /// Enters a job among the live ones that waited when the dispatcher stopped.
    fn enter_waiting(&self, id: JobId, record: &LiveRecord) -> Arc<LiveJob> {
        let waited = Duration::from_millis(clock::now().saturating_sub(record.submitted));
        let live = LiveJob::waiting_since(id, record, waited);
        self.jobs.insert(Arc::clone(&live));
        live
    }

    /// Ends a job that could not start in time; true if it could not.
    fn ends_overdue(self: &Arc<Self>, live: &Arc<LiveJob>) -> bool {
        let Some(outcome) = job::overdue(live) else {
            return false;
        };
        let (dispatcher, live) = (Arc::clone(self), Arc::clone(live));
        self.tasks
            .spawn(async move { dispatcher.end_unstarted(&live, outcome).await });
        true
    }

    /// Puts a job that waits at its place in its queue, or starts it.
    fn line_up(self: &Arc<Self>, live: Arc<LiveJob>, record: LiveRecord) {
        if self.ends_overdue(&live) {
            return;
        }
        let LiveRecord {
            sequence, queue, ..
        } = record;
        let Some(queue) = queue else {
            return self.start(live, Start::ToRecord);
        };
        let id = live.id;
        let mut lineup = self.lineup();
        let mut start = Vec::new();
        if lineup
            .queues
            .join(&queue.name, queue.concurrency, id, sequence)
            .runs
        {
            start.push(id);
        } else {
            self.await_start(&mut lineup, &live);
            start = lineup.queues.ready(&queue.name, sequence);
        }
        drop(lineup);
        self.start_promoted(start);
        // Somebody may have asked for that before it was there.
        if live.is_cancel_requested() {
            self.end_if_waiting(&live, Outcome::Cancelled);
        }
    }

    /// Keeps a place in a queue until a time, for a job whose host may still be busy with
    /// it after a crash. A stop before that leaves the place to the next start.
    pub fn hold_place(self: &Arc<Self>, id: JobId, queue: QueueRecord, until: Instant) {
        self.lineup()
            .queues
            .hold(&queue.name, queue.concurrency, id);
        self.release_at(until, id, queue.name);
    }

    /// Gives a place that is kept back at this time.
    fn release_at(self: &Arc<Self>, until: Instant, id: JobId, queue: QueueName) {
        let dispatcher = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = dispatcher.closed.cancelled() => return,
            }
            job::release_place(&dispatcher.store, id).await;
            let next = dispatcher.lineup().queues.leave(&queue, id);
            dispatcher.start_promoted(next);
        });
    }

    /// Cancels a job and waits until its end is on disk. True if that end is the
    /// cancellation; false if the job had ended before, or there is none.
    ///
    /// Cancel safe: once begun, the cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::EndNotRecorded`].
    pub async fn cancel(self: &Arc<Self>, id: JobId) -> Result<bool, Refusal> {
        match self.jobs.get(id) {
            Some(live) => self.cancel_live(&live).await,
            None => Ok(false),
        }
    }

    async fn cancel_live(self: &Arc<Self>, live: &Arc<LiveJob>) -> Result<bool, Refusal> {
        live.request_cancel();
        self.end_if_waiting(live, Outcome::Cancelled);
        match live.ended_or_unrecorded().await {
            Some(outcome) => Ok(*outcome == Outcome::Cancelled),
            None => Err(Refusal::EndNotRecorded {
                why: "the end of the job cannot be recorded at present",
            }),
        }
    }

    /// Ends a job that waits in its queue; one that runs ends itself.
    fn end_if_waiting(self: &Arc<Self>, live: &Arc<LiveJob>, outcome: Outcome) {
        let mut lineup = self.lineup();
        let next = match &live.queue {
            _ if lineup.held.remove(&live.id).is_some() => Vec::new(),
            Some(queue) if lineup.queues.withdraw(queue, live.sequence) => {
                lineup.queues.advance(queue)
            }
            _ => return,
        };
        if let Some(start_by) = live.start_by {
            lineup.deadlines.remove(start_by.by, live.id);
        }
        drop(lineup);
        self.start_promoted(next);
        let dispatcher = Arc::clone(self);
        let live = Arc::clone(live);
        info!(job = %live.id, outcome = outcome.name(), "job ended in its queue");
        self.tasks
            .spawn(async move { dispatcher.end_unstarted(&live, outcome).await });
    }

    fn start_promoted(self: &Arc<Self>, jobs: Vec<JobId>) {
        // Whatever waits in a queue is among the live jobs.
        for live in jobs.into_iter().filter_map(|id| self.jobs.get(id)) {
            self.start(live, Start::ToRecord);
        }
    }

    /// Runs a job that has its place, and gives the place back when the host is done.
    fn start(self: &Arc<Self>, live: Arc<LiveJob>, start: Start) {
        let dispatcher = Arc::clone(self);
        // What is recorded later stands in every line from then on.
        let span = info_span!(
            parent: None, "job", job = %live.id, host = Empty, procedure = Empty, error = Empty
        );
        // One whose start is recorded has started in time.
        let late = match start {
            Start::Recorded { .. } => None,
            Start::ToRecord => {
                if let Some(start_by) = live.start_by {
                    self.lineup().deadlines.remove(start_by.by, live.id);
                }
                job::overdue(&live)
            }
        };
        let job = async move {
            let kept = match late {
                Some(outcome) => {
                    dispatcher.end_unstarted(&live, outcome).await;
                    None
                }
                None => dispatcher.runner.run(&live, start, &dispatcher.jobs).await,
            };
            match (&live.queue, kept) {
                (None, _) => {}
                (Some(queue), Some(until)) => dispatcher.release_at(until, live.id, queue.clone()),
                (Some(queue), None) => {
                    let next = dispatcher.lineup().queues.leave(queue, live.id);
                    dispatcher.start_promoted(next);
                }
            }
        };
        self.tasks.spawn(job.instrument(span));
    }

    /// Takes no new calls and starts no waiting job any more.
    pub fn close(&self) {
        let mut lineup = self.lineup();
        lineup.closed = true;
        lineup.queues.close();
        self.closed.cancel();
        self.tasks.close();
    }

    /// After [`Dispatcher::close`]: waits until nothing runs. Cancel safe.
    pub async fn idle(&self) {
        self.tasks.wait().await;
    }

    /// Ends every running job with `missing_result`.
    pub fn interrupt(&self) {
        self.interrupt.cancel();
    }

    fn lineup(&self) -> MutexGuard<'_, Lineup> {
        // A std mutex: held for a few map operations, never across an await.
        self.lineup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
