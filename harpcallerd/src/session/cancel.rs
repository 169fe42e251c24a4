//! Cancelling a job (client protocol, section 3).

use std::sync::Arc;

use harp_host::Cancel;
use harp_proto::client::CancelReply;
use harp_proto::{Fault, JobId};

use crate::dispatcher::Dispatcher;

/// Cancels a job that is queued or running; its end is on disk when this returns. With
/// `confirm` (section 8) its host has then been waited for too, at most `slot_grace`.
///
/// # Errors
///
/// `storage_error`.
pub async fn cancel(
    dispatcher: &Arc<Dispatcher>,
    job: JobId,
    confirm: bool,
) -> Result<CancelReply, Fault> {
    if !confirm {
        return Ok(CancelReply {
            cancelled: dispatcher.cancel(job).await?,
            remote_confirmed: None,
        });
    }
    let (cancelled, host) = dispatcher.cancel_and_confirm(job).await?;
    Ok(CancelReply {
        cancelled,
        remote_confirmed: Some(host == Cancel::Confirmed),
    })
}
