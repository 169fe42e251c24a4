//! Jobs that others hold, and that somebody here waits for or follows: what becomes of them is
//! asked of the ledger, all of them with one question, at intervals that grow while nothing
//! happens. A job that is held here is told of by its owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use harp_values::JobId;

use super::Jobs;
use crate::ledger::{Elsewhere, Whereabouts};
use crate::transport::Proof;
use crate::world::Moment;

/// The shortest and the longest time between two questions.
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_millis(400);

/// Jobs of one question at most.
const AT_ONCE: usize = 1024;

impl Jobs {
    /// Goes on until nobody waits for a job any more.
    pub(super) async fn watch_elsewhere(self: Arc<Self>) {
        let mut known: HashMap<JobId, Elsewhere> = HashMap::new();
        let mut pause = SHORTEST;
        loop {
            let jobs = self.handles.unowned();
            let all: HashSet<&JobId> = jobs.iter().collect();
            known.retain(|job, _| all.contains(job));
            let mut is_news = false;
            for some in jobs.chunks(AT_ONCE) {
                is_news |= self.look_elsewhere(some, &mut known).await;
            }
            pause = if is_news {
                SHORTEST
            } else {
                (pause * 2).min(LONGEST)
            };
            let again = async {
                // Somebody who has just come is not kept waiting; many of them are together.
                self.world.sleep(self.world.now() + SHORTEST).await;
                let until = if jobs.is_empty() {
                    Moment::NEVER
                } else {
                    self.world.now() + pause
                };
                tokio::select! {
                    biased;
                    () = self.handles.looked_at() => {}
                    () = self.world.sleep(until) => {}
                }
            };
            tokio::select! {
                biased;
                () = self.over() => return,
                () = again => {}
            }
        }
    }

    /// Asks for some jobs, and shows what is new. False if nothing is.
    async fn look_elsewhere(&self, jobs: &[JobId], known: &mut HashMap<JobId, Elsewhere>) -> bool {
        let Some(asking) = self.ledger.elsewhere(jobs) else {
            return false;
        };
        // In an outage nothing is new; whoever waits knows of it by itself.
        let Ok(found) = asking.await else {
            return false;
        };
        let mut is_news = false;
        for (job, found) in jobs.iter().zip(found) {
            if found.whereabouts == Whereabouts::Ended {
                if let Ok(Some(end)) = self.ledger.end(*job).await {
                    self.handles.tell_end(*job, end);
                    // Whether its host was done with it only its holder knows.
                    self.handles.tell_host(*job, Proof::Unconfirmed);
                    is_news = true;
                }
            } else if known.insert(*job, found) != Some(found) {
                self.handles.tell_elsewhere(*job, found.packets);
                is_news = true;
            }
        }
        is_news
    }
}
