//! Lists for administrators, and where a job stands in its queue, and which have a key.

use std::collections::HashSet;

use harp_jobs::ledger::{Answer, Unreadable};
use harp_jobs::lineup::queue::{Place, QueueTally, Spot};
use harp_jobs::lineup::tally::Tally;
use harp_jobs::record::JobRecord;
use harp_values::{JobId, QueueName};

use tokio::sync::mpsc;

use super::Local;
use crate::store::{Keyed, StoreCounts};
use crate::transfer::{self, Moved, TransferError};

/// Sentences about damage that an export gives.
const PROBLEMS: usize = 100;

impl Local {
    /// All jobs that have not ended, in the order of their submission.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<JobId> {
        let state = self.state();
        let mut jobs = state.lineup.live_jobs();
        jobs.extend(state.held.iter());
        // Their numbers are given back; ids are in the order of submissions, too.
        let mut leaving: Vec<JobId> = state.leaving.iter().copied().collect();
        drop(state);
        leaving.sort_unstable();
        jobs.sort_unstable_by_key(|(_, sequence)| *sequence);
        let jobs = jobs.into_iter().map(|(job, _)| job);
        leaving.into_iter().chain(jobs).collect()
    }

    /// How many jobs there are of each kind.
    pub fn tally(&self) -> Answer<Tally, Unreadable> {
        self.look(|state| {
            let mut tally = state.lineup.tally();
            let held = state.held.iter().map(|(job, _)| job);
            for job in held.chain(state.leaving.iter().copied()) {
                tally.add_queued(job);
            }
            let names = state.held.queue_names();
            let of_held: HashSet<_> = names.filter(|name| !state.lineup.has_queue(name)).collect();
            tally.queues += of_held.len() as u64;
            tally
        })
    }

    /// Where a job stands in its queue; `None` if it is in none, or waits for something else
    /// first.
    pub fn place(&self, job: JobId) -> Answer<Option<Place>, Unreadable> {
        self.look(|state| state.lineup.place(job))
    }

    /// Jobs that hold places in a queue, by id, at most so many; none if there is no such queue.
    pub fn holders(&self, name: &QueueName, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        self.look(|state| state.lineup.holders(name, most))
    }

    /// How the jobs of a queue stand; `None` if it has none.
    pub fn queue_tally(&self, name: &QueueName) -> Answer<Option<QueueTally>, Unreadable> {
        self.look(|state| state.held.add_to(name, state.lineup.queue_tally(name)))
    }

    /// Jobs of a queue behind a spot, in their order, at most so many. Held ones stand among
    /// those that wait.
    pub fn queue_page(
        &self,
        name: &QueueName,
        after: Option<Spot>,
        most: usize,
    ) -> Answer<Vec<(JobId, Spot)>, Unreadable> {
        self.look(|state| {
            let mut page = state.lineup.queue_page(name, after, most);
            page.extend(state.held.page(name, after, most));
            page.sort_unstable_by_key(|(_, spot)| *spot);
            page.truncate(most);
            page
        })
    }

    /// The jobs that have this key, as far as is known at once.
    pub fn keyed(&self, key: &str) -> Answer<Keyed, Unreadable> {
        let key = key.to_owned();
        self.read(move |store| async move { store.keyed(&key).await })
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn pulse(&self) -> StoreCounts {
        self.0.store.pulse()
    }

    /// Hands all jobs on as lines of an export, as [`transfer::export_lines`] does. Returns how
    /// many there were and what is damaged, a sentence each.
    ///
    /// # Errors
    ///
    /// [`TransferError`].
    pub async fn export(
        &self,
        out: mpsc::Sender<Vec<u8>>,
    ) -> Result<(Moved, Vec<String>), TransferError> {
        let mut problems = Vec::new();
        let mut problem = |problem: String| {
            if problems.len() < PROBLEMS {
                problems.push(problem);
            }
        };
        let moved = transfer::export_lines(&self.0.store, out, &mut problem).await?;
        Ok((moved, problems))
    }

    /// Ended jobs by their ids, behind this one, at most so many.
    pub fn ended_page(
        &self,
        after: Option<JobId>,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        self.read(move |store| async move { store.ended_page(after, most).await })
    }
}
