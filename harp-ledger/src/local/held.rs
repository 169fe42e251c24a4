//! Jobs that wait for a word of the operator: they waited in a store that is a copy, and
//! the dispatcher of the original may have run them ([`Store::held`](crate::store::Store::held)).
//!
//! A held job is live: it can be looked at, waited for and cancelled, and its `start_by`
//! holds. It is in no queue, so those that come later do not wait for it; when it is
//! resumed it takes its old place, before them.

use std::collections::{BTreeMap, HashMap};

use harp_jobs::lineup::due::Due;
use harp_jobs::lineup::queue::{QueueTally, Spot};
use harp_jobs::world::Moment;
use harp_values::{JobId, QueueName};

use harp_jobs::record::LiveRecord;

/// The held jobs.
#[derive(Debug, Default)]
pub(super) struct HeldJobs {
    jobs: HashMap<JobId, Held>,
    start_by: Due<Moment>,
}

/// A held job.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: LiveRecord,
    /// By when it must have started.
    pub(super) start_by: Option<Moment>,
}

impl HeldJobs {
    pub(super) fn add(&mut self, job: JobId, held: Held) {
        if let Some(by) = held.start_by {
            _ = self.start_by.add(by, job);
        }
        self.jobs.insert(job, held);
    }

    pub(super) fn take(&mut self, job: JobId) -> Option<Held> {
        let held = self.jobs.remove(&job)?;
        if let Some(by) = held.start_by {
            self.start_by.remove(by, job);
        }
        Some(held)
    }

    /// All of them in the order of their submission.
    pub(super) fn take_all(&mut self) -> Vec<(JobId, Held)> {
        self.start_by = Due::default();
        let mut jobs: Vec<_> = std::mem::take(&mut self.jobs).into_iter().collect();
        jobs.sort_unstable_by_key(|(_, held)| held.record.sequence);
        jobs
    }

    pub(super) fn first_due(&self) -> Option<Moment> {
        self.start_by.first()
    }

    /// Takes out the jobs that should have started by now.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<(JobId, Held)> {
        let due = self.start_by.take_due(now).into_iter();
        due.filter_map(|job| Some((job, self.jobs.remove(&job)?)))
            .collect()
    }

    pub(super) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    pub(super) fn count(&self) -> usize {
        self.jobs.len()
    }

    /// Each with its number in the order of submissions.
    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, u64)> {
        let jobs = self.jobs.iter();
        jobs.map(|(job, held)| (*job, held.record.sequence))
    }

    pub(super) fn queue_names(&self) -> impl Iterator<Item = &QueueName> {
        let queues = self.jobs.values().flat_map(|held| &held.record.queue);
        queues.map(|queue| &queue.name)
    }

    /// Those of a queue in their order.
    pub(super) fn of_queue(&self, name: &QueueName) -> Vec<JobId> {
        let held = self.in_queue(name);
        let mut held: Vec<_> = held.map(|(job, queued)| (queued.0, job)).collect();
        held.sort_unstable();
        held.into_iter().map(|(_, job)| job).collect()
    }

    /// Those of a queue behind a spot, in their order, at most so many.
    pub(super) fn page(
        &self,
        name: &QueueName,
        after: Option<Spot>,
        most: usize,
    ) -> impl Iterator<Item = (JobId, Spot)> {
        let mut first = BTreeMap::new();
        for (job, (number, _)) in self.in_queue(name) {
            if Some(Spot::Waits(number)) > after {
                first.insert(number, job);
                if first.len() > most {
                    first.pop_last();
                }
            }
        }
        first
            .into_iter()
            .map(|(number, job)| (job, Spot::Waits(number)))
    }

    /// How the jobs of a queue stand, these among them.
    pub(super) fn add_to(
        &self,
        name: &QueueName,
        mut tally: Option<QueueTally>,
    ) -> Option<QueueTally> {
        for (job, (_, concurrency)) in self.in_queue(name) {
            let tally = tally.get_or_insert(QueueTally {
                concurrency,
                running: 0,
                kept: 0,
                queued: 0,
                oldest: job,
            });
            tally.queued += 1;
            tally.oldest = tally.oldest.min(job);
        }
        tally
    }

    /// Those of a queue, each with its number and the concurrency that it has on record.
    fn in_queue(&self, name: &QueueName) -> impl Iterator<Item = (JobId, (u64, u64))> {
        self.jobs.iter().filter_map(move |(job, held)| {
            let queue = held.record.queue.as_ref()?;
            (queue.name == *name).then_some((*job, (held.record.sequence, queue.concurrency)))
        })
    }
}
