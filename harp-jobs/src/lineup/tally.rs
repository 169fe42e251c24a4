//! How many jobs stand where, counted without a copy of any list.

use harp_values::{JobId, QueueName};

use super::queue::QueueTally;
use super::{Lineup, Stands};

/// How many jobs there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Those on record that have not started.
    pub queued: u64,
    /// Those that run.
    pub running: u64,
    /// Those that have ended and keep their place in a queue.
    pub places_kept: u64,
    /// The oldest of those that have not started.
    pub oldest_queued: Option<JobId>,
    /// Queues that have a job.
    pub queues: u64,
}

impl Tally {
    /// Counts one more that has not started.
    pub fn add_queued(&mut self, id: JobId) {
        self.queued += 1;
        self.oldest_queued = Some(self.oldest_queued.map_or(id, |oldest| oldest.min(id)));
    }
}

impl Lineup {
    /// How many jobs there are of each kind: one walk past them, and no copy.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            queues: self.queues.count() as u64,
            ..Tally::default()
        };
        for (id, entry) in &self.jobs {
            match entry.stands {
                Stands::Entering => {}
                Stands::Waits | Stands::HasTurn => tally.add_queued(*id),
                Stands::Runs => tally.running += 1,
                Stands::Owes => tally.places_kept += u64::from(entry.queue.is_some()),
            }
        }
        tally
    }

    /// How the jobs of a queue stand; `None` if it has none on record.
    #[must_use]
    pub fn queue_tally(&self, name: &QueueName) -> Option<QueueTally> {
        let has_ended = |job| self.stands(job) == Some(Stands::Owes);
        self.queues.tally(name, has_ended)
    }
}
