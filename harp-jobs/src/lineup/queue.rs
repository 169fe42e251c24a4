//! The queues: which jobs run, which wait, which is next. Pure state, no I/O and no clock.
//!
//! A queue comes into being with its first job and is gone with its last (client
//! protocol, section 2). A job is in its queue from its submission until its place is
//! given back, which is some time after its end: as long as the host may still be busy
//! with it.
//!
//! Invariants, held by the property test in `lineup/queue/model.rs`:
//!
//! - no job starts where its queue's concurrency is reached, that of the queue's first call;
//! - jobs start in the order of their sequence numbers, each once;
//! - a job that was taken out does not start, nor does one that is not on disk;
//! - while a place is free, the first waiting job is not ready: nobody waits for nothing;
//! - a place is given back once, a kept one too: giving it back again changes nothing;
//! - a start from the records leads to the same order, and keeps the places of what ran;
//! - a queue without jobs does not exist.

mod line;
mod look;

use std::collections::{HashMap, HashSet};

use harp_values::{JobId, QueueName};

use self::line::{Line, Waiting};
pub use self::look::{QueueTally, Spot};

/// All queues that have a job.
#[derive(Debug, Default)]
pub struct Queues {
    queues: HashMap<QueueName, Queue>,
    /// No job starts any more: the dispatcher is stopping.
    closed: bool,
}

#[derive(Debug)]
struct Queue {
    concurrency: u64,
    /// Jobs that hold a place.
    running: HashSet<JobId>,
    /// Jobs that wait.
    waiting: Line,
}

/// What became of a job that entered its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The concurrency in force, that of the call which created the queue.
    pub concurrency: u64,
    /// True if the job got a place at once.
    pub runs: bool,
}

/// Where a job stands in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It holds a place.
    Held,
    /// It waits, and so many jobs of the queue must end before it starts.
    Behind(u64),
}

/// The jobs of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that hold a place. One of them may have ended already, while its host is not
    /// done with it.
    pub running: Vec<JobId>,
    /// Those that wait, in the order in which they will start.
    pub waiting: Vec<JobId>,
}

impl Queues {
    /// Enters a job behind all others of its queue. `sequence` must be greater than
    /// that of every job before. A job that has to wait does not start before
    /// [`Queues::ready`].
    pub fn join(&mut self, name: &QueueName, concurrency: u64, id: JobId, sequence: u64) -> Joined {
        let closed = self.closed;
        let queue = self
            .queues
            .entry(name.clone())
            .or_insert_with(|| Queue::new(concurrency));
        let runs = !closed && queue.waiting.is_empty() && queue.has_place();
        if runs {
            queue.running.insert(id);
        } else {
            queue.waiting.insert(sequence, Waiting { id, ready: false });
        }
        Joined {
            concurrency: queue.concurrency,
            runs,
        }
    }

