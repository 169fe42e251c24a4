//! A job with all that can be told of it at once: its call, where it stands in its queue, how
//! far it has come, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::access::Operation;
use harp_jobs::call::Accepted;
use harp_jobs::client::Client;
use harp_jobs::jobs::{Ended, Outages};
use harp_jobs::ledger::{Ledger as _, Unreadable};
use harp_jobs::lineup::queue::Place;
use harp_jobs::record::EndRecord;
use harp_jobs::refusal::Refusal;
use harp_values::JobId;
use tokio::time::{Instant, timeout_at};

use super::Desk;
use super::read::Report;

/// Changes of jobs that are looked at together.
const AT_ONCE: usize = 256;

/// How soon a job that others may change is looked at again by whoever waits for a change.
const LOOKED_AT_AGAIN: Duration = Duration::from_millis(500);

/// Jobs that are named as those which hold the places of a queue.
const HOLDERS: usize = 8;

/// The states of a job; it passes them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits.
    Queued,
    /// It is being run.
    Running,
    /// It has ended.
    Ended,
}

/// What a job waits for that is queued, or that its host has taken and does not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// For its place in its queue.
    Queue,
    /// For a worker that claims it.
    Worker,
    /// Until the store can be written.
    Store,
    /// For its host, where as many calls run as may.
    Host,
    /// For a word of the operator: it came with a copy of another store.
    Operator,
}

/// A job as it stands. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub struct View {
    /// Its call and times.
    pub report: Report,
    /// How it ended, if it has.
    pub end: Option<Arc<EndRecord>>,
    /// Packets collected so far.
    pub packets: u64,
    /// Jobs of its queue that must end before it starts, if it waits in one.
    pub ahead: Option<u64>,
    /// If it waits in one: jobs that hold places there, some of them if they are many.
    pub holders: Vec<JobId>,
    /// What it waits for, if it waits.
    pub waiting_for: Option<WaitingFor>,
    /// True if it is a job of a service, which is its procedure.
    pub of_service: bool,
    /// The name that the worker has given itself which has the job, or had it.
    pub worker: Option<String>,
    /// True if it has ended and holds its place in its queue all the same.
    pub place_kept: bool,
}

impl State {
    /// The word of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Ended => "ended",
        }
    }
}

impl WaitingFor {
    /// The word of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WaitingFor::Queue => "queue",
            WaitingFor::Worker => "worker",
            WaitingFor::Store => "store",
            WaitingFor::Host => "host",
            WaitingFor::Operator => "operator",
        }
    }
}

impl View {
    /// Where the job stands.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.report.ended, self.report.started) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Running,
            (None, None) => State::Queued,
        }
    }
}

impl Desk {
    /// A job as it stands. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`].
    pub async fn view(&self, by: &Client, job: JobId) -> Result<View, Refusal> {
        self.permit(by, Operation::Read, job).await?;
        let view = self.look(job).await?;
        view.ok_or(Refusal::NoSuchJob)
    }

    /// A job that the client has just submitted, or found to be there under its key. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`].
    pub async fn view_of_own(&self, accepted: Accepted) -> Result<View, Refusal> {
        let view = self.look(accepted.job).await?;
        view.ok_or(Refusal::NoSuchJob)
    }

    /// A job as it stands as soon as its state is another one than `known`, or at `until`, or
    /// when nobody may wait any more. Cancel safe.
    ///
    /// # Errors
    ///
    /// As for [`Desk::view`].
    pub async fn changed_view(
        &self,
        by: &Client,
        job: JobId,
        known: State,
        until: Instant,
    ) -> Result<View, Refusal> {
        loop {
            let seen = self.changes_seen();
            let view = self.view(by, job).await?;
            let is_over = until <= Instant::now() || self.closing.is_cancelled();
            if view.state() != known || is_over {
                return Ok(view);
            }
            self.state_may_have_changed(job, known, seen, until).await;
        }
    }

    /// How many changes of jobs there have been: to be asked before a job is looked at, and
    /// given to [`Desk::state_may_have_changed`].
    #[must_use]
    pub fn changes_seen(&self) -> u64 {
        *self.changes.newest().borrow()
    }

