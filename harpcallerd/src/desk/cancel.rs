//! Cancelling a job.

use std::sync::Arc;

use harp_jobs::access::Operation;
use harp_jobs::client::Client;
use harp_jobs::jobs::NotKnown;
use harp_jobs::refusal::Refusal;
use harp_jobs::transport::Proof;
use harp_time::within;
use harp_values::JobId;
use tokio::time::Instant;
use tracing::info;

use super::Desk;

/// What came of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// True if the job was queued or running.
    pub cancelled: bool,
    /// Where that was asked for: whether the host has proved that nothing of the call is
    /// left.
    pub host: Option<Proof>,
}

impl Desk {
    /// Cancels a job that is queued or running; its end is on disk when this returns. With
    /// `confirm` its host has then been waited for too, at most `slot_grace`.
    ///
    /// Cancel safe: once begun, the cancellation goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Storage`], [`Refusal::EndNotRecorded`]; [`Refusal::Closing`] if the daemon
    /// stops first, and then it is not known whether the job was cancelled.
    pub async fn cancel(
        &self,
        by: &Client,
        job: JobId,
        confirm: bool,
    ) -> Result<Cancelled, Refusal> {
        self.permit(by, Operation::Cancel, job).await?;
        let jobs = Arc::clone(self.dispatcher.jobs());
        let (audit, by) = (self.audit.clone(), by.clone());
        let cancelled = self.act(async move {
            let cancelled = jobs.cancel(job).await.map_err(|error| {
                not_recorded(&error, "the end of the job cannot be recorded at present")
            })?;
            if cancelled.is_some() {
                if by.is_administrator() {
                    info!(%job, client = by.name(), "job cancelled by an administrator");
                }
                audit.cancelled(&by, job);
            }
            Ok(cancelled)
        });
        let cancelled = cancelled.await?;
        let is_cancelled = cancelled.is_some();
        let host = match cancelled {
            _ if !confirm => None,
            Some(cancelled) => {
                let by = Instant::now() + self.dispatcher.slot_grace();
                let host = within(by, cancelled.host()).await;
                Some(host.unwrap_or(Proof::Unconfirmed))
            }
            None => Some(Proof::Unconfirmed),
        };
        Ok(Cancelled {
            cancelled: is_cancelled,
            host,
        })
    }
}

/// What is said of a cancel whose effect is not known. In an outage it goes on; where the
/// daemon stops before, the job is left as it is to the next start, and nobody may take that
/// for trouble with the store.
pub(super) fn not_recorded(error: &NotKnown, why: &'static str) -> Refusal {
    info!(%error, "a cancel cannot be recorded at present");
    match error {
        NotKnown::Closing => Refusal::Closing,
        NotKnown::Storage(_) => Refusal::EndNotRecorded { why },
    }
}
