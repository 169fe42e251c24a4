//! Requests of the client protocol in words of the desk, and what it answers in replies.

use bytes::Bytes;
use harp_jobs::transport::Proof;
use harp_proto::Json;
use harp_proto::client::{
    Call, CallReply, CancelReply, JobTimes, ResultReply, StatusReply, StreamStart, TimeLimits,
};

use crate::call::{Accepted, NewCall, QueueChoice};
use crate::desk::cancel::Cancelled;
use crate::desk::packets::Start;
use crate::desk::read::Report;
use crate::record::EndRecord;

/// A call. Its arguments are kept while the job runs; they must not hold on to a line that
/// is much longer.
pub(super) fn call(call: Call) -> NewCall {
    let is_mostly_info =
        call.info != Json::NULL && call.info.as_bytes().len() > call.arguments.as_bytes().len();
    let arguments = match is_mostly_info {
        true => Json::from_trusted(Bytes::copy_from_slice(call.arguments.as_bytes())),
        false => call.arguments,
    };
    NewCall {
        host: call.host,
        procedure: call.procedure,
        arguments,
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
    }
}

pub(super) fn start(start: StreamStart) -> Start {
    match start {
        StreamStart::Since(number) => Start::At(number),
        StreamStart::Recent(count) => Start::Recent(count),
    }
}

pub(super) fn accepted(accepted: Accepted, tells_limits: bool) -> CallReply {
    let limits = accepted.limits.filter(|_| tells_limits);
    CallReply {
        job_id: accepted.job,
        existing: accepted.existing,
        limits: limits.map(|limits| TimeLimits {
            timeout: limits.timeout,
            max_exec_time: limits.max_exec_time,
        }),
    }
}

pub(super) fn cancelled(cancelled: Cancelled) -> CancelReply {
    CancelReply {
        cancelled: cancelled.cancelled,
        remote_confirmed: cancelled.host.map(|host| host == Proof::Confirmed),
    }
}

pub(super) fn result(end: Option<&EndRecord>) -> ResultReply {
    match end {
        Some(end) => ResultReply::Ended(end.outcome.clone()),
        None => ResultReply::NoResult,
    }
}

pub(super) fn status(report: Report) -> StatusReply {
    let call = report.call;
    StatusReply {
        host: call.host,
        procedure: call.procedure,
        arguments: call.arguments,
        time: JobTimes {
            submit: call.submitted / 1000,
            start: report.started.map(|time| time / 1000),
            end: report.ended.map(|time| time / 1000),
        },
        info: call.info,
    }
}
