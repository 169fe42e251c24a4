//! What a program is told that traces: with the feature `tracing`, a span for each request,
//! and events in it.

use std::time::Duration;

use harp_proto::client::Request;

use crate::Error;

/// A request within its span.
#[cfg(feature = "tracing")]
pub(crate) fn request<F: Future>(
    request: &Request,
    asked: F,
) -> tracing::instrument::Instrumented<F> {
    use tracing::Instrument;
    use tracing::field::{Empty, display};

    let span = tracing::info_span!(
        "harp_request",
        operation = request.operation(),
        host = Empty,
        procedure = Empty,
        job = Empty,
    );
    match request {
        Request::Call(call) => {
            span.record("host", &*call.host);
            span.record("procedure", &*call.procedure);
        }
        Request::Cancel { job, .. }
        | Request::GetResult { job, .. }
        | Request::GetStatus { job, .. } => {
            span.record("job", display(job));
        }
        _ => {}
    }
    asked.instrument(span)
}

/// A request; nobody is told.
#[cfg(not(feature = "tracing"))]
pub(crate) fn request<F: Future>(_: &Request, asked: F) -> F {
    asked
}

/// The call of this request has become a job.
pub(crate) fn submitted(_job: harp_proto::JobId) {
    #[cfg(feature = "tracing")]
    tracing::Span::current().record("job", tracing::field::display(_job));
}

/// Something is about to be tried again, for the so manieth time since it last worked.
pub(crate) fn repeated(_attempt: u32, _error: &Error, _pause: Duration) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        attempt = _attempt,
        error = %_error,
        pause_ms = u64::try_from(_pause.as_millis()).unwrap_or(u64::MAX),
        "the dispatcher is tried again"
    );
}
