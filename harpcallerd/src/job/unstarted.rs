//! The wait of a job that has its place while the store cannot be written: it has not
//! started, and will not before its start can be recorded.

use harp_jobs::failures;
use harp_proto::Outcome;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::jobs::LiveJob;
use crate::ledger::StartBy;
use crate::store::StoreError;

/// Why a job does not start.
#[derive(Debug, PartialEq)]
pub(super) enum Unstarted {
    /// It ends with this.
    Ended(Outcome),
    /// The dispatcher stops: the job stays as it is on disk, for the next start.
    Left,
}

/// Waits for what the store does, at most until the job is cancelled, its time to start
/// is over, or the dispatcher stops. Cancel safe if `stored` is.
pub(super) async fn wait<T>(
    live: &LiveJob,
    interrupt: &CancellationToken,
    stored: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Unstarted> {
    let late = async {
        match live.start_by() {
            Some(start_by) => {
                sleep_until(start_by.by).await;
                not_started(start_by)
            }
            None => std::future::pending().await,
        }
    };
    let stored = tokio::select! {
        biased;
        () = live.cancel_requested() => return Err(Unstarted::Ended(Outcome::Cancelled)),
        () = interrupt.cancelled() => return Err(Unstarted::Left),
        outcome = late => return Err(Unstarted::Ended(outcome)),
        stored = stored => stored,
    };
    match stored {
        Ok(stored) => Ok(stored),
        // A closed store is the end of a stop.
        Err(StoreError::Closed) => Err(Unstarted::Left),
        Err(error) => Err(ended(&error)),
    }
}

/// What becomes of a job whose record cannot be had although the store works.
pub(super) fn ended(why: &dyn std::fmt::Display) -> Unstarted {
    Unstarted::Ended(Outcome::Error(failures::storage(why)))
}

/// How a job ends that has not started by now; `None` if it still may.
pub(crate) fn overdue(live: &LiveJob) -> Option<Outcome> {
    let start_by = live.start_by()?;
    let is_over = start_by.by <= Instant::now();
    is_over.then(|| not_started(start_by))
}

fn not_started(start_by: StartBy) -> Outcome {
    Outcome::Error(failures::not_started(start_by.seconds))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt;
    use harp_proto::JobId;

    use super::*;

    fn live() -> Arc<LiveJob> {
        let live = LiveJob::new(JobId::submitted_at(1));
        let by = Instant::now() + Duration::from_secs(5);
        live.take_over(Some(StartBy { by, seconds: 5 }));
        live
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_its_time_to_start_is_over() {
        let (live, interrupt) = (live(), CancellationToken::new());
        let begun = Instant::now();
        assert_eq!(wait(&live, &interrupt, ready(Ok(()))).await, Ok(()));
        let late = Err(Unstarted::Ended(Outcome::Error(failures::not_started(5))));
        assert_eq!(wait(&live, &interrupt, pending()).await, late);
        assert_eq!(begun.elapsed().as_secs(), 5);
        // Also where the store can be written in that moment.
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(wait(&live, &interrupt, ready(Ok(()))).await, late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_ends_it_and_a_stop_leaves_it() {
        let (live, interrupt) = (live(), CancellationToken::new());
        assert_eq!(
            wait(&live, &interrupt, pending::<Result<(), _>>()).now_or_never(),
            None
        );
        let closed = ready(Err::<(), _>(StoreError::Closed));
        assert_eq!(wait(&live, &interrupt, closed).await, Err(Unstarted::Left));
        interrupt.cancel();
        let left = wait(&live, &interrupt, ready(Ok(()))).await;
        assert_eq!(left, Err(Unstarted::Left));
        live.request_cancel();
        let cancelled = wait(&live, &interrupt, ready(Ok(()))).await;
        assert_eq!(cancelled, Err(Unstarted::Ended(Outcome::Cancelled)));
    }
}
