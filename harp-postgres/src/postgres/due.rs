//! One timer for all jobs that wait for a time, as far as this node sees to it: those that came in
//! here, have had a turn here, or were seen to by a node that is gone. Several may see to one.

use std::collections::HashMap;
use std::time::Duration;

use harp_jobs::failures;
use harp_jobs::ledger::Which;
use harp_jobs::lineup::due::Due;
use harp_jobs::world::Moment;
use harp_values::{JobId, Outcome};

use super::Postgres;
use crate::act::Act;
use crate::lanes::Reach;

/// What is waited for by the clock.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// By when jobs must have started.
    start_by: Due,
    /// The moment, and the seconds that it was after the submission.
    limits: HashMap<JobId, (Moment, u64)>,
    /// From when on jobs may start again.
    not_before: Due,
    /// The moment, and what the database has of it.
    pauses: HashMap<JobId, (Moment, u64)>,
}

impl Times {
    pub(super) fn start_by(&mut self, job: JobId, moment: Moment, seconds: u64) {
        if let Some((before, _)) = self.limits.insert(job, (moment, seconds)) {
            self.start_by.remove(before, job);
        }
        _ = self.start_by.add(moment, job);
    }

    /// A job has started, or ended.
    pub(super) fn started(&mut self, job: JobId) {
        if let Some((moment, _)) = self.limits.remove(&job) {
            self.start_by.remove(moment, job);
        }
    }

    /// `wall` is the time as the database has it, in milliseconds since 1970.
    pub(super) fn not_before(&mut self, job: JobId, moment: Moment, wall: u64) {
        if let Some((before, _)) = self.pauses.insert(job, (moment, wall)) {
            self.not_before.remove(before, job);
        }
        _ = self.not_before.add(moment, job);
    }

    fn first(&self) -> Moment {
        let (start_by, not_before) = (self.start_by.first(), self.not_before.first());
        let first = start_by.into_iter().chain(not_before).min();
        first.unwrap_or(Moment::NEVER)
    }
}

impl Postgres {
    /// Ends those that did not start in time, and lets those go on that waited for theirs.
    /// Completes when the ledger is closed.
    pub(super) async fn serve_the_due(self) {
        loop {
            let first = {
                let state = self.state();
                if state.is_closed {
                    return;
                }
                state.times.first()
            };
            let world = &self.0.world;
            tokio::select! {
                biased;
                () = self.0.timer.notified() => continue,
                () = world.sleep(first) => {}
            }
            self.take_due();
        }
    }

    fn take_due(&self) {
        let now = self.0.world.now();
        let mut state = self.state();
        for job in state.times.start_by.take_due(now) {
            let Some((_, seconds)) = state.times.limits.remove(&job) else {
                continue;
            };
            let act = Act::Withdraw {
                id: self.number(),
                which: Which::Jobs(vec![job]),
                // Others may have run it by now.
                is_first: true,
                outcome: Outcome::Error(failures::not_started(seconds)),
                at: self.wall(),
                answer: None,
            };
            state.wait(act, Reach::Everything);
        }
        for job in state.times.not_before.take_due(now) {
            if let Some((_, not_before)) = state.times.pauses.remove(&job) {
                state.wait(Act::Ready { job, not_before }, Reach::Everything);
            }
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// The moment of a time by the wall clock; now if it is over.
    pub(super) fn moment_of(&self, wall: u64) -> Moment {
        let left = Duration::from_millis(wall.saturating_sub(self.wall()));
        self.0.world.now() + left
    }
}
