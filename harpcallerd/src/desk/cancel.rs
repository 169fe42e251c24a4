//! Cancelling a job.

use std::sync::Arc;

use harp_host::Cancel;
use harp_proto::JobId;
use tracing::info;

use super::Desk;
use crate::access::Operation;
use crate::client::Client;
use crate::refusal::Refusal;

/// What came of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// True if the job was queued or running.
    pub cancelled: bool,
    /// Where that was asked for: whether the host has proved that nothing of the call is
    /// left.
    pub host: Option<Cancel>,
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
    /// [`Refusal::Storage`], [`Refusal::EndNotRecorded`].
    pub async fn cancel(
        &self,
        by: &Client,
        job: JobId,
        confirm: bool,
    ) -> Result<Cancelled, Refusal> {
        self.permit(by, Operation::Cancel, job).await?;
        let dispatcher = Arc::clone(&self.dispatcher);
        let (audit, by) = (self.audit.clone(), by.clone());
        let cancelled = self.act(async move {
            let cancelled = dispatcher.cancel(job).await?;
            if cancelled.is_some() {
                if by.is_administrator() {
                    info!(%job, client = by.name(), "job cancelled by an administrator");
                }
                audit.cancelled(&by, job);
            }
            Ok(cancelled)
        });
        let cancelled = cancelled.await?;
        let host = match &cancelled {
            _ if !confirm => None,
            Some(live) => Some(live.host_done().await),
            None => Some(Cancel::Unconfirmed),
        };
        Ok(Cancelled {
            cancelled: cancelled.is_some(),
            host,
        })
    }
}
