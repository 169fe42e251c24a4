//! Reading: what is durable.

use harp_jobs::ledger::*;
use harp_proto::JobId;

use super::Local;
use crate::record::{JobRecord, Stage};
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

    pub(super) fn read_whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        let jobs = jobs.to_vec();
        self.read(move |store| async move {
            let mut all = Vec::with_capacity(jobs.len());
            for job in jobs {
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

/// Why something cannot be read, as the core has it.
pub(super) fn unreadable(error: StoreError) -> Unreadable {
    match error {
        StoreError::Closed => Unreadable::Closed,
        error if error.is_passing() => Unreadable::Outage(error.to_string().into()),
        error => Unreadable::Damaged(error.to_string().into()),
    }
}
