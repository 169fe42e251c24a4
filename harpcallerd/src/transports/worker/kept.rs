//! Jobs that wait and are kept for one worker for a moment: it has been shown them, and is
//! about to claim one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_proto::JobId;
use tokio::time::Instant;

/// Jobs that are remembered before those are forgotten whose time is over.
const MANY: usize = 1000;

/// The jobs that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<HashMap<JobId, For>>);

/// For whom a job is kept, and until when.
#[derive(Debug)]
struct For {
    client: String,
    worker: String,
    until: Instant,
}

impl Kept {
    fn all(&self) -> MutexGuard<'_, HashMap<JobId, For>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a job for a worker for so long; false if it is kept for another.
    pub(super) fn keep(&self, job: JobId, client: &str, worker: &str, time: Duration) -> bool {
        let now = Instant::now();
        let mut all = self.all();
        if all.len() > MANY {
            all.retain(|_, kept| kept.until > now);
        }
        let is_other =
            |kept: &For| kept.until > now && (kept.client != client || kept.worker != worker);
        if all.get(&job).is_some_and(is_other) {
            return false;
        }
        let until = now + time;
        let (client, worker) = (client.to_owned(), worker.to_owned());
        all.insert(
            job,
            For {
                client,
                worker,
                until,
            },
        );
        true
    }

    /// Whether a job is kept for another than this worker.
    pub(super) fn is_from(&self, job: JobId, client: &str, worker: Option<&str>) -> bool {
        let now = Instant::now();
        self.all().get(&job).is_some_and(|kept| {
            kept.until > now && (kept.client != client || Some(kept.worker.as_str()) != worker)
        })
    }
}
