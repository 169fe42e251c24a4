//! Which jobs wait, in which order, which have a place, which are due: all jobs that have not ended, and
//! those that have and still keep a place. Pure state: no I/O, and `now` is an argument.
//!
//! A ledger keeps one behind its mutex and changes it in the order in which it writes, so
//! the order of acceptance and that of the queues cannot disagree.
//!
//! ```text
//! enter -> recorded -> (waits) -> has its turn -> started -> runs -> close -> (owes -> settle)
//!             |           ^            |                        |
//!           forget        |        withdraw                   again
//!                         +-------------------------------------+
//! ```

pub mod due;
mod fetched;
pub mod pool;
pub mod queue;
mod restart;
pub mod tally;

use std::collections::{HashMap, HashSet};

use harp_values::{JobId, QueueName};

use self::due::Due;
use self::pool::{PoolId, Pools};
use self::queue::{Members, Place, Queues, Spot};
use crate::record::QueueRecord;
use crate::world::Moment;

/// All jobs that have not ended, and those that still keep a place.
#[derive(Debug, Default)]
pub struct Lineup {
    jobs: HashMap<JobId, Entry>,
    queues: Queues,
    pools: Pools,
    /// By when jobs must have started.
    start_by: Due,
    /// From when on jobs may start again.
    not_before: Due,
    last_sequence: u64,
    /// How many keep a place and are no live jobs any more.
    ended: usize,
    /// Jobs that are to be resumed, and whose attempt before owes something.
    owing: HashSet<JobId>,
}

/// A job as it is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// The job.
    pub id: JobId,
    /// Its queue, and the concurrency that it asks for.
    pub queue: Option<QueueRecord>,
    /// By when it must have started.
    pub start_by: Option<Moment>,
    /// The pool, if workers fetch it.
    pub pool: Option<PoolId>,
}

/// What became of a job that was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// Its number in the order of all submissions.
    pub sequence: u64,
    /// The concurrency in force in its queue; 0 without a queue.
    pub concurrency: u64,
    /// Whether it has its turn at once. Unless it belongs in a pool it starts with its
    /// record.
    pub has_turn: bool,
}

/// Where a job stands in the lineup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It is not on record yet.
    Entering,
    /// It waits.
    Waits,
    /// It has its turn, and no start.
    HasTurn,
    /// It runs.
    Runs,
    /// It has ended, and its place is kept.
    Owes,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    queue: Option<QueueRecord>,
    pool: Option<PoolId>,
    start_by: Option<Moment>,
    /// From when on it may start, if it waits for that.
    not_before: Option<Moment>,
    stands: Stands,
    /// The attempt before still keeps the place.
    owes: bool,
}

/// The jobs that have their turn now, in order. They hold places and have to be started.
pub type Turns = Vec<JobId>;

impl Lineup {
    /// A lineup without jobs. The sequence numbers go on behind this one.
    #[must_use]
    pub fn new(last_sequence: u64) -> Lineup {
        Lineup {
            last_sequence,
            ..Lineup::default()
        }
    }

    /// Enters a job behind all others. It does not start before [`Lineup::recorded`].
    pub fn enter(&mut self, entrant: Entrant) -> Entered {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let (id, mut queue) = (entrant.id, entrant.queue);
        let has_turn = match &mut queue {
            None => !self.queues.is_closed(),
            Some(queue) => {
                let joined = self
                    .queues
                    .join(&queue.name, queue.concurrency, id, sequence);
                queue.concurrency = joined.concurrency;
                joined.runs
            }
        };
        let concurrency = queue.as_ref().map_or(0, |queue| queue.concurrency);
        let entry = Entry {
            sequence,
            queue,
            pool: entrant.pool,
            start_by: entrant.start_by,
            not_before: None,
            stands: Stands::Entering,
            owes: false,
        };
        self.jobs.insert(id, entry);
        Entered {
            sequence,
            concurrency,
            has_turn,
        }
    }

