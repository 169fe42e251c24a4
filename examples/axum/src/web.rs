//! What the page asks.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, future, stream};
use harp_client::{Error, ErrorKind, HarpCaller, JobId, Outcome, Packets, RemoteCall};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::jobs::Jobs;

/// Jobs in the list.
const LISTED: usize = 50;

#[derive(Debug, Clone)]
struct App {
    rpc: HarpCaller,
    jobs: Jobs,
}

/// The page and what it asks.
pub(crate) fn routes(rpc: HarpCaller, jobs: Jobs) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/jobs", get(list).post(start))
        .route("/jobs/{id}/events", get(events))
        .route("/jobs/{id}/cancel", post(cancel))
        .with_state(App { rpc, jobs })
}

#[derive(Deserialize)]
struct Start {
    host: String,
    procedure: String,
    /// An array or an object.
    arguments: Value,
}

/// Starts a job and answers with its id; the procedure runs on without us.
async fn start(State(app): State<App>, Json(start): Json<Start>) -> Result<Json<Value>, Failed> {
    let job = app
        .rpc
        .host(start.host)
        .call(&start.procedure, start.arguments)
        .await?;
    app.jobs.add(job.id()).map_err(|error| {
        Failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "job {} runs, and could not be remembered: {error}",
                job.id()
            ),
        )
    })?;
    Ok(Json(json!({"id": job.id()})))
}

/// The jobs that were started here, newest first.
async fn list(State(app): State<App>) -> Json<Value> {
    let ids = app.jobs.newest(LISTED);
    let jobs = ids.into_iter().map(|id| describe(app.rpc.job(id)));
    Json(future::join_all(jobs).await.into())
}

async fn describe(job: RemoteCall) -> Value {
    match tokio::try_join!(job.status(), job.result()) {
        Ok((status, outcome)) => json!({
            "id": job.id(),
            "host": status.host,
            "procedure": status.procedure,
            "arguments": status.arguments,
            "submitted": seconds(status.submit_time),
            "state": match (&outcome, status.start_time) {
                (Some(outcome), _) => kind(outcome),
                (None, Some(_)) => "running",
                (None, None) => "queued",
            },
        }),
        Err(error) => json!({"id": job.id(), "state": "unknown", "error": error.to_string()}),
    }
}

/// Where a page begins that has not been cut off.
#[derive(Deserialize)]
struct Beginning {
    since: Option<u64>,
}

/// The packets of a job as server-sent events, each with its number as id: a browser that
/// was cut off says which it has seen last, and gets what comes behind it.
async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(beginning): Query<Beginning>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failed> {
    let job = app.job(&id)?;
    let seen = headers
        .get("last-event-id")
        .and_then(|seen| seen.to_str().ok()?.parse::<u64>().ok());
    let since = seen.map_or(beginning.since.unwrap_or(0), |seen| seen.saturating_add(1));
    let first = Event::default().retry(Duration::from_secs(1)).comment("");
    let events = stream::once(future::ready(Ok(first))).chain(following(job.follow().since(since)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Dropped with the connection to the browser, and the one to the dispatcher with it.
fn following(packets: Packets) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(packets), async |packets| {
        let mut packets = packets?;
        let (event, packets) = match packets.next().await {
            Some(Ok(packet)) => {
                let event = Event::default().id(packet.number.to_string());
                (event.data(packet.data.as_str()), Some(packets))
            }
            Some(Err(error)) => {
                let text = json!(error.to_string()).to_string();
                (Event::default().event("failed").data(text), None)
            }
            None => {
                let end = packets.outcome().map_or(Value::Null, end);
                (Event::default().event("end").data(end.to_string()), None)
            }
        };
        Some((Ok(event), packets))
    })
}

async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Failed> {
    let cancelled = app.job(&id)?.cancel().await?;
    Ok(Json(json!({"cancelled": cancelled})))
}

impl App {
    /// A job that was started here; others are none of this page's business.
    fn job(&self, id: &str) -> Result<RemoteCall, Failed> {
        id.parse::<JobId>()
            .ok()
            .filter(|&id| self.jobs.knows(id))
            .map(|id| self.rpc.job(id))
            .ok_or_else(|| {
                Failed(
                    StatusCode::NOT_FOUND,
                    format!("no job {id} was started here"),
                )
            })
    }
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Returned(_) => "returned",
        Outcome::Exception(_) => "exception",
        Outcome::Error(_) => "error",
        Outcome::Cancelled => "cancelled",
    }
}

fn end(outcome: &Outcome) -> Value {
    let value = match outcome {
        Outcome::Returned(value) => json!(value),
        Outcome::Exception(failure) | Outcome::Error(failure) => json!(failure.to_string()),
        Outcome::Cancelled => Value::Null,
    };
    json!({"state": kind(outcome), "value": value})
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// An answer that is an error: a status and a text for people.
#[derive(Debug)]
struct Failed(StatusCode, String);

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        let status = match error.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Failed(status, error.to_string())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}
