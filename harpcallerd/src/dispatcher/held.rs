//! Jobs that wait for a word of the operator: they waited in a store that is a copy, and
//! the dispatcher of the original may have run them ([`Store::held`](crate::store::Store::held)).
//!
//! A held job is live: it can be looked at, waited for and cancelled, and its `start_by`
//! holds. It is in no queue, so those that come later do not wait for it; when it is
//! resumed it takes its old place, before them.

use std::sync::Arc;

use harp_proto::{JobId, QueueName};
use tracing::info;

use super::Dispatcher;
use crate::record::LiveRecord;
use crate::refusal::Refusal;

impl Dispatcher {
    /// Enters a job that is held. To be called before the first submission.
    pub fn hold(self: &Arc<Self>, id: JobId, record: LiveRecord) {
        let live = self.enter_waiting(id, &record);
        if self.ends_overdue(&live) {
            return;
        }
        let mut lineup = self.lineup();
        lineup.held.insert(id, record);
        self.await_start(&mut lineup, &live);
    }

    /// Lets the held jobs wait in their queues again, those without a queue start, and
    /// returns how many there were.
    ///
    /// Dropping the future may leave them held in memory, and to be resumed by the next
    /// start.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closing`]; [`Refusal::Storage`], and then the next start may resume them. In
    /// this life they stay held.
    pub async fn resume_held(self: &Arc<Self>) -> Result<usize, Refusal> {
        if self.lineup().closed {
            return Err(Refusal::Closing);
        }
        let released = self.store().release_held().await;
        released.map_err(Refusal::storage)?;
        let held = std::mem::take(&mut self.lineup().held);
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_unstable_by_key(|(_, record)| record.sequence);
        let count = held.len();
        info!(jobs = count, "held jobs resumed, as an administrator asked");
        for (id, record) in held {
            // One that has been cancelled meanwhile was taken out by that.
            if let Some(live) = self.jobs().get(id) {
                self.line_up(live, record);
            }
        }
        Ok(count)
    }

    /// How many jobs are held.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.lineup().held.len()
    }

    /// Whether the job is held.
    #[must_use]
    pub fn is_held(&self, id: JobId) -> bool {
        self.lineup().held.contains_key(&id)
    }

    /// The held jobs of a queue in their order.
    #[must_use]
    pub fn held_members(&self, name: &QueueName) -> Vec<JobId> {
        self.lineup().held_of(name)
    }
}

impl super::Lineup {
    pub(super) fn held_of(&self, name: &QueueName) -> Vec<JobId> {
        let held = self.held.iter().filter(|(_, record)| {
            record
                .queue
                .as_ref()
                .is_some_and(|queue| queue.name == *name)
        });
        let mut held: Vec<_> = held.map(|(id, record)| (record.sequence, *id)).collect();
        held.sort_unstable();
        held.into_iter().map(|(_, id)| id).collect()
    }
}