    /// Completes when a job's state may be another one than `known`, which it was when there
    /// had been so many changes; at the latest at `until`, or when nobody may wait any more.
    /// Cancel safe.
    pub async fn state_may_have_changed(
        &self,
        job: JobId,
        known: State,
        seen: u64,
        until: Instant,
    ) {
        let changed = async {
            match known {
                State::Queued => self.changed_behind(job, seen).await,
                State::Running => drop(self.dispatcher.jobs().wait(job).await),
                State::Ended => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            _ = timeout_at(until, changed) => {}
        }
    }

    /// Completes when a job has changed behind the change of this number.
    async fn changed_behind(&self, job: JobId, mut seen: u64) {
        let mut newest = self.changes.newest();
        // What others do with it nobody here is told: it is looked at again.
        let others_may = self.dispatcher.ledger().elsewhere(&[]).is_some();
        let again = Instant::now() + LOOKED_AT_AGAIN;
        loop {
            // The sender is in `self`, which outlives this.
            let changed = newest.wait_for(|newest| *newest > seen);
            if others_may {
                if timeout_at(again, changed).await.is_err() {
                    return;
                }
            } else {
                let _ = changed.await;
            }
            let Ok(changes) = self.changes.behind(seen, AT_ONCE) else {
                return;
            };
            for change in changes {
                if change.job == job {
                    return;
                }
                seen = change.number;
            }
        }
    }

    /// What there is to see of a job; `None` if there is no such job.
    pub(super) async fn look(&self, job: JobId) -> Result<Option<View>, Unreadable> {
        let Some(report) = self.report(job).await? else {
            return Ok(None);
        };
        self.view_of(report).await
    }

    /// Adds to a report what can be seen beside it; `None` if the job has been pruned since.
    pub(super) async fn view_of(&self, report: Report) -> Result<Option<View>, Unreadable> {
        let mut view = View {
            end: None,
            packets: 0,
            ahead: None,
            holders: Vec::new(),
            waiting_for: None,
            of_service: self.dispatcher.services().is_host(&report.call.host),
            worker: self.worker_of(report.id),
            report,
            place_kept: false,
        };
        let jobs = self.dispatcher.jobs();
        let job = view.report.id;
        match view.state() {
            State::Queued => {}
            State::Running => {
                let mut follower = jobs.follow(job, 0, Outages::Tell);
                if let Ok(Some(known)) = follower.known().await {
                    view.packets = known.packets.unwrap_or_default();
                }
            }
            State::Ended => match jobs.end(job).await? {
                Ended::Yes(end) => {
                    view.packets = end.packets;
                    view.worker.clone_from(&end.remarks.worker);
                    view.end = Some(end);
                }
                // An end that has been shown stays, as long as the job does.
                Ended::NotYet | Ended::Nothing => return Ok(None),
            },
        }
        self.add_place(&mut view).await?;
        Ok(Some(view))
    }

    async fn add_place(&self, view: &mut View) -> Result<(), Unreadable> {
        let state = view.state();
        let ledger = self.dispatcher.ledger();
        if state == State::Queued && ledger.outage().borrow().is_some() {
            view.waiting_for = Some(WaitingFor::Store);
        }
        if state == State::Running {
            let waits = self.contacts.has_waiting(view.report.id);
            view.waiting_for = waits.then_some(WaitingFor::Host);
            return Ok(());
        }
        if view.report.held {
            view.waiting_for.get_or_insert(WaitingFor::Operator);
        }
        match (ledger.place(view.report.id).await?, state) {
            (Some(Place::Held), State::Ended) => view.place_kept = true,
            (Some(Place::Behind(ahead)), State::Queued) => {
                view.ahead = Some(ahead);
                view.waiting_for.get_or_insert(WaitingFor::Queue);
                if let Some(queue) = &view.report.call.queue {
                    view.holders = ledger.holders(&queue.name, HOLDERS).await?;
                }
            }
            (_, State::Queued) if view.of_service => {
                view.waiting_for.get_or_insert(WaitingFor::Worker);
            }
            _ => {}
        }
        Ok(())
    }
}
