//! Answers that are no problems.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;

/// An answer, whatever it is.
pub(super) type Answer = Response<Body>;

/// A JSON value with this status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Into memory, and of a user's values it is known that they are JSON.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A text that is JSON.
pub(super) fn json_text(text: &'static str) -> Answer {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON value.
pub(super) fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
