//! Ending jobs that have not started: because somebody wants it, or their time is over.

use std::sync::Arc;

use harp_jobs::ledger::*;
use harp_jobs::record::EndRecord;
use harp_values::{JobId, Outcome};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Local, State, lost, unexpected};
use crate::store::{Change, Deed, Done, How, Made, Reply, StoreError};

/// Ends that are written at once: others write in between.
const AT_ONCE: usize = 256;

impl Local {
    pub(super) fn take_out(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost> {
        let mut state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        let (jobs, turns) = match which {
            Which::Jobs(jobs) => state.leave(jobs),
            Which::Pool(pool) => state.lineup.withdraw_pool(&pool),
            Which::Queue(name) => {
                let mut jobs = state.held.of_queue(&name);
                for job in &jobs {
                    state.held.take(*job);
                }
                let (waiting, turns) = state.lineup.withdraw_queue(&name);
                jobs.extend(waiting);
                info!(queue = %name, waiting = jobs.len(), "queue cancelled");
                (jobs, turns)
            }
        };
        if jobs.is_empty() {
            return Answer::now(Ok(jobs));
        }
        let (answer, receipt) = Local::receipt();
        self.end_unstarted(&mut state, jobs, &outcome, Some(answer));
        self.give(&state, turns);
        receipt
    }

    /// Writes the ends of jobs that are out of the lineup.
    pub(super) fn end_unstarted(
        &self,
        state: &mut State,
        jobs: Vec<JobId>,
        outcome: &Outcome,
        answer: Option<oneshot::Sender<Result<Vec<JobId>, Lost>>>,
    ) {
        let text = outcome.to_json();
        let how = || How::With(outcome.clone(), text.clone());
        let size = text.as_bytes().len();
        self.write_ends(state, &jobs, size, how);
        if let Some(answer) = answer {
            // Behind all of them.
            let all = Withdrawn { jobs, answer };
            let change = Change::Deed(Deed::Withdraw {
                jobs: Vec::new(),
                how: how(),
                at: 0,
            });
            self.0.store.push(JobId::NONE, 0, change, Box::new(all));
        }
    }

    /// Ends jobs whose time to start is over.
    pub(super) fn end_late(&self, state: &mut State, jobs: &[JobId]) {
        self.write_ends(state, jobs, 0, || How::Late);
    }

    fn write_ends(&self, state: &mut State, jobs: &[JobId], size: usize, how: impl Fn() -> How) {
        state.leaving.extend(jobs);
        let at = self.0.world.wall();
        for jobs in jobs.chunks(AT_ONCE) {
            let leaving = Leaving {
                ledger: self.clone(),
                jobs: jobs.to_vec(),
                is_told: false,
            };
            let (first, jobs) = (jobs[0], jobs.to_vec());
            let (size, how) = (jobs.len() * size, how());
            let change = Change::Deed(Deed::Withdraw { jobs, how, at });
            self.0.store.push(first, size, change, Box::new(leaving));
        }
    }
}

impl State {
    /// Takes those out that have not started; with them, who has a turn instead.
    fn leave(&mut self, jobs: Vec<JobId>) -> (Vec<JobId>, Vec<JobId>) {
        let (mut taken, mut turns) = (Vec::new(), Vec::new());
        for job in jobs {
            if self.held.take(job).is_some() {
                taken.push(job);
            } else if let Some(next) = self.lineup.withdraw(job) {
                taken.push(job);
                turns.extend(next);
            }
        }
        // One that has its turn by an end before it, and ends with it.
        turns.retain(|job| !taken.contains(job));
        (taken, turns)
    }
}

/// Ends on their way to the disk.
struct Leaving {
    ledger: Local,
    jobs: Vec<JobId>,
    /// The log has it that they cannot be recorded.
    is_told: bool,
}

impl Reply for Leaving {
    fn put_off(&mut self, error: &StoreError) -> bool {
        if !std::mem::replace(&mut self.is_told, true) {
            for job in &self.jobs {
                warn!(%job, %error, "the end of the job cannot be recorded, trying again");
            }
        }
        true
    }

    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let mut state = self.ledger.state();
        for job in &self.jobs {
            state.leaving.remove(job);
        }
        match done {
            Ok(Done::Made(Made::Withdrawn(ends))) => state.withdrawn(ends),
            Ok(_) | Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, "a job cannot be ended before its start"),
        }
    }
}

impl State {
    fn withdrawn(&mut self, ends: Vec<(JobId, Arc<EndRecord>)>) {
        for (job, end) in ends {
            self.again.remove(&job);
            let at = end.ended;
            self.changed(job, What::Ended(end), at);
        }
    }
}

/// Those that wait for all of the ends.
struct Withdrawn {
    jobs: Vec<JobId>,
    answer: oneshot::Sender<Result<Vec<JobId>, Lost>>,
}

impl Reply for Withdrawn {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(match done {
            Ok(Done::Made(Made::Withdrawn(_))) => Ok(self.jobs),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(lost(error)),
        });
    }
}
