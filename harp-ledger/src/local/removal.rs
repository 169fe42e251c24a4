//! Removing ended jobs, a piece at a time.

use harp_jobs::ledger::*;
use harp_jobs::world::Phase;
use tokio::sync::oneshot;

use super::{Local, lost, unexpected};
use crate::store::{Candidates, Change, Done, Reply, StoreError};

impl Local {
    pub(super) fn remove(&self, keep: Keep) -> Answer<Pruned, Lost> {
        let (answer, receipt) = Local::receipt();
        let ledger = self.clone();
        let work = async move {
            let pruned = ledger.remove_piece(keep).await;
            // Whoever asked may be gone.
            let _ = answer.send(pruned.map_err(lost));
        };
        let world = &self.0.world;
        world.spawn("prune", Phase::Verbs, Box::pin(work));
        receipt
    }

    /// Waits for the end of an outage.
    async fn remove_piece(&self, keep: Keep) -> Result<Pruned, StoreError> {
        let store = &self.0.store;
        let Candidates { jobs, is_withheld } = store.patiently(|| store.candidates(keep)).await?;
        let nothing = Pruned {
            withheld: is_withheld,
            ..Pruned::default()
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
        Ok(Pruned {
            withheld: is_withheld,
            ..pruned
        })
    }
}

/// A removal on its way to the disk.
struct Removal {
    ledger: Local,
    answer: oneshot::Sender<Result<Pruned, StoreError>>,
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
