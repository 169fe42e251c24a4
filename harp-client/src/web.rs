//! Jobs and errors as answers of [axum](https://docs.rs/axum) 0.8: what the feature `axum` adds.
//!
//! An [`Error`] is an answer: its kind's [status](crate::ErrorKind::http_status), with the
//! error as JSON, and `Retry-After` where the same request may succeed later. The packets of a
//! job are one by [`Packets::sse`]. All else that this crate gives serializes, so that
//! `axum::Json` takes it.
//!
//! ```no_run
//! use axum::Json;
//! use axum::extract::{Path, State};
//! use axum::http::HeaderMap;
//! use axum::response::Response;
//! use harp_client::{Error, HarpCaller, JobId, JobSnapshot};
//!
//! async fn show(State(rpc): State<HarpCaller>, Path(id): Path<JobId>) -> Result<Json<JobSnapshot>, Error> {
//!     rpc.job(id).snapshot().await.map(Json)
//! }
//!
//! async fn events(State(rpc): State<HarpCaller>, Path(id): Path<JobId>, headers: HeaderMap) -> Response {
//!     rpc.job(id).follow().since(0).sse(&headers)
//! }
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;

use crate::{Error, Events, JobEvent, Packets};

/// The id of the last event, behind which a reader needs nothing more.
const END: &str = "end";

/// After how long a browser comes back that was cut off.
const RETRY: Duration = Duration::from_secs(1);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind().http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE && self.is_retryable() {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl Packets {
    /// The packets and the job's end as server-sent events, to be returned by a handler of
    /// axum. A browser that was cut off says in `Last-Event-ID` what it has seen, and gets what
    /// comes behind that, in place of what [`since`](Packets::since) or
    /// [`recent`](Packets::recent) says.
    ///
    /// | event | id | data |
    /// | --- | --- | --- |
    /// | (a message) | the packet's number | the packet as it is, JSON |
    /// | `end` | `end` | the [`Outcome`](crate::Outcome), as it serializes |
    /// | `failed` | | an [`Error`], as it serializes: there is no end to be had, for now |
    ///
    /// A browser whose `EventSource` comes back after the end is answered 204, so that it stops.
    /// The connection to the dispatcher is closed with that to the browser.
    ///
    /// ```no_run
    /// # use axum::{http::HeaderMap, response::Response};
    /// async fn events(job: harp_client::RemoteCall, headers: HeaderMap) -> Response {
    ///     job.follow().since(0).sse(&headers)
    /// }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    #[doc(alias = "EventSource")]
    pub fn sse(self, headers: &HeaderMap) -> Response {
        let seen = headers.get("last-event-id");
        let seen = seen.and_then(|seen| seen.to_str().ok()).unwrap_or_default();
        if seen == END {
            return StatusCode::NO_CONTENT.into_response();
        }
        let packets = match seen.parse() {
            Ok(number) => self.after(number),
            Err(_) => self,
        };
        let told = Told {
            events: packets.events(),
            has_begun: false,
        };
        let answer = Sse::new(told).keep_alive(KeepAlive::default());
        answer.into_response()
    }
}

/// Events of a job in the form of server-sent events.
struct Told {
    events: Events,
    has_begun: bool,
}

impl Stream for Told {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Event, Infallible>>> {
        let this = self.get_mut();
        if !this.has_begun {
            // The head of the answer goes out with it.
            this.has_begun = true;
            return Poll::Ready(Some(Ok(Event::default().retry(RETRY).comment(""))));
        }
        let event = ready!(Pin::new(&mut this.events).poll_next(context));
        Poll::Ready(event.map(|event| {
            Ok(match event {
                Ok(JobEvent::Packet(packet)) => Event::default()
                    .id(packet.number.to_string())
                    .data(packet.data.as_str()),
                Ok(JobEvent::Ended(outcome)) => named("end", &outcome).id(END),
                Err(error) => named("failed", &error),
            })
        }))
    }
}

/// An event of this name, with a value that can be written.
fn named(name: &str, value: &impl Serialize) -> Event {
    let text = serde_json::to_string(value).unwrap_or_default();
    Event::default().event(name).data(text)
}
