//! Looks at one queue that cost no more than what is asked for, however many jobs wait in it.

use std::collections::BTreeSet;

use harp_values::{JobId, QueueName};

use super::{Queue, Queues};

/// Where a job stands among those of its queue, in their order: first those that hold a place,
/// by id, then those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// It holds a place.
    Holds(JobId),
    /// It waits, and has this number in the order of all submissions.
    Waits(u64),
}

/// How many jobs of a queue stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueTally {
    /// How many of its jobs may run at once.
    pub concurrency: u64,
    /// Those that hold a place and have not ended.
    pub running: u64,
    /// Those that have ended and hold their place all the same.
    pub kept: u64,
    /// Those that wait.
    pub queued: u64,
    /// The oldest of those that hold a place and the first that waits.
    pub oldest: JobId,
}

impl Queues {
    /// How the jobs of a queue stand that are on disk; `None` if there are none. Those that hold
    /// a place are passed one by one, and each is asked whether it has ended; those that wait
    /// are not.
    #[must_use]
    pub fn tally(&self, name: &QueueName, has_ended: impl Fn(JobId) -> bool) -> Option<QueueTally> {
        let queue = self.queues.get(name)?;
        let next = queue.waiting.behind(None).next();
        let next = next.map(|(_, waiting)| waiting.id);
        let oldest = queue.running.iter().copied().chain(next).min()?;
        let kept = queue.running.iter().filter(|id| has_ended(**id)).count();
        Some(QueueTally {
            concurrency: queue.concurrency,
            running: (queue.running.len() - kept) as u64,
            kept: kept as u64,
            queued: queue.waiting.ready() as u64,
            oldest,
        })
    }

    /// Jobs of a queue behind a spot, in their order, at most so many. Those that are not on
    /// disk yet are left out.
    #[must_use]
    pub fn page(&self, name: &QueueName, after: Option<Spot>, most: usize) -> Vec<(JobId, Spot)> {
        let Some(queue) = self.queues.get(name) else {
            return Vec::new();
        };
        let holders = queue.holders(after, most).into_iter();
        let mut page: Vec<_> = holders.map(|id| (id, Spot::Holds(id))).collect();
        let number = match after {
            Some(Spot::Waits(number)) => Some(number),
            Some(Spot::Holds(_)) | None => None,
        };
        let waiting = queue.waiting.behind(number);
        let waiting = waiting.map(|(number, waiting)| (waiting.id, Spot::Waits(number)));
        page.extend(waiting.take(most - page.len()));
        page
    }

    /// Jobs that hold a place in a queue, the oldest of them, at most so many.
    #[must_use]
    pub fn holders(&self, name: &QueueName, most: usize) -> Vec<JobId> {
        let queue = self.queues.get(name);
        let holders = queue.map(|queue| queue.holders(None, most));
        holders.into_iter().flatten().collect()
    }
}

impl Queue {
    /// The oldest that hold a place behind a spot, at most so many.
    fn holders(&self, after: Option<Spot>, most: usize) -> BTreeSet<JobId> {
        let mut oldest = BTreeSet::new();
        for id in &self.running {
            if Some(Spot::Holds(*id)) > after {
                oldest.insert(*id);
                if oldest.len() > most {
                    oldest.pop_last();
                }
            }
        }
        oldest
    }
}
