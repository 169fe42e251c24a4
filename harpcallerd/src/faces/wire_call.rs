//! A call of the client protocol, which bodies of HTTP have too, in words of the desk.

use bytes::Bytes;
use harp_jobs::call::{NewCall, QueueChoice};
use harp_proto::Json;
use harp_proto::client::Call;

/// The call of a longer text. Its arguments are kept while the job runs: if they are a small
/// part of that text, they are copied, so that they do not hold on to all of it.
pub(super) fn new_call(call: Call, is_small_part: bool) -> NewCall {
    NewCall {
        host: call.host,
        procedure: call.procedure,
        arguments: if is_small_part {
            Json::from_trusted(Bytes::copy_from_slice(call.arguments.as_bytes()))
        } else {
            call.arguments
        },
        timeout: call.timeout,
        max_exec_time: call.max_exec_time,
        queue: call.queue.map(|queue| QueueChoice {
            name: queue.name,
            concurrency: queue.concurrency,
        }),
        info: call.info,
        key: call.key,
        unless_since: call.unless_since,
        start_by: call.start_by,
        trace: call.traceparent,
    }
}
