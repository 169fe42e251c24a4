//! What is told of jobs that have ended, from their records: spans, and the metrics by host and
//! procedure. Nothing waits for it.

use std::sync::Arc;

use harp_jobs::changes::{Changes, What};
use harp_jobs::ledger::Ledger as _;
use harp_proto::JobId;
use tokio::sync::watch;
use tracing::debug;

use crate::dispatcher::Dispatcher;
use crate::hosts::Hosts;
use crate::meters::Meters;
use crate::meters::by_name::Labels;
use crate::traces::Traces;

/// Changes that are looked at together.
const AT_ONCE: usize = 256;

/// Those that are told, and those that are asked.
#[derive(Debug, Clone)]
pub struct Telling {
    /// The jobs.
    pub dispatcher: Arc<Dispatcher>,
    /// Where their hosts are.
    pub hosts: Arc<Hosts>,
    /// What becomes of jobs.
    pub changes: Changes,
    /// What takes spans.
    pub traces: Traces,
    /// What counts ends.
    pub meters: Meters,
    /// What it tells them apart by.
    pub labels: watch::Receiver<Labels>,
    /// The number of the newest change that was looked at.
    pub told: Arc<watch::Sender<u64>>,
}

impl Telling {
    /// Tells of each job that ends in this life of the dispatcher.
    pub async fn follow(self) {
        let mut newest = self.changes.newest();
        let mut seen = 0;
        loop {
            // The sender is in `self`.
            let _ = newest.wait_for(|newest| *newest > seen).await;
            let Ok(changes) = self.changes.behind(seen, AT_ONCE) else {
                let now = *newest.borrow();
                self.traces.missed(now - seen);
                seen = now;
                self.told.send_replace(seen);
                continue;
            };
            for change in changes {
                seen = change.number;
                if change.what == What::Ended {
                    self.tell(change.job).await;
                }
            }
            self.told.send_replace(seen);
        }
    }

    /// Waits until all that has ended by now is told. Cancel safe.
    pub async fn caught_up(&self) {
        let newest = *self.changes.newest().borrow();
        let mut told = self.told.subscribe();
        // The sender is in `self`.
        let _ = told.wait_for(|told| *told >= newest).await;
    }

    /// One that cannot be read is passed over.
    async fn tell(&self, job: JobId) {
        let labels = *self.labels.borrow();
        if !self.traces.is_on() && !labels.are_wanted() {
            return;
        }
        // It is on record a moment before it is shown.
        let end = self.dispatcher.jobs().wait(job).await;
        let record = self.dispatcher.ledger().job(job).await;
        let (Ok(Some(record)), Ok(Some(end))) = (record, end) else {
            debug!(%job, "nothing can be told of its end");
            return self.traces.missed(1);
        };
        let host = self.hosts.get(&record.call.host);
        self.traces.ended(job, &record.call, &end, host.as_ref());
        if labels.are_wanted() {
            self.meters.ended(labels, &record.call, &end);
        }
    }
}
