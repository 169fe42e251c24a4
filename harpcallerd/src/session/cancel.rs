//! Cancelling a job (client protocol, section 3).

use std::sync::Arc;

use harp_proto::client::CancelReply;
use harp_proto::{Fault, JobId};

use crate::dispatcher::Dispatcher;

/// Cancels a job that is queued or running; its end is on disk when this returns.
///
/// # Errors
///
/// `invalid_request` for an extension that is not in force, `storage_error`.
pub async fn cancel(
    dispatcher: &Arc<Dispatcher>,
    job: JobId,
    confirm: bool,
) -> Result<CancelReply, Fault> {
    if confirm {
        return Err(Fault::invalid_request(
            "confirm",
            "not in force in this dispatcher, see its features",
        ));
    }
    Ok(CancelReply {
        cancelled: dispatcher.cancel(job).await?,
        remote_confirmed: None,
    })
}