    /// Enters a job again at its old place in the order, for another attempt or after a start
    /// of the dispatcher. Returns the jobs that start now.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn rejoin(
        &mut self,
        name: &QueueName,
        concurrency: u64,
        id: JobId,
        sequence: u64,
    ) -> Vec<JobId> {
        let queue = self
            .queues
            .entry(name.clone())
            .or_insert_with(|| Queue::new(concurrency));
        queue.waiting.insert(sequence, Waiting { id, ready: true });
        self.advance(name)
    }

    /// How many jobs wait in a queue.
    #[must_use]
    pub fn waiting(&self, name: &QueueName) -> usize {
        self.queues.get(name).map_or(0, |queue| queue.waiting.len())
    }

    /// Takes a place for a job whatever the queue's concurrency: one that ran before the
    /// dispatcher was started, and may still be running on its host.
    pub fn hold(&mut self, name: &QueueName, concurrency: u64, id: JobId) {
        let queue = self
            .queues
            .entry(name.clone())
            .or_insert_with(|| Queue::new(concurrency));
        queue.running.insert(id);
    }

    /// A waiting job's record is on disk: it may start when its turn comes. Returns the
    /// jobs that start now.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn ready(&mut self, name: &QueueName, sequence: u64) -> Vec<JobId> {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.waiting.make_ready(sequence);
        }
        self.advance(name)
    }

    /// Takes a job out that waits and is ready. False if it runs, is not on disk yet, or
    /// is not there. To be followed by [`Queues::advance`].
    pub fn withdraw(&mut self, name: &QueueName, sequence: u64) -> bool {
        let Some(queue) = self.queues.get_mut(name) else {
            return false;
        };
        let ready = queue
            .waiting
            .get(sequence)
            .is_some_and(|waiting| waiting.ready);
        ready && queue.waiting.remove(sequence).is_some()
    }

    /// Takes a job out that could not be recorded, whether it waits or has a place.
    /// Returns the jobs that start now.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn undo_join(&mut self, name: &QueueName, id: JobId, sequence: u64) -> Vec<JobId> {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.waiting.remove(sequence);
        }
        self.leave(name, id)
    }

    /// Gives a job's place back. Returns the jobs that start now.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn leave(&mut self, name: &QueueName, id: JobId) -> Vec<JobId> {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.running.remove(&id);
        }
        self.advance(name)
    }

    /// Gives free places to the jobs whose turn it is, and returns those.
    #[must_use = "the returned jobs hold places and have to be started"]
    pub fn advance(&mut self, name: &QueueName) -> Vec<JobId> {
        let mut started = Vec::new();
        let Some(queue) = self.queues.get_mut(name) else {
            return started;
        };
        while !self.closed
            && queue.has_place()
            && let Some(id) = queue.waiting.next()
        {
            queue.running.insert(id);
            started.push(id);
        }
        if queue.running.is_empty() && queue.waiting.is_empty() {
            self.queues.remove(name);
        }
        started
    }

    /// Takes out all jobs that wait and are ready, in their order. Those that are not on
    /// disk yet stay. To be followed by [`Queues::advance`].
    pub fn withdraw_all(&mut self, name: &QueueName) -> Vec<JobId> {
        let Some(queue) = self.queues.get_mut(name) else {
            return Vec::new();
        };
        queue.waiting.take_ready()
    }

    /// The names of all queues that have a job, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<QueueName> {
        let mut names: Vec<_> = self.queues.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many queues have a job.
    #[must_use]
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    /// Whether a queue has a job.
    #[must_use]
    pub fn has(&self, name: &QueueName) -> bool {
        self.queues.contains_key(name)
    }

    /// The jobs of a queue: first those that hold a place, by id, then those that wait,
    /// in their order. Jobs that are not on disk yet are left out.
    #[must_use]
    pub fn members(&self, name: &QueueName) -> Members {
        let Some(queue) = self.queues.get(name) else {
            return Members::default();
        };
        let mut running: Vec<_> = queue.running.iter().copied().collect();
        running.sort_unstable();
        let waiting = queue.waiting.behind(None);
        Members {
            running,
            waiting: waiting.map(|(_, waiting)| waiting.id).collect(),
        }
    }

    /// Where a job of a queue stands; `None` if it is in none. Those that wait before it count
    /// from their submission on, whether they are on disk yet or not.
    #[must_use]
    pub fn place(&self, name: &QueueName, id: JobId, sequence: u64) -> Option<Place> {
        let queue = self.queues.get(name)?;
        if queue.running.contains(&id) {
            return Some(Place::Held);
        }
        queue.waiting.get(sequence)?;
        let before = queue.running.len() + queue.waiting.before(sequence) + 1;
        let before = u64::try_from(before).unwrap_or(u64::MAX);
        Some(Place::Behind(before.saturating_sub(queue.concurrency)))
    }

    /// The jobs of a queue, in no order: those that hold a place, and those that wait in its
    /// order, on disk or not.
    pub fn jobs(&self, name: &QueueName) -> impl Iterator<Item = JobId> {
        let queue = self.queues.get(name).into_iter();
        queue.flat_map(|queue| {
            let waiting = queue.waiting.iter().map(|waiting| waiting.id);
            queue.running.iter().copied().chain(waiting)
        })
    }

    /// Whether no job starts any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// From now on no job starts; those that wait stay.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

impl Queue {
    fn new(concurrency: u64) -> Queue {
        Queue {
            concurrency: concurrency.max(1),
            running: HashSet::new(),
            waiting: Line::default(),
        }
    }

    fn has_place(&self) -> bool {
        (self.running.len() as u64) < self.concurrency
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_bytes(u128::from(number).to_be_bytes())
    }

    fn name(text: &str) -> QueueName {
        text.parse().unwrap()
    }

    #[test]
    fn a_million_queues_leave_nothing_behind() {
        let mut queues = Queues::default();
        for number in 0..1_000_000 {
            let queue = name(&format!("{{\"q\":{number}}}"));
            assert!(queues.join(&queue, 1, id(number), number).runs);
            // So many jobs are live at once at most.
            if let Some(ended) = number.checked_sub(1000) {
                let queue = name(&format!("{{\"q\":{ended}}}"));
                assert!(queues.leave(&queue, id(ended)).is_empty());
            }
            assert!(queues.queues.len() <= 1000);
        }
    }

