//! Carrying out what the ledger decides: the jobs that have their turn are run, those that
//! are ended before it have their ends recorded. Around it, what is asked of jobs that live.
//!
//! A job's place is given back when [`job::Runner::run`] returns, or later if its host may
//! not know of the end.

mod news;
mod queues;

use std::sync::{Arc, Mutex};

use harp_proto::{JobId, Outcome};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, info_span};

use crate::audit::Audit;
use crate::call::NewCall;
use crate::client::Identity;
use crate::hosts::Hosts;
use crate::job::{self, Start};
use crate::jobs::{Jobs, LiveJob, Visit};
use crate::ledger::{Accepted, Ledger, Told};
use crate::limits::ClientLimits;
use crate::record::{LiveRecord, QueueRecord};
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::store::Store;

/// The ledger, the handles of jobs, and all that acts on them.
#[derive(Debug)]
pub struct Dispatcher {
    store: Store,
    ledger: Ledger,
    /// Until they are served.
    news: Mutex<Option<mpsc::UnboundedReceiver<Told>>>,
    jobs: Jobs,
    runner: job::Runner,
    /// Submissions, jobs under way, and news of these.
    tasks: TaskTracker,
    /// Cancelled when no new calls are taken.
    closed: CancellationToken,
    /// Cancelled when running jobs have to end at once.
    interrupt: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher without live jobs, to be [served](Dispatcher::serve). `next_sequence` is
    /// greater than that of any live job in the store.
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
        let tasks = TaskTracker::new();
        let last_sequence = next_sequence.saturating_sub(1);
        let (ledger, news) = Ledger::new(store.clone(), clients, tasks.clone(), last_sequence);
        Arc::new(Dispatcher {
            runner: job::Runner::new(store.clone(), hosts, rules, audit, interrupt.clone()),
            store,
            jobs: Jobs::new(ledger.clone()),
            ledger,
            news: Mutex::new(Some(news)),
            tasks,
            closed: CancellationToken::new(),
            interrupt,
        })
    }

    /// The handles of jobs that are run here or waited for.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What decides.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The store behind them.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Accepts a call, as [`Ledger::accept`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Ledger::accept`].
    pub async fn submit(
        &self,
        call: NewCall,
        client: Option<&Identity>,
        told: impl FnOnce(&Result<Accepted, Refusal>) + Send + 'static,
    ) -> Result<Accepted, Refusal> {
        self.ledger.accept(call, client, told).await
    }

    /// Enters a job again that waited when the dispatcher stopped. To be called in the
    /// order of the jobs' sequence numbers, before the first submission.
    pub fn resume(&self, id: JobId, record: LiveRecord) {
        self.ledger.resume(id, record);
    }

    /// Keeps a place in a queue until a time, for a job whose host may still be busy with
    /// it after a crash. A stop before that leaves the place to the next start.
    pub fn hold_place(
        self: &Arc<Self>,
        id: JobId,
        queue: QueueRecord,
        sequence: u64,
        until: Instant,
    ) {
        self.ledger.keep(id, queue, sequence);
        self.release_at(until, id);
    }

    /// Gives a place that is kept back at this time.
    fn release_at(self: &Arc<Self>, until: Instant, id: JobId) {
        let dispatcher = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = dispatcher.closed.cancelled() => return,
            }
            job::release_place(&dispatcher.store, id).await;
            dispatcher.ledger.settle(id);
        });
    }

    /// Cancels a job and waits until its end is on disk. The job, if that end is the
    /// cancellation; `None` if the job had ended before, or there is none.
    ///
    /// Cancel safe: once begun, the cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::EndNotRecorded`].
    pub async fn cancel(&self, id: JobId) -> Result<Option<Visit>, Refusal> {
        // The wish comes first, for whoever has the job or is about to have it.
        let live = self.jobs.visit(id);
        live.request_cancel();
        let is_there = self.ledger.withdraw(id, Outcome::Cancelled)
            || self.ledger.is_live(id)
            || live.is_owned();
        let known = live.watch().borrow().outcome.clone();
        let outcome = match known {
            Some(outcome) => Some(outcome),
            None if is_there => live.ended_or_unrecorded().await,
            None => return Ok(None),
        };
        match outcome {
            Some(outcome) => Ok((*outcome == Outcome::Cancelled).then_some(live)),
            None => Err(Refusal::EndNotRecorded {
                why: "the end of the job cannot be recorded at present",
            }),
        }
    }

    /// Runs a job that has its turn, and gives the place back when the host is done.
    fn start(self: &Arc<Self>, live: Arc<LiveJob>, start: Start) {
        let dispatcher = Arc::clone(self);
        // What is recorded later stands in every line from then on.
        let span = info_span!(
            parent: None, "job", job = %live.id, host = Empty, procedure = Empty, error = Empty
        );
        // One whose start is recorded has started in time.
        let late = match start {
            Start::Recorded { .. } => None,
            Start::ToRecord => job::overdue(&live),
        };
        let job = async move {
            let kept = match late {
                Some(outcome) => {
                    dispatcher.end_unstarted(&live, outcome).await;
                    None
                }
                None => dispatcher.runner.run(&live, start, &dispatcher.jobs).await,
            };
            match kept {
                Some(until) => dispatcher.release_at(until, live.id),
                None => dispatcher.ledger.settle(live.id),
            }
        };
        self.tasks.spawn(job.instrument(span));
    }

    /// Ends a job that has not started, and will not.
    async fn end_unstarted(&self, live: &LiveJob, outcome: Outcome) {
        let end = job::End {
            started: None,
            packets: 0,
            outcome,
        };
        self.runner.end_waiting(live, end, &self.jobs).await;
    }

    /// Takes no new calls and starts no waiting job any more.
    pub fn close(&self) {
        self.ledger.close();
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
}
