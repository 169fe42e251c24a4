//! The jobs that have a key, whoever submitted them: without a walk through all jobs.
//!
//! Each job with a key has an entry, under half the digest of that key and its own id. It is
//! written in the batch that records the job, and removed in the one that removes it. Jobs
//! that a release before this one has recorded have none; which those can be is noted in
//! `store.json`, and forgotten by such a release when it runs again.

use std::ops::ControlFlow;

use harp_values::JobId;
use ring::digest::{Context, SHA256};

use super::Store;
use super::error::StoreError;
use super::layout;
use super::sled::{Engine, Value};

/// Jobs that have a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// They, in the order of their ids.
    pub jobs: Vec<JobId>,
    /// There may be others among those up to this one.
    pub all_behind: JobId,
}

/// Half the digest of a key, which is longer than an entry's key can be.
pub(super) fn half(key: &str) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    digest.update(b"#");
    digest.update(key.as_bytes());
    let digest = digest.finish();
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_ref()[..16]);
    half
}

impl Store {
    /// The jobs that have this key, as far as is known at once. One of them may be gone, or
    /// not be on disk yet.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn keyed(&self, key: &str) -> Result<Keyed, StoreError> {
        let half = half(key);
        self.read(|| async move {
            let jobs = self.blocking(move |engine| jobs(engine, &half)).await?;
            Ok(Keyed {
                jobs,
                all_behind: self.shared.keyed_behind(),
            })
        })
        .await
    }
}

fn jobs(engine: &Engine, half: &[u8; 16]) -> Result<Vec<JobId>, StoreError> {
    let mut jobs = Vec::new();
    let from = layout::keyed_key(half, JobId::NONE);
    // No job has the last of all ids.
    let to = layout::keyed_key(half, JobId::from_bytes([0xff; 16]));
    engine.scan(&from, &to, |key, entry: &Value| {
        // The entry of a key of one client could have the same beginning.
        jobs.extend(
            entry
                .first_chunk()
                .filter(|job| entry.len() == 16 && key.ends_with(&job[..]))
                .map(|job| JobId::from_bytes(*job)),
        );
        ControlFlow::Continue(())
    })?;
    Ok(jobs)
}
