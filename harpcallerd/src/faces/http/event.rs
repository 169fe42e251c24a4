//! An event of a stream (`text/event-stream`), and the head of the answer that is one.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use serde::Serialize;

use super::compress::Plain;
use super::reply::Answer;

/// After how long a stream without anything else says that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a stream begins with: how soon a client that has lost it asks again.
pub(super) const RETRY: &[u8] = b"retry: 2000\n\n";

/// Appends an event. `data` is written as JSON, which has no newline.
pub(super) fn write(
    out: &mut BytesMut,
    name: Option<&str>,
    id: Option<&str>,
    data: &impl Serialize,
) {
    for (field, value) in [("event: ", name), ("id: ", id)] {
        if let Some(value) = value {
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\n");
        }
    }
    out.extend_from_slice(b"data: ");
    // Into memory, and of a user's values it is known that they are JSON.
    let _ = serde_json::to_writer((&mut *out).writer(), data);
    out.extend_from_slice(b"\n\n");
}

/// An answer that is a stream of events.
pub(super) fn answer(
    events: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response.extensions_mut().insert(Plain);
    response
}
