//! Requests of the client protocol in words of the desk, and what it answers in replies.

use harp_jobs::call::{Accepted, NewCall};
use harp_jobs::record::EndRecord;
use harp_jobs::transport::Proof;
use harp_proto::client::{
    Call, CallReply, CancelReply, JobTimes, ResultReply, Snapshot, StatusReply, StreamStart,
    TimeLimits,
};
use harp_proto::{Evidence, Json};

use crate::desk::cancel::Cancelled;
use crate::desk::packets::Start;
use crate::desk::read::Report;
use crate::desk::view::View;
use crate::faces::wire_call::new_call;

/// A call, whose info may be most of its line.
pub(super) fn call(call: Call) -> NewCall {
    let is_small_part =
        call.info != Json::NULL && call.info.as_bytes().len() > call.arguments.as_bytes().len();
    new_call(call, is_small_part)
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

pub(super) fn status(report: Report, evidence: Option<Evidence>) -> StatusReply {
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
        evidence,
        snapshot: None,
    }
}

/// All that is known of a job at one moment.
pub(super) fn snapshot(view: View, evidence: bool) -> StatusReply {
    let end = view.end.as_deref();
    let snapshot = Snapshot {
        submitted: view.report.call.submitted,
        started: view.report.started,
        ended: view.report.ended,
        packets: view.packets,
        outcome: end.map(|end| end.outcome.clone()),
    };
    let evidence = end
        .filter(|_| evidence)
        .and_then(|end| end.remarks.evidence.clone());
    StatusReply {
        snapshot: Some(snapshot),
        ..status(view.report, evidence)
    }
}
