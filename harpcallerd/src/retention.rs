//! How long ended jobs are kept (daemon specification, keys `max_age`, `max_jobs`,
//! `max_store_size`). The store is asked to prune a bounded piece at a time, so that
//! calls go on in between.

use std::time::Duration;

use harp_service::settings::Table;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock;
use crate::store::{Keep, Store, StoreError};

/// Between two looks at what is too old or too much.
const EVERY: Duration = Duration::from_secs(60);

/// Which ended jobs are kept; without any limit, all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those submitted not longer ago than this.
    pub max_age: Option<Duration>,
    /// At most so many.
    pub max_jobs: Option<u64>,
    /// As many as fit into so many bytes of calls, packets and results.
    pub max_store_size: Option<u64>,
}

impl Retention {
    /// Takes the keys out of the configuration.
    pub(crate) fn take(table: &Table<'_>) -> Retention {
        // A hundred years of 365 days.
        let hours = table.integer("max_age", 1..=876_000);
        Retention {
            max_age: hours.map(|hours| Duration::from_secs(hours * 3600)),
            max_jobs: table.integer("max_jobs", 0..=u64::MAX),
            max_store_size: table.size("max_store_size"),
        }
    }

    fn keep(&self) -> Keep {
        Keep {
            submitted_since: self.max_age.map(since),
            jobs: self.max_jobs,
            bytes: self.max_store_size,
        }
    }
}

/// Keeps the store within the limits of the moment, looking once a minute and when they
/// change. Ends when nobody can change them any more.
pub async fn keep(store: Store, mut limits: watch::Receiver<Retention>) {
    loop {
        let now = *limits.borrow_and_update();
        if now != Retention::default()
            && let Err(error) = prune(&store, now.keep()).await
        {
            warn!(%error, "ended jobs cannot be pruned at present");
        }
        if let Ok(Err(_)) = timeout(EVERY, limits.changed()).await {
            return;
        }
    }
}

/// Prunes the ended jobs that were submitted longer ago than this, and returns how many.
///
/// # Errors
///
/// If the store cannot be read or written; what has been pruned by then stays so.
pub async fn prune_older(store: &Store, age: Duration) -> Result<u64, StoreError> {
    let keep = Keep {
        submitted_since: Some(since(age)),
        ..Keep::default()
    };
    prune(store, keep).await
}

async fn prune(store: &Store, keep: Keep) -> Result<u64, StoreError> {
    let mut jobs = 0;
    loop {
        let piece = store.prune(keep).await?;
        jobs += piece.jobs;
        if !piece.more {
            break;
        }
    }
    if jobs > 0 {
        info!(jobs, "ended jobs pruned");
    }
    Ok(jobs)
}

fn since(age: Duration) -> u64 {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    clock::now().saturating_sub(age)
}