    /// A job that was entered is on record: with its start, if it has its turn and belongs
    /// in no pool.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn recorded(&mut self, id: JobId, has_turn: bool) -> Turns {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Turns::new();
        };
        if has_turn {
            entry.stands = Stands::Runs;
            return if entry.pool.is_some() {
                if let Some(by) = entry.start_by {
                    _ = self.start_by.add(by, id);
                }
                self.give(vec![id])
            } else {
                Turns::new()
            };
        }
        entry.stands = Stands::Waits;
        if let Some(by) = entry.start_by {
            _ = self.start_by.add(by, id);
        }
        let turns = match &entry.queue {
            Some(queue) => self.queues.ready(&queue.name, entry.sequence),
            None => Turns::new(),
        };
        self.give(turns)
    }

    /// Takes back a job that could not be recorded.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn forget(&mut self, id: JobId) -> Turns {
        let Some(Entry {
            queue: Some(queue),
            sequence,
            ..
        }) = self.jobs.remove(&id)
        else {
            return Turns::new();
        };
        let turns = self.queues.undo_join(&queue.name, id, sequence);
        self.give(turns)
    }

    /// A job that has its turn starts. False if it has no turn: it was withdrawn.
    pub fn start(&mut self, id: JobId) -> bool {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return false;
        };
        if entry.stands != Stands::HasTurn {
            return false;
        }
        entry.stands = Stands::Runs;
        if let Some(by) = entry.start_by.take() {
            self.start_by.remove(by, id);
        }
        if let Some(pool) = &entry.pool {
            self.pools.remove(pool, entry.sequence);
        }
        true
    }

    /// Takes out a job that has not started. `None` if it has, is not on record, or is not
    /// there; otherwise the jobs that have their turn instead.
    pub fn withdraw(&mut self, id: JobId) -> Option<Turns> {
        let entry = self.jobs.get(&id)?;
        if !matches!(entry.stands, Stands::Waits | Stands::HasTurn) {
            return None;
        }
        Some(self.take_out(id))
    }

    /// Takes out all jobs of a queue that have not started and are on record, in their
    /// order: none of them starts in between. Then the jobs that have
    /// a turn instead.
    pub fn withdraw_queue(&mut self, name: &QueueName) -> (Vec<JobId>, Turns) {
        // Those that wait for their time are in their queue's order only when it has come.
        let jobs = self.queues.jobs(name).chain(self.not_before.jobs());
        let mut taken: Vec<(u64, JobId)> = jobs
            .filter_map(|id| Some((self.jobs.get(&id)?, id)))
            .filter(|(entry, _)| matches!(entry.stands, Stands::Waits | Stands::HasTurn))
            .filter(|(entry, _)| entry.queue.as_ref().is_some_and(|q| q.name == *name))
            .map(|(entry, id)| (entry.sequence, id))
            .collect();
        taken.sort_unstable();
        // One that waits for its time and keeps a place is met twice.
        taken.dedup();
        // Those that wait go before a place becomes free.
        taken.reverse();
        let mut turns = Turns::new();
        for (_, id) in &taken {
            turns.extend(self.take_out(*id));
        }
        taken.reverse();
        (taken.into_iter().map(|(_, id)| id).collect(), turns)
    }

    fn take_out(&mut self, id: JobId) -> Turns {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Turns::new();
        };
        if let Some(by) = entry.start_by.take() {
            self.start_by.remove(by, id);
        }
        if let Some(moment) = entry.not_before.take() {
            self.not_before.remove(moment, id);
        }
        if let Some(pool) = &entry.pool {
            self.pools.remove(pool, entry.sequence);
        }
        if entry.owes {
            entry.stands = Stands::Owes;
            self.ended += 1;
            return Turns::new();
        }
        let Some(Entry {
            queue: Some(queue),
            sequence,
            ..
        }) = self.jobs.remove(&id)
        else {
            return Turns::new();
        };
        self.queues.withdraw(&queue.name, sequence);
        let turns = self.queues.leave(&queue.name, id);
        self.give(turns)
    }

    /// A job has ended, and keeps its place if it owes something.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn close(&mut self, id: JobId, owes: bool) -> Turns {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Turns::new();
        };
        if entry.stands == Stands::Owes {
            return Turns::new();
        }
        entry.owes = owes;
        self.take_out(id)
    }

    /// A job that runs waits for another attempt, at its old place in the order: from this
    /// moment on, and not before what it owes is paid.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn again(&mut self, id: JobId, not_before: Moment, owes: bool) -> Turns {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Turns::new();
        };
        if entry.stands != Stands::Runs {
            return Turns::new();
        }
        entry.stands = Stands::Waits;
        (entry.not_before, entry.owes) = (Some(not_before), owes);
        _ = self.not_before.add(not_before, id);
        match &entry.queue {
            Some(queue) if !owes => {
                let turns = self.queues.leave(&queue.name, id);
                self.give(turns)
            }
            _ => Turns::new(),
        }
    }

    /// What an attempt owed is paid: its place is free.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn settle(&mut self, id: JobId) -> Turns {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Turns::new();
        };
        if !std::mem::take(&mut entry.owes) {
            return Turns::new();
        }
        let queue = entry.queue.clone();
        let has_ended = entry.stands == Stands::Owes;
        let mut turns = match queue {
            Some(queue) => {
                let turns = self.queues.leave(&queue.name, id);
                self.give(turns)
            }
            None => Turns::new(),
        };
        if has_ended {
            self.ended -= 1;
            self.jobs.remove(&id);
        } else {
            turns.extend(self.wait_in_queue(id));
        }
        turns
    }

    /// Takes out the jobs that should have started by now, and lets those wait in their queues that
    /// may start from now on.
    #[must_use = "the overdue have to be ended, the others to be started"]
    pub fn take_due(&mut self, now: Moment) -> (Vec<JobId>, Turns) {
        let mut turns = Turns::new();
        let overdue = self.start_by.take_due(now);
        for id in &overdue {
            if let Some(entry) = self.jobs.get_mut(id) {
                entry.start_by = None;
            }
            turns.extend(self.withdraw(*id).unwrap_or_default());
        }
        for id in self.not_before.take_due(now) {
            if let Some(entry) = self.jobs.get_mut(&id) {
                entry.not_before = None;
            }
            turns.extend(self.wait_in_queue(id));
        }
        (overdue, turns)
    }

    /// When [`Lineup::take_due`] has something to do.
    #[must_use]
    pub fn first_due(&self) -> Option<Moment> {
        let (start_by, not_before) = (self.start_by.first(), self.not_before.first());
        start_by.into_iter().chain(not_before).min()
    }

    /// Lets a job wait in its queue that waits for nothing else.
    fn wait_in_queue(&mut self, id: JobId) -> Turns {
        let Some(entry) = self.jobs.get(&id) else {
            return Turns::new();
        };
        if entry.stands != Stands::Waits || entry.owes || entry.not_before.is_some() {
            return Turns::new();
        }
        let turns = match &entry.queue {
            Some(queue) => self
                .queues
                .rejoin(&queue.name, queue.concurrency, id, entry.sequence),
            None if self.queues.is_closed() => Turns::new(),
            None => vec![id],
        };
        self.give(turns)
    }

    /// Notes which jobs have a turn; those of pools stand there, the others are returned.
    fn give(&mut self, turns: Turns) -> Turns {
        let mut own = Turns::new();
        for id in turns {
            let Some(entry) = self.jobs.get_mut(&id) else {
                continue;
            };
            entry.stands = Stands::HasTurn;
            match &entry.pool {
                Some(pool) => self.pools.add(pool, entry.sequence, id),
                None => own.push(id),
            }
        }
        own
    }

    /// From now on nobody gets a turn; those that wait stay.
    pub fn close_turns(&mut self) {
        self.queues.close();
    }

    /// Where a job stands; `None` if it is not here.
    #[must_use]
    pub fn stands(&self, id: JobId) -> Option<Stands> {
        self.jobs.get(&id).map(|entry| entry.stands)
    }

    /// The number of a job in the order of all submissions.
    #[must_use]
    pub fn sequence(&self, id: JobId) -> Option<u64> {
        self.jobs.get(&id).map(|entry| entry.sequence)
    }

    /// Whether an attempt of the job owes something.
    #[must_use]
    pub fn owes(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|entry| entry.owes)
    }

    /// By when a job must have started, as long as it has not.
    #[must_use]
    pub fn start_by(&self, id: JobId) -> Option<Moment> {
        self.jobs.get(&id)?.start_by
    }

    /// The jobs that are on record and have not ended, with their numbers in the order of
    /// all submissions; in no order.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<(JobId, u64)> {
        let is_live = |entry: &Entry| !matches!(entry.stands, Stands::Entering | Stands::Owes);
        let jobs = self.jobs.iter().filter(|(_, entry)| is_live(entry));
        jobs.map(|(id, entry)| (*id, entry.sequence)).collect()
    }

    /// How many jobs have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.jobs.len() - self.ended
    }

    /// Whether a queue has a job.
    #[must_use]
    pub fn has_queue(&self, name: &QueueName) -> bool {
        self.queues.has(name)
    }

    /// How many jobs wait in a queue.
    #[must_use]
    pub fn waiting(&self, name: &QueueName) -> usize {
        self.queues.waiting(name)
    }

    /// The names of all queues that have a job, sorted.
    #[must_use]
    pub fn queue_names(&self) -> Vec<QueueName> {
        self.queues.names()
    }

    /// Where a job stands in its queue; `None` if it is in none, or waits for its time first.
    #[must_use]
    pub fn place(&self, id: JobId) -> Option<Place> {
        let entry = self.jobs.get(&id)?;
        let queue = entry.queue.as_ref()?;
        self.queues.place(&queue.name, id, entry.sequence)
    }

    /// Jobs that hold a place in a queue, the oldest of them, at most so many.
    #[must_use]
    pub fn holders(&self, name: &QueueName, most: usize) -> Vec<JobId> {
        self.queues.holders(name, most)
    }

    /// Jobs of a queue behind a spot, in their order, at most so many.
    #[must_use]
    pub fn queue_page(
        &self,
        name: &QueueName,
        after: Option<Spot>,
        most: usize,
    ) -> Vec<(JobId, Spot)> {
        self.queues.page(name, after, most)
    }

    /// The jobs of a queue.
    #[must_use]
    pub fn queue_members(&self, name: &QueueName) -> Members {
        self.queues.members(name)
    }
}

#[cfg(test)]
mod tests;
