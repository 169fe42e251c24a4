//! Jobs of pools in the lineup: claimed by workers, withdrawn together.

use harp_values::JobId;

use super::pool::{Pick, PoolId};
use super::{Lineup, Stands, Turns};

impl Lineup {
    /// Starts a job of a pool. `None` if it is not there any more.
    pub fn claim(&mut self, pool: &PoolId, pick: Pick) -> Option<JobId> {
        let id = match pick {
            Pick::First => self.pools.first(pool)?,
            Pick::Job(id) => id,
        };
        let is_there = self.jobs.get(&id).is_some_and(|entry| {
            entry.stands == Stands::HasTurn && entry.pool.as_ref() == Some(pool)
        });
        (is_there && self.start(id)).then_some(id)
    }

    /// Takes out all jobs of a pool that have not started and are on record, in their order.
    /// Then the jobs that have a turn instead.
    pub fn withdraw_pool(&mut self, pool: &PoolId) -> (Vec<JobId>, Turns) {
        let jobs = self.jobs.iter();
        let mut taken: Vec<(u64, JobId)> = jobs
            .filter(|(_, entry)| entry.pool.as_ref() == Some(pool))
            .filter(|(_, entry)| matches!(entry.stands, Stands::Waits | Stands::HasTurn))
            .map(|(id, entry)| (entry.sequence, *id))
            .collect();
        taken.sort_unstable();
        let mut turns = Turns::new();
        // Those that wait go before a place becomes free.
        for (_, id) in taken.iter().rev() {
            turns.extend(self.take_out(*id));
        }
        (taken.into_iter().map(|(_, id)| id).collect(), turns)
    }

    /// How often a job has come into a pool.
    #[must_use]
    pub fn offers(&self) -> u64 {
        self.pools.entered()
    }

    /// The jobs of a pool in their order, at most so many.
    #[must_use]
    pub fn pool_members(&self, pool: &PoolId, most: usize) -> Vec<JobId> {
        self.pools.members(pool, most)
    }
}