    #[test]
    fn the_first_call_fixes_the_concurrency_and_the_last_takes_it_along() {
        let mut queues = Queues::default();
        let q = name("{}");
        let joined = |concurrency, runs| Joined { concurrency, runs };
        assert_eq!(queues.join(&q, 2, id(1), 1), joined(2, true));
        assert_eq!(queues.join(&q, 9, id(2), 2), joined(2, true));
        assert_eq!(queues.join(&q, 9, id(3), 3), joined(2, false));
        assert!(queues.ready(&q, 3).is_empty());
        assert_eq!(queues.leave(&q, id(1)), [id(3)]);
        assert!(queues.leave(&q, id(2)).is_empty());
        assert!(queues.leave(&q, id(3)).is_empty());
        assert!(queues.queues.is_empty());
        assert_eq!(queues.join(&q, 9, id(4), 4), joined(9, true));
    }

    /// The place of the queue `{}` is free; its second job comes next and is not on disk, the
    /// third one behind it is.
    fn with_one_that_is_not_on_disk() -> Queues {
        let mut queues = Queues::default();
        let q = name("{}");
        assert!(queues.join(&q, 1, id(1), 1).runs);
        assert!(!queues.join(&q, 1, id(2), 2).runs);
        assert!(!queues.join(&q, 1, id(3), 3).runs);
        assert!(queues.ready(&q, 3).is_empty());
        assert!(queues.leave(&q, id(1)).is_empty());
        queues
    }

    #[test]
    fn a_job_that_is_not_on_disk_is_not_started_and_not_overtaken() {
        let (mut queues, q) = (with_one_that_is_not_on_disk(), name("{}"));
        assert_eq!(queues.ready(&q, 2), [id(2)]);
        assert_eq!(queues.leave(&q, id(2)), [id(3)]);
    }

    #[test]
    fn a_job_that_could_not_be_recorded_makes_way() {
        let (mut queues, q) = (with_one_that_is_not_on_disk(), name("{}"));
        assert!(!queues.withdraw(&q, 2));
        assert_eq!(queues.undo_join(&q, id(2), 2), [id(3)]);
    }

    #[test]
    fn a_place_held_from_before_a_crash_counts() {
        let mut queues = Queues::default();
        let q = name("{}");
        queues.hold(&q, 1, id(1));
        assert!(!queues.join(&q, 1, id(2), 2).runs);
        assert!(queues.ready(&q, 2).is_empty());
        assert_eq!(queues.leave(&q, id(1)), [id(2)]);
    }

    #[test]
    fn nothing_starts_once_closed() {
        let mut queues = Queues::default();
        let q = name("{}");
        assert!(queues.join(&q, 1, id(1), 1).runs);
        assert!(!queues.join(&q, 1, id(2), 2).runs);
        queues.close();
        assert!(queues.ready(&q, 2).is_empty());
        assert!(queues.leave(&q, id(1)).is_empty());
        assert!(!queues.join(&name("{\"other\":1}"), 1, id(3), 3).runs);
    }

    #[test]
    fn all_that_waits_is_withdrawn_at_once_but_for_what_is_not_on_disk() {
        let mut queues = Queues::default();
        let q = name("{}");
        assert!(queues.join(&q, 1, id(1), 1).runs);
        for number in 2..=4 {
            assert!(!queues.join(&q, 1, id(number), number).runs);
        }
        for number in [2, 3] {
            assert!(queues.ready(&q, number).is_empty());
        }
        let members = |running: &[u64], waiting: &[u64]| Members {
            running: running.iter().copied().map(id).collect(),
            waiting: waiting.iter().copied().map(id).collect(),
        };
        assert_eq!(queues.names(), std::slice::from_ref(&q));
        assert_eq!(queues.members(&q), members(&[1], &[2, 3]));
        assert_eq!(queues.holders(&q, 8), [id(1)]);
        assert_eq!(queues.withdraw_all(&q), [id(2), id(3)]);
        assert!(queues.advance(&q).is_empty());
        assert_eq!(queues.members(&q), members(&[1], &[]));
        assert!(queues.leave(&q, id(1)).is_empty());
        assert_eq!(queues.ready(&q, 4), [id(4)]);
        assert!(queues.leave(&q, id(4)).is_empty());
        assert_eq!(queues.members(&q), Members::default());
        assert!(queues.withdraw_all(&q).is_empty() && queues.names().is_empty());
    }
}
