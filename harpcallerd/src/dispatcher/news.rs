//! Taking up what the ledger tells.

use std::pin::pin;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use tracing::info;

use super::Dispatcher;
use crate::job::Start;
use crate::ledger::{News, Withdrawn};

/// How many ends are on their way to the disk at once.
const ENDS_AT_ONCE: usize = 1000;

impl Dispatcher {
    /// Carries out what the ledger decides, until the dispatcher is gone. Only the first one
    /// to call this is told anything. Not to be dropped before the dispatcher is idle.
    pub async fn serve(self: Arc<Self>) {
        let news = self
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut news) = news else {
            return;
        };
        let dispatcher = Arc::clone(&self);
        let taking_up = async move {
            while let Some(told) = news.recv().await {
                dispatcher.take_up(told.news);
            }
        };
        tokio::join!(taking_up, self.ledger.serve_the_due());
    }

    fn take_up(self: &Arc<Self>, news: News) {
        match news {
            News::Turn(job) => {
                // It may have been withdrawn meanwhile.
                if let Some(start_by) = self.ledger.begin(job) {
                    let live = self.jobs.own(job, start_by);
                    self.start(live, Start::ToRecord);
                }
            }
            News::Started { job, call, at } => {
                let live = self.jobs.own(job, None);
                self.start(live, Start::Recorded { call, started: at });
            }
            News::Withdrawn(withdrawn) => {
                if let [job] = withdrawn.jobs[..] {
                    let outcome = withdrawn.outcome.name();
                    info!(%job, outcome, "job ended in its queue");
                }
                let dispatcher = Arc::clone(self);
                self.tasks
                    .spawn(async move { dispatcher.end_withdrawn(withdrawn).await });
            }
        }
    }

    /// Records the ends of jobs that were withdrawn.
    async fn end_withdrawn(&self, withdrawn: Withdrawn) {
        let Withdrawn {
            jobs,
            outcome,
            mut done,
        } = withdrawn;
        for jobs in jobs.chunks(ENDS_AT_ONCE) {
            let visits: Vec<_> = jobs.iter().map(|job| self.jobs.visit(*job)).collect();
            let ends = visits
                .iter()
                .map(|live| self.end_unstarted(live, outcome.clone()));
            let mut ends = pin!(join_all(ends));
            let unrecorded = async {
                for live in &visits {
                    if live.ended_or_unrecorded().await.is_none() {
                        return;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                biased;
                _ = &mut ends => continue,
                // Nobody waits any more; the ends go on.
                () = unrecorded => drop(done.take()),
            }
            ends.await;
        }
        if let Some(done) = done {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }
}
