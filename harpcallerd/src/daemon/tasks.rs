//! The daemon's long-lived tasks: each has a name and a phase of the stop that it ends in.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tracing::error;

/// The tasks that end in one phase of the stop. Dropping it ends them where they are.
#[derive(Debug)]
pub(super) struct Tasks {
    phase: &'static str,
    running: JoinSet<()>,
}

impl Tasks {
    /// No tasks yet. `phase` says when they end, for the log.
    pub(super) fn of_phase(phase: &'static str) -> Tasks {
        Tasks {
            phase,
            running: JoinSet::new(),
        }
    }

    /// Runs a task until the phase is over.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let phase = self.phase;
        self.running.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                error!(
                    task = name,
                    phase, "a task met a fault of this program and is gone; please report it"
                );
            }
        });
    }

    /// Ends the tasks, and returns when they are gone.
    pub(super) async fn end(mut self) {
        self.running.shutdown().await;
    }
}
