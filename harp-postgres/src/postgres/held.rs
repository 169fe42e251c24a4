//! What this node holds: jobs that have had their turn here, until nothing of them is left.

use std::collections::HashMap;

use harp_jobs::ledger::{Hold, NewJob};
use harp_jobs::segment::Segment;
use harp_values::JobId;

use crate::digest::Digest;
use crate::lanes::{Key, Reach};

/// The jobs that are held here.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<JobId, Holding>);

/// A job that is held here.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) hold: Hold,
    pub(super) queue: Option<Digest>,
    /// The number of its next packet.
    pub(super) next: u64,
    /// When it started, if it has.
    pub(super) started: Option<u64>,
    /// Its attempt has been closed.
    pub(super) is_over: bool,
    pub(super) owes: bool,
}

impl Held {
    /// Whether the turn of this hold was told.
    pub(super) fn has(&self, hold: Hold) -> bool {
        self.0.get(&hold.job).is_some_and(|held| held.hold == hold)
    }

    pub(super) fn add(&mut self, holding: Holding) {
        self.0.insert(holding.hold.job, holding);
    }

    /// The job, if it is held with just this.
    pub(super) fn of(&mut self, hold: Hold) -> Option<&mut Holding> {
        self.0.get_mut(&hold.job).filter(|held| held.hold == hold)
    }

    /// A job has ended that had not started; what an attempt before owes stays.
    pub(super) fn withdraw(&mut self, job: JobId) {
        if self.0.get(&job).is_some_and(|held| !held.is_over) {
            self.0.remove(&job);
        }
    }

    /// Lets go of everything. False if there was nothing.
    pub(super) fn let_all_go(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// Lets go of a job if nothing is left of it.
    pub(super) fn let_go(&mut self, hold: Hold) {
        if self.of(hold).is_some_and(|held| held.is_over && !held.owes) {
            self.0.remove(&hold.job);
        }
    }

    /// The hold of a job that runs here.
    pub(super) fn running(&self, job: JobId) -> Option<Hold> {
        let held = self.0.get(&job)?;
        (held.started.is_some() && !held.is_over).then_some(held.hold)
    }

    /// What a change of this job concerns.
    pub(super) fn reach(&self, job: JobId) -> Reach {
        let queue = self.0.get(&job).and_then(|held| held.queue);
        let keys = queue.map(Key::Queue).into_iter();
        Reach::Keys(keys.chain([Key::Job(job)]).collect())
    }

    /// Cuts off what was handed over before, and notes what is handed over now. Of a job that
    /// is not held with this the database says what becomes of them.
    pub(super) fn follow(
        &mut self,
        hold: Hold,
        packets: &mut Vec<Segment>,
    ) -> Result<(), &'static str> {
        let Some(held) = self.of(hold) else {
            return Ok(());
        };
        let mut next = held.next;
        for segment in packets.iter_mut() {
            if segment.first() > next {
                return Err("these packets do not follow");
            }
            if segment.first() < next && segment.end() > next {
                *segment = segment.between(next, u64::MAX);
            }
            next = next.max(segment.end());
        }
        // What was handed over before is in the database, or comes to it before this.
        packets.retain(|segment| segment.first() >= held.next);
        held.next = next;
        Ok(())
    }
}

/// What new jobs concern.
pub(super) fn keys_of_new(jobs: &[NewJob]) -> Vec<Key> {
    let keys = jobs.iter().flat_map(|job| {
        let queue = job.call.queue.as_ref();
        let queue = queue.map(|queue| Key::Queue(Digest::of_queue(&queue.name)));
        let pool = job.minted.pool.clone().map(Key::Pool);
        queue.into_iter().chain(pool).chain([Key::Job(job.id)])
    });
    keys.collect()
}
