//! Pools: jobs that have their turn and are fetched by workers. Pure state.
//!
//! A job in a pool holds its places in its queues and belongs to nobody until it is claimed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use harp_values::JobId;
use serde::{Deserialize, Serialize};

/// The name of a pool: that of the service whose workers fetch its jobs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct PoolId(pub Arc<str>);

impl From<String> for PoolId {
    fn from(name: String) -> PoolId {
        PoolId(name.into())
    }
}

impl From<PoolId> for String {
    fn from(pool: PoolId) -> String {
        pool.0.as_ref().to_owned()
    }
}

/// Which job of a pool is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The one that is first by the order of the submissions.
    First,
    /// This one.
    Job(JobId),
}

/// All pools that have a job, each in the order of the sequence numbers.
#[derive(Debug, Default)]
pub struct Pools {
    pools: HashMap<PoolId, BTreeMap<u64, JobId>>,
    /// How often a job has been entered.
    entered: u64,
}

impl Pools {
    /// Enters a job that has its turn.
    pub fn add(&mut self, pool: &PoolId, sequence: u64, id: JobId) {
        let jobs = self.pools.entry(pool.clone()).or_default();
        jobs.insert(sequence, id);
        self.entered += 1;
    }

    /// How often a job has been entered.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// Takes a job out. False if it is not there.
    pub fn remove(&mut self, pool: &PoolId, sequence: u64) -> bool {
        let Some(jobs) = self.pools.get_mut(pool) else {
            return false;
        };
        let was_there = jobs.remove(&sequence).is_some();
        if jobs.is_empty() {
            self.pools.remove(pool);
        }
        was_there
    }

    /// The first job of a pool.
    #[must_use]
    pub fn first(&self, pool: &PoolId) -> Option<JobId> {
        self.pools.get(pool)?.values().next().copied()
    }

    /// The jobs of a pool in their order, at most so many.
    #[must_use]
    pub fn members(&self, pool: &PoolId, most: usize) -> Vec<JobId> {
        let jobs = self.pools.get(pool).into_iter();
        jobs.flat_map(BTreeMap::values)
            .take(most)
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_fetched_in_the_order_of_their_submission_and_once() {
        let id = |number: u64| JobId::from_bytes(u128::from(number).to_be_bytes());
        let pool = PoolId("train".into());
        let mut pools = Pools::default();
        for number in [3, 1, 2] {
            pools.add(&pool, number, id(number));
        }
        assert_eq!(pools.members(&pool, 2), [id(1), id(2)]);
        assert_eq!(pools.entered(), 3);
        assert_eq!(pools.first(&pool), Some(id(1)));
        assert!(pools.remove(&pool, 1) && !pools.remove(&pool, 1));
        assert_eq!(pools.first(&pool), Some(id(2)));
        assert!(pools.remove(&pool, 2) && pools.remove(&pool, 3));
        assert_eq!(pools.first(&pool), None);
        assert!(pools.pools.is_empty());
    }
}
