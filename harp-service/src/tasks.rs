//! A daemon's long-lived tasks: each has a name and a phase of the stop that it ends in.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The tasks that end in one phase of the stop. Dropping it ends them where they are.
#[derive(Debug)]
pub struct Tasks {
    phase: &'static str,
    running: TaskTracker,
    over: CancellationToken,
}

impl Tasks {
    /// No tasks yet. `phase` says when they end, for the log.
    #[must_use]
    pub fn of_phase(phase: &'static str) -> Tasks {
        Tasks {
            phase,
            running: TaskTracker::new(),
            over: CancellationToken::new(),
        }
    }

    /// Runs a task until it is done or the phase is over. A panic of it is told to the log,
    /// with its name.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (phase, over) = (self.phase, self.over.clone());
        self.running.spawn(async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            if let Some(Err(_)) = over.run_until_cancelled(work).await {
                error!(
                    task = name,
                    phase, "a task met a fault of this program and is gone; please report it"
                );
            }
        });
    }

    /// Ends the tasks where they are, and returns when they are gone.
    pub async fn end(&self) {
        self.over.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_their_phase_whatever_they_wait_for() {
        let tasks = Tasks::of_phase("test");
        let held = Arc::new(());
        for _ in 0..3 {
            let held = Arc::clone(&held);
            tasks.spawn("waits", async move {
                pending::<()>().await;
                drop(held);
            });
        }
        tasks.spawn("panics", async { panic!("as it may") });
        tasks.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn tasks_end_when_nobody_owns_them_any_more() {
        let (told, gone) = tokio::sync::oneshot::channel::<()>();
        let tasks = Tasks::of_phase("test");
        tasks.spawn("waits", async move {
            pending::<()>().await;
            drop(told);
        });
        drop(tasks);
        assert!(gone.await.is_err());
    }
}
