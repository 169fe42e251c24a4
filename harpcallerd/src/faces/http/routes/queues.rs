//! Queues: what there are, the jobs of one, cancelling them.

use std::sync::Arc;

use axum::extract::State;
use harp_proto::client::body;
use serde_json::json;

use super::jobs::problem;
use crate::faces::http::body::Sent;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};
use crate::faces::listing::queues;

/// `GET /queues`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    by: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    let asked = queues::Asked::take(query)?;
    let found = shared
        .desk
        .queues(&by.client, asked.after.as_ref(), asked.limit)
        .await?;
    Ok(reply::ok(&asked.page(&found)))
}

/// `GET /queues/jobs`.
pub(super) async fn jobs(
    State(shared): State<Arc<Shared>>,
    by: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    let asked = queues::JobsAsked::take(query)?;
    let page = shared
        .desk
        .jobs_of_queue(&by.client, &asked.name, asked.after, asked.limit)
        .await?;
    Ok(reply::ok(&asked.page(&page)))
}

/// `POST /queues/cancel`.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let name = body::queue_name(&whole.text).map_err(problem(&whole))?;
    drop(whole);
    let desk = &shared.desk;
    let cancelled = desk.cancel_jobs_of_queue(&asked.client, &name).await?;
    Ok(reply::ok(&json!({
        "cancelled": cancelled.cancelled,
        "forbidden": cancelled.forbidden,
    })))
}
