//! How many jobs each host has. The host of a job is in its record alone, so it is read once
//! for each live job and remembered as long as the job lives.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_jobs::ledger::{Ledger as _, Whereabouts};
use harp_jobs::refusal::Refusal;
use harp_values::JobId;

use super::Desk;
use super::lists::passing_damaged;

/// Which host each live job is at, as far as anybody has asked.
#[derive(Debug, Default)]
pub struct HostLoad(Mutex<HashMap<JobId, Arc<str>>>);

/// Jobs of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Those that run.
    pub running: u64,
    /// Those that wait.
    pub queued: u64,
}

impl Desk {
    /// How many jobs each host has that has any. Cancel safe.
    pub(super) async fn loads(&self) -> Result<HashMap<Arc<str>, Load>, Refusal> {
        let ledger = self.dispatcher.ledger();
        let live = ledger.live_jobs().await?;
        let mut found = Vec::new();
        for job in self.load.unknown(&live) {
            if let Some(record) = passing_damaged(ledger.job(job).await)? {
                found.push((job, Arc::from(record.call.host)));
            }
        }
        let places = ledger.whereabouts(&live).await;
        let places = places?;
        Ok(self.load.count(found, live.iter().zip(places)))
    }
}

impl HostLoad {
    /// Those of the live jobs whose hosts are not known. Those of all others are forgotten.
    fn unknown(&self, live: &[JobId]) -> Vec<JobId> {
        let wanted: HashSet<&JobId> = live.iter().collect();
        let mut known = self.known();
        known.retain(|job, _| wanted.contains(job));
        let unknown = live.iter().filter(|job| !known.contains_key(*job));
        unknown.copied().collect()
    }

    /// Counts jobs by their hosts, some of which have just been found.
    fn count<'j>(
        &self,
        found: Vec<(JobId, Arc<str>)>,
        jobs: impl Iterator<Item = (&'j JobId, Whereabouts)>,
    ) -> HashMap<Arc<str>, Load> {
        let mut known = self.known();
        known.extend(found);
        let mut loads: HashMap<Arc<str>, Load> = HashMap::new();
        for (job, place) in jobs {
            let Some(host) = known.get(job) else {
                continue;
            };
            let load = loads.entry(Arc::clone(host)).or_default();
            match place {
                Whereabouts::Here | Whereabouts::There(_) => load.running += 1,
                Whereabouts::Waits => load.queued += 1,
                Whereabouts::Nothing | Whereabouts::Ended => {}
            }
        }
        loads
    }

    fn known(&self) -> MutexGuard<'_, HashMap<JobId, Arc<str>>> {
        // A std mutex: held for a walk over the live jobs, never across an await.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
