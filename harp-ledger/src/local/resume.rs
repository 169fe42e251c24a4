//! Jobs that wait for a word of the operator, since they came with a copy of a store.

use std::time::Duration;

use harp_jobs::lineup::Entrant;
use harp_jobs::record::LiveRecord;
use harp_jobs::world::Moment;
use harp_values::{JobId, QueueName};
use tracing::info;

use super::held::Held;
use super::{Local, State};
use crate::store::StoreError;

impl Local {
    /// Lets the held jobs wait in their queues again, those without a queue start, and
    /// returns how many there were.
    ///
    /// Dropping the future may leave them held in memory, and to be resumed by the next
    /// start.
    ///
    /// # Errors
    ///
    /// If that cannot be recorded; then the next start may resume them, and in this life they
    /// stay held.
    pub async fn resume_held(&self) -> Result<usize, StoreError> {
        if self.state().takes_nothing {
            return Err(StoreError::Closed);
        }
        self.0.store.release_held().await?;
        let mut state = self.state();
        let held = state.held.take_all();
        let count = held.len();
        info!(jobs = count, "held jobs resumed, as an administrator asked");
        for (job, Held { record, start_by }) in held {
            self.line_up(&mut state, job, record, start_by);
        }
        Ok(count)
    }

    /// How many jobs are held.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.state().held.count()
    }

    /// Whether the job is held.
    #[must_use]
    pub fn is_held(&self, job: JobId) -> bool {
        self.state().held.contains(job)
    }

    /// The held jobs of a queue in their order.
    #[must_use]
    pub fn held_members(&self, name: &QueueName) -> Vec<JobId> {
        self.state().held.of_queue(name)
    }

    /// Lets a job wait again that was on record at the start.
    pub(super) fn line_up(
        &self,
        state: &mut State,
        job: JobId,
        record: LiveRecord,
        start_by: Option<Moment>,
    ) {
        let wall = self.0.world.wall();
        let not_before = record.not_before.filter(|at| *at > wall);
        let moment = |at: u64| self.0.world.now() + Duration::from_millis(at - wall);
        let entrant = Entrant {
            id: job,
            queue: record.queue,
            start_by,
            pool: record.pool,
        };
        let not_before = not_before.map(moment);
        let turns = state.lineup.resume(entrant, record.sequence, not_before);
        self.give(state, turns);
        self.0.timer.notify_one();
    }

    /// By when a job must have started that was submitted before this dispatcher began. A
    /// time to start is for the first attempt.
    pub(super) fn start_by(&self, record: &LiveRecord) -> Option<Moment> {
        let seconds = record.start_by.filter(|_| record.attempt == 1)?;
        let waited = self.0.store.elapsed_since(record.submitted);
        let left = Duration::from_secs(seconds).saturating_sub(waited);
        Some(self.0.world.now() + left)
    }
}
