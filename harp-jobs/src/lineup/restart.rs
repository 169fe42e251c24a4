//! The lineup at a start of the dispatcher, from what is on record: first all places that are
//! kept, then the jobs that wait, in the order of their sequence numbers.

use harp_values::JobId;

use super::{Entrant, Entry, Lineup, Stands, Turns};
use crate::record::QueueRecord;
use crate::world::Moment;

impl Lineup {
    /// Enters a job again that was on record at a start of the dispatcher: one that waited.
    /// In the order of the sequence numbers, when all places are kept.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn resume(&mut self, entrant: Entrant, sequence: u64, not_before: Option<Moment>) -> Turns {
        let id = entrant.id;
        let owes = self.owing.remove(&id);
        self.last_sequence = self.last_sequence.max(sequence);
        if let Some(by) = entrant.start_by {
            _ = self.start_by.add(by, id);
        }
        if let Some(moment) = not_before {
            _ = self.not_before.add(moment, id);
        }
        let entry = Entry {
            sequence,
            queue: entrant.queue,
            pool: entrant.pool,
            start_by: entrant.start_by,
            not_before,
            stands: Stands::Waits,
            owes,
        };
        self.jobs.insert(id, entry);
        self.wait_in_queue(id)
    }

    /// Keeps the place of a job that ran at a start of the dispatcher: one that is attached
    /// to, or one that has ended and owes.
    pub fn keep(&mut self, id: JobId, queue: Option<QueueRecord>, sequence: u64, has_ended: bool) {
        if let Some(queue) = &queue {
            self.queues.hold(&queue.name, queue.concurrency, id);
        }
        self.last_sequence = self.last_sequence.max(sequence);
        self.ended += usize::from(has_ended);
        let entry = Entry {
            sequence,
            queue,
            pool: None,
            start_by: None,
            not_before: None,
            stands: if has_ended {
                Stands::Owes
            } else {
                Stands::Runs
            },
            owes: has_ended,
        };
        self.jobs.insert(id, entry);
    }

    /// Keeps the place of an attempt that owes, at a start of the dispatcher: its job is to be
    /// resumed.
    pub fn keep_for_debt(&mut self, id: JobId, queue: Option<&QueueRecord>) {
        if let Some(queue) = queue {
            self.queues.hold(&queue.name, queue.concurrency, id);
        }
        self.owing.insert(id);
    }
}
