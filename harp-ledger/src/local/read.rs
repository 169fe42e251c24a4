//! Reading: what is durable.

use harp_jobs::ledger::*;
use harp_jobs::lineup::Stands;
use harp_jobs::record::{JobRecord, Stage};
use harp_values::JobId;

use super::{Local, State};
use crate::store::{Store, StoreError, Towards};

impl Local {
    /// What the store says.
    pub(super) fn read<T, F>(&self, read: impl FnOnce(Store) -> F) -> Answer<T, Unreadable>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let reading = read(self.0.store.clone());
        Answer::read(Box::pin(async move { reading.await.map_err(unreadable) }))
    }

    /// How long what is kept of a job's call and of its end is, in bytes; 0 for what is not
    /// there.
    pub fn lengths(&self, job: JobId) -> Answer<(usize, usize), Unreadable> {
        self.read(move |store| async move { store.lengths(job).await })
    }

    pub(super) fn read_whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        let state = self.state();
        let known: Vec<_> = jobs.iter().map(|job| state.whereabouts(*job)).collect();
        drop(state);
        if let Some(all) = known.iter().copied().collect() {
            return Answer::now(Ok(all));
        }
        let jobs = jobs.to_vec();
        self.read(move |store| async move {
            let mut all = Vec::with_capacity(jobs.len());
            for (job, known) in jobs.into_iter().zip(known) {
                if let Some(known) = known {
                    all.push(known);
                    continue;
                }
                all.push(match store.stage(job).await? {
                    None => Whereabouts::Nothing,
                    Some(Stage::Queued { .. }) => Whereabouts::Waits,
                    Some(Stage::Running { .. }) => Whereabouts::Here,
                    Some(Stage::Ended { .. }) => Whereabouts::Ended,
                });
            }
            Ok(all)
        })
    }

    pub(super) fn read_page(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        let after = match from {
            Cursor::Edge => None,
            Cursor::Behind(job) => Some(job),
        };
        let towards = match towards {
            Direction::Newer => Towards::Newer,
            Direction::Older => Towards::Older,
        };
        self.read(move |store| async move { store.page(after, towards, most).await })
    }
}

impl State {
    /// Where a job stands that lives: the lineup has all of those that are on record.
    pub(super) fn whereabouts(&self, job: JobId) -> Option<Whereabouts> {
        if self.is_closed {
            return None;
        }
        if self.held.contains(job) || self.leaving.contains(&job) {
            return Some(Whereabouts::Waits);
        }
        match self.lineup.stands(job)? {
            Stands::Waits | Stands::HasTurn => Some(Whereabouts::Waits),
            Stands::Runs => Some(Whereabouts::Here),
            // The store says whether it is on record, or has gone.
            Stands::Entering | Stands::Owes => None,
        }
    }
}

/// Why something cannot be read, as the core has it.
pub(super) fn unreadable(error: StoreError) -> Unreadable {
    match error {
        StoreError::Closed => Unreadable::Closed,
        error if error.is_passing() => Unreadable::Outage(error.to_string().into()),
        error => Unreadable::Damaged(error.to_string().into()),
    }
}
