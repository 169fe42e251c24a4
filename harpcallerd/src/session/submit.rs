//! Submitting a call (client protocol, section 2).

use std::sync::Arc;

use bytes::Bytes;
use harp_proto::client::{Call, CallReply};
use harp_proto::{Fault, Json};

use crate::client::Identity;
use crate::dispatcher::Dispatcher;

/// Accepts a call of a client; its job is on disk when this returns.
///
/// # Errors
///
/// `request_too_large`, `invalid_request` for a key that stands for another call,
/// `shutdown`, `overloaded`, `storage_error`.
pub async fn submit(
    dispatcher: &Arc<Dispatcher>,
    mut call: Call,
    client: Option<&Identity>,
    max_request_size: usize,
) -> Result<CallReply, Fault> {
    // The line may be longer than its JSON text; the text itself may not.
    let info = match call.info == Json::NULL {
        true => 0,
        false => call.info.as_bytes().len(),
    };
    let names = call.host.len() + call.procedure.len();
    if call.arguments.as_bytes().len() + info + names > max_request_size {
        return Err(Fault::request_too_large(max_request_size));
    }
    if info > call.arguments.as_bytes().len() {
        // The arguments are kept while the job runs; they must not hold on to the line.
        let arguments = Bytes::copy_from_slice(call.arguments.as_bytes());
        call.arguments = Json::from_trusted(arguments);
    }
    let accepted = dispatcher.submit(call, client).await?;
    Ok(CallReply {
        job_id: accepted.job,
        existing: accepted.existing,
    })
}
