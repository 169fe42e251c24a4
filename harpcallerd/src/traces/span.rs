//! Something that was done, and when: a request, and what is told of a job when it has ended.

use harp_jobs::record::{CallRecord, EndRecord};
use harp_proto::{JobId, Outcome};
use harp_values::traceparent::{SpanId, TraceId, Traceparent};
use ring::digest::{SHA256, digest};

use crate::hosts::Host;

/// Something that was done. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Its own number.
    pub id: SpanId,
    /// The span that asked for it, if it is known.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: String,
    /// For whom.
    pub kind: Kind,
    /// When it began.
    pub start: u64,
    /// When it was over.
    pub end: u64,
    /// What else is told of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// It did not succeed.
    pub has_failed: bool,
}

/// Kinds of spans, as OpenTelemetry numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request was answered.
    Server = 2,
    /// Somebody else was asked.
    Client = 3,
    /// Something waited, and was taken.
    Consumer = 5,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

const NANOSECONDS: u64 = 1_000_000;

/// What is told of a job that has ended: that it waited in its queue, and the call. `host` is
/// the host, as the registry has it now.
pub(super) fn of_job(
    job: JobId,
    call: &CallRecord,
    end: &EndRecord,
    host: Option<&Host>,
) -> Vec<Span> {
    let Some(place) = call.trace.as_ref().and_then(|trace| trace.parse().ok()) else {
        return Vec::new();
    };
    let place: Traceparent = place;
    if !place.is_sampled {
        return Vec::new();
    }
    let span = |what: &str, name: String, kind, (start, end): (u64, u64)| Span {
        trace: place.trace,
        id: id_of(job, what),
        parent: Some(place.span),
        name,
        kind,
        start: start.saturating_mul(NANOSECONDS),
        end: end.saturating_mul(NANOSECONDS),
        attributes: Vec::new(),
        has_failed: false,
    };
    let mut spans = Vec::new();
    let begun = end.started.unwrap_or(end.ended);
    if let Some(queue) = &call.queue
        && begun > call.submitted
    {
        let name = format!("wait {}", queue.name.as_str());
        let mut wait = span("wait", name, Kind::Consumer, (call.submitted, begun));
        wait.attributes = vec![
            ("messaging.system", "harpcaller".into()),
            ("messaging.operation.type", "process".into()),
            ("messaging.message.id", Value::Text(job.to_string())),
        ];
        spans.push(wait);
    }
    if let Some(started) = end.started {
        let name = call.procedure.clone();
        let mut run = span("call", name, Kind::Client, (started, end.ended));
        run.attributes = vec![
            ("rpc.system.name", "harp".into()),
            ("rpc.method", call.procedure.as_str().into()),
            ("harpcaller.job", Value::Text(job.to_string())),
        ];
        if let Some(host) = host {
            let port = Value::Number(i64::from(host.port()));
            run.attributes
                .push(("server.address", host.address().into()));
            run.attributes.push(("server.port", port));
        }
        let failure = match &end.outcome {
            Outcome::Returned(_) => None,
            Outcome::Exception(failure) | Outcome::Error(failure) => {
                Some(failure.error_type.as_str())
            }
            Outcome::Cancelled => Some("cancelled"),
        };
        if let Some(failure) = failure {
            run.attributes.push(("error.type", failure.into()));
            run.has_failed = true;
        }
        spans.push(run);
    }
    spans
}

/// The place in its trace of what a call does at its host: below the span that is told of the
/// call when its job has ended, if such are sent, else where the call itself stands. `None` of
/// a call that is part of no trace.
#[must_use]
pub fn below_call(job: JobId, call: &CallRecord, are_sent: bool) -> Option<Traceparent> {
    let place: Traceparent = call.trace.as_ref()?.parse().ok()?;
    Some(if are_sent && place.is_sampled {
        let span = id_of(job, "call");
        Traceparent { span, ..place }
    } else {
        place
    })
}

/// A number that is the same however often it is asked for.
fn id_of(job: JobId, what: &str) -> SpanId {
    let text = format!("{job} {what}");
    let digest = digest(&SHA256, text.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest.as_ref()[..8]);
    id
}

#[cfg(test)]
mod tests {
    use harp_proto::{Failure, Json};

    use super::*;
    use harp_jobs::record::QueueRecord;

    #[test]
    fn a_job_has_waited_and_run() {
        let job = JobId::submitted_at(1000);
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut call = CallRecord {
            queue: Some(QueueRecord {
                name: "{\"q\":1}".parse().unwrap(),
                concurrency: 1,
            }),
            trace: Some(trace.to_owned()),
            ..CallRecord::new("web01", "deploy", Json::NULL, 1000)
        };
        let end = EndRecord {
            started: Some(1500),
            ended: 2500,
            outcome: Outcome::Error(Failure::new("timeout", "x")),
            packets: 0,
            remarks: Default::default(),
        };
        let spans = of_job(job, &call, &end, None);
        let below = |are_sent| below_call(job, &call, are_sent).unwrap();
        assert_eq!(below(true).span, spans[1].id);
        assert_eq!(below(false).to_string(), trace);
        let [wait, run] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!(
            (wait.name.as_str(), wait.kind),
            ("wait {\"q\":1}", Kind::Consumer)
        );
        assert_eq!((run.start, run.end), (1_500_000_000, 2_500_000_000));
        assert!(run.has_failed && run.attributes.contains(&("error.type", "timeout".into())));
        assert_eq!(
            run.parent,
            Some([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])
        );
        assert_ne!(wait.id, run.id);
        assert_eq!(of_job(job, &call, &end, None), spans, "the same again");
        call.trace = Some(trace.replace("-01", "-00"));
        assert_eq!(
            of_job(job, &call, &end, None),
            [],
            "whoever asked keeps none"
        );
    }
}
