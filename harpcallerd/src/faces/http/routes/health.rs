//! `/healthz` and `/readyz`, for anybody, whatever the request looks like otherwise.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::{Method, Request};
use serde_json::json;

use crate::desk::readiness::Readiness;
use crate::faces::http::problem::Problem;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::Shared;

/// True for the paths that are answered here.
pub(in crate::faces::http) fn is_of(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path)
}

/// The answer, if it is one of these that is asked for.
pub(in crate::faces::http) fn answer(
    shared: &Shared,
    request: &Request<Body>,
) -> Option<Result<Answer, Problem>> {
    let is_ready = match request.uri().path() {
        "/healthz" => false,
        "/readyz" => true,
        _ => return None,
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allow = HeaderValue::from_static("GET, HEAD");
        return Some(Err(Problem::method_not_allowed().allowing(Some(allow))));
    }
    if !is_ready {
        return Some(Ok(reply::ok(&json!({ "status": "ok" }))));
    }
    Some(match shared.desk.readiness() {
        Readiness::Ready => Ok(reply::ok(&json!({ "status": "ready" }))),
        Readiness::Draining => Err(Problem::not_ready("draining")),
        Readiness::Stopping => Err(Problem::not_ready("stopping")),
        Readiness::StoreOutage => Err(Problem::not_ready("store_outage")),
    })
}
