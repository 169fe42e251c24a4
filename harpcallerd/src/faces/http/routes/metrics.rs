//! `/metrics` for Prometheus, and `/summary` for a page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use harp_jobs::changes::Totals;
use serde_json::json;

use crate::faces::http::exposition::{Exposition, Form};
use crate::faces::http::families;
use crate::faces::http::problem::Problem;
use crate::faces::http::process;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};

/// `GET /metrics`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    query.done()?;
    let measures = shared.desk.measures(&asked.client).await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Form::taken(accept);
    let mut out = Exposition::new(form);
    families::write(&mut out, &measures, &shared.desk.meters);
    process::write(&mut out, shared.boot);
    let mut response = Response::new(Body::from(out.finish()));
    let media_type = HeaderValue::from_static(form.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

/// `GET /summary`.
pub(super) async fn summary(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let measures = shared.desk.measures(&asked.client).await?;
    let of = |totals: &Totals| {
        json!({
            "submitted": totals.submitted,
            "returned": totals.returned,
            "exception": totals.exception,
            "error": totals.error,
            "cancelled": totals.cancelled,
        })
    };
    Ok(reply::ok(&json!({
        "queued": measures.queued,
        "running": measures.running,
        "ended": measures.ended,
        "bytes": measures.bytes,
        "queues": measures.queues,
        "hosts": measures.hosts,
        "services": measures.services,
        "batches_live": 0,
        "store": if measures.store_is_up { "ok" } else { "outage" },
        "draining": measures.is_draining,
        "started": shared.boot,
        "hour": of(&measures.hour),
        "day": of(&measures.day),
    })))
}
