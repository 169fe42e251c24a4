//! Ending queued jobs that could not start in time (`start_by`; client protocol,
//! section 8).

use std::sync::Arc;

use harp_proto::Outcome;
use tokio::time::{Instant, sleep_until};

use super::{Dispatcher, Lineup};
use crate::job;
use crate::jobs::LiveJob;

impl Dispatcher {
    /// Ends queued jobs whose time to start is over, as it comes: one timer for all of
    /// them. Never completes. Cancel safe.
    pub async fn end_overdue(self: Arc<Self>) {
        loop {
            let first = self.lineup().deadlines.first();
            let timer = async {
                match first {
                    Some(by) => sleep_until(by).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.new_first_deadline.notified() => continue,
            }
            let due = self.lineup().deadlines.take_due(Instant::now());
            for live in due.into_iter().filter_map(|id| self.jobs.get(id)) {
                if let Some(outcome) = job::overdue(&live) {
                    self.end_if_waiting(&live, outcome);
                }
            }
        }
    }

    /// Enters the deadline of a job that waits and may start when its turn comes.
    pub(super) fn await_start(&self, lineup: &mut Lineup, live: &LiveJob) {
        if let Some(start_by) = live.start_by
            && lineup.deadlines.add(start_by.by, live.id)
        {
            self.new_first_deadline.notify_one();
        }
    }

    /// Ends a job that has not started, and will not.
    pub(super) async fn end_unstarted(&self, live: &LiveJob, outcome: Outcome) {
        let end = job::End {
            started: None,
            packets: 0,
            outcome,
        };
        self.runner.end_waiting(live, end, &self.jobs).await;
    }
}
