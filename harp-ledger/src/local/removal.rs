//! Removing ended jobs, a piece at a time.

use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::world::Phase;
use tokio::sync::oneshot;

use super::{Local, lost, unexpected};
use crate::store::{self, Candidates, Change, Done, Reply, StoreError};

impl Local {
    pub(super) fn remove(&self, keep: Keep) -> Answer<Pruned, Lost> {
        let now = self.0.world.wall();
        let max_age = (keep.since > 0).then(|| {
            let age = now.saturating_sub(keep.since);
            // What ended in that millisecond stays.
            Duration::from_millis(age.saturating_add(1))
        });
        let keep = store::Keep {
            max_age,
            by_wall_clock: u64::MAX,
            jobs: Some(keep.most),
            bytes: Some(keep.most_bytes),
        };
        let (answer, receipt) = Local::receipt();
        let ledger = self.clone();
        let work = async move {
            let pruned = ledger.prune_by(keep).await;
            // Whoever asked may be gone.
            let _ = answer.send(pruned.map_err(lost).map(|pruned| Pruned {
                jobs: usize::try_from(pruned.jobs).unwrap_or(usize::MAX),
                more: pruned.more,
            }));
        };
        let world = &self.0.world;
        world.spawn("prune", Phase::Verbs, Box::pin(work));
        receipt
    }

    /// Removes one piece of what is not to be kept, by all that the store knows of ages.
    /// Waits for the end of an outage. Dropping the future may leave it done or not.
    ///
    /// # Errors
    ///
    /// If the store is closed, or damaged.
    pub async fn prune_by(&self, keep: store::Keep) -> Result<store::Pruned, StoreError> {
        let store = &self.0.store;
        let Candidates { jobs, is_withheld } = store.patiently(|| store.candidates(keep)).await?;
        let nothing = store::Pruned {
            withheld: is_withheld,
            ..store::Pruned::default()
        };
        let Some(oldest) = jobs.first().map(|job| job.id) else {
            return Ok(nothing);
        };
        let (answer, pruned) = oneshot::channel();
        let removal = Removal {
            ledger: self.clone(),
            answer,
        };
        let change = Change::Prune { jobs, keep };
        store.push(oldest, 0, change, Box::new(removal));
        let pruned = pruned.await.unwrap_or(Err(StoreError::Closed))?;
        Ok(store::Pruned {
            withheld: is_withheld,
            ..pruned
        })
    }
}

/// A removal on its way to the disk.
struct Removal {
    ledger: Local,
    answer: oneshot::Sender<Result<store::Pruned, StoreError>>,
}

impl Reply for Removal {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let pruned = match done {
            Ok(Done::Pruned(pruned, gone)) => {
                let state = self.ledger.state();
                let at = self.ledger.0.world.wall();
                for job in gone {
                    state.changed(job, What::Pruned, at);
                }
                Ok(pruned)
            }
            Ok(_) => Err(StoreError::Unreadable(format!("{:?}", unexpected()))),
            Err(error) => Err(error),
        };
        let _ = self.answer.send(pruned);
    }
}
