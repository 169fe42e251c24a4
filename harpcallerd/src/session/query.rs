//! Asking for a job's result and status (client protocol, sections 4 and 5).

use harp_proto::client::{JobTimes, ResultReply, StatusReply};
use harp_proto::{Fault, JobId, Outcome};

use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::record::{EndRecord, Stage};
use crate::store::{Store, StoreError};

/// How a job ended, or that it has not.
///
/// # Errors
///
/// `invalid_jobid`, `storage_error`.
pub async fn result(dispatcher: &Dispatcher, job: JobId) -> Result<ResultReply, Fault> {
    if let Some(live) = dispatcher.jobs().get(job) {
        let progress = live.watch().borrow().clone();
        return Ok(match progress.outcome {
            Some(outcome) => ResultReply::Ended((*outcome).clone()),
            None => ResultReply::NoResult,
        });
    }
    stored_outcome(dispatcher, job)
        .await
        .map(ResultReply::Ended)
}

/// The stored end of a job, for those who wait for it: they wait for the end of an outage
/// too, until `closing` says that nobody may any more. Cancel safe.
pub(super) async fn stored_end(
    store: &Store,
    job: JobId,
    closing: &CancellationToken,
) -> Result<Option<EndRecord>, StoreError> {
    tokio::select! {
        biased;
        end = store.patiently(|| store.outcome(job)) => end,
        () = closing.cancelled() => store.outcome(job).await,
    }
}

/// How a job ended, once it has; `None` if that would have to be waited for and
/// `closing` says that nobody may any more. Cancel safe.
///
/// # Errors
///
/// `invalid_jobid`, `storage_error`.
pub async fn end_result(
    dispatcher: &Dispatcher,
    job: JobId,
    closing: &CancellationToken,
) -> Result<Option<ResultReply>, Fault> {
    let Some(live) = dispatcher.jobs().get(job) else {
        let end = stored_end(dispatcher.store(), job, closing).await;
        let end = end
            .map_err(Fault::unreadable)?
            .ok_or_else(Fault::invalid_job_id)?;
        return Ok(Some(ResultReply::Ended(end.outcome)));
    };
    let mut progress = live.watch();
    tokio::select! {
        biased;
        // The sender is in `live`, so there is always an answer.
        ended = progress.wait_for(|progress| progress.outcome.is_some()) => {
            let outcome = ended.ok().and_then(|progress| progress.outcome.clone());
            Ok(outcome.map(|outcome| ResultReply::Ended((*outcome).clone())))
        }
        () = closing.cancelled() => Ok(None),
    }
}

/// A job's call, times and info.
///
/// # Errors
///
/// `invalid_jobid`, `storage_error`.
pub async fn status(dispatcher: &Dispatcher, job: JobId) -> Result<StatusReply, Fault> {
    // Asked first: a job that is live now may have its end on disk before the store is
    // read. It is shown as ended no sooner than its result is.
    let live = dispatcher.jobs().get(job);
    let record = dispatcher
        .store()
        .job(job)
        .await
        .map_err(Fault::unreadable)?;
    let record = record.ok_or_else(Fault::invalid_job_id)?;
    let (start, end) = match record.stage {
        Stage::Queued { .. } => (None, None),
        Stage::Running { started } => (Some(started), None),
        Stage::Ended { started, ended } => (started, Some(ended)),
    };
    let shown = live.is_none_or(|live| live.watch().borrow().outcome.is_some());
    let call = record.call;
    Ok(StatusReply {
        host: call.host,
        procedure: call.procedure,
        arguments: call.arguments,
        time: JobTimes {
            submit: call.submitted / 1000,
            start: start.map(|time| time / 1000),
            end: end.filter(|_| shown).map(|time| time / 1000),
        },
        info: call.info,
    })
}

async fn stored_outcome(dispatcher: &Dispatcher, job: JobId) -> Result<Outcome, Fault> {
    let end = dispatcher
        .store()
        .outcome(job)
        .await
        .map_err(Fault::unreadable)?;
    end.map(|end| end.outcome).ok_or_else(Fault::invalid_job_id)
}
