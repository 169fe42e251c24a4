//! What the page asks.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use harp_client::{Error, HarpCaller, JobId, ListedJob};
use serde::Deserialize;
use serde_json::{Value, json};

/// The application's name: in the dispatcher's log, and in the info of its jobs.
pub(crate) const NAME: &str = "harp-example-axum";

/// Jobs in the list.
const LISTED: u64 = 50;

/// The page and what it asks.
pub(crate) fn routes(rpc: HarpCaller) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/jobs", get(list).post(start))
        .route("/jobs/{id}/events", get(events))
        .route("/jobs/{id}/cancel", post(cancel))
        .with_state(rpc)
}

#[derive(Deserialize)]
struct Start {
    host: String,
    procedure: String,
    /// An array or an object.
    arguments: Value,
}

/// Starts a job and answers with its id; the procedure runs on without us.
async fn start(
    State(rpc): State<HarpCaller>,
    Json(start): Json<Start>,
) -> Result<Json<Value>, Error> {
    let host = rpc.host(start.host).info(json!({ "app": NAME }));
    let job = host.call(start.procedure, start.arguments).await?;
    Ok(Json(json!({ "id": job.id() })))
}

/// The jobs that were started here, newest first.
async fn list(State(rpc): State<HarpCaller>) -> Result<Json<Vec<ListedJob>>, Error> {
    let mut jobs = rpc.jobs().filter("info.app", NAME).limit(LISTED);
    let mut listed = Vec::new();
    while let Some(job) = jobs.next().await? {
        listed.push(job);
    }
    Ok(Json(listed))
}

/// The packets of a job as they come, and its end.
async fn events(
    State(rpc): State<HarpCaller>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> Response {
    rpc.job(id).follow().since(0).sse(&headers)
}

async fn cancel(
    State(rpc): State<HarpCaller>,
    Path(id): Path<JobId>,
) -> Result<Json<Value>, Error> {
    let cancelled = rpc.job(id).cancel().await?;
    Ok(Json(json!({ "cancelled": cancelled })))
}
