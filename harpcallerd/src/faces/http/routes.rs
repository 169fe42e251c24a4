//! The paths.

mod claims;
mod events;
pub(super) mod health;
mod hosts;
mod job_events;
mod jobs;
mod list;
mod metrics;
mod output;
mod packets;
mod procedures;
mod queues;
mod search;
mod services;
pub(super) mod session;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use serde_json::json;

use super::problem::Problem;
use super::query::Query;
use super::reply;
use super::reply::Answer;
use super::shared::Shared;

/// What this release has beside what every release has.
const FEATURES: [&str; 2] = ["jobs", "services"];

/// All paths of the API.
pub(super) fn all(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/", get(about))
        .route("/openapi.json", get(description))
        .route(
            "/session",
            get(session::show).post(session::begin).delete(session::end),
        )
        .route("/jobs", get(list::show).post(jobs::submit))
        .route("/jobs/check", post(jobs::check))
        .route("/jobs/{job}", get(jobs::show))
        .route("/jobs/{job}/result", get(jobs::result))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/packets", get(packets::show))
        .route("/jobs/{job}/output", get(output::show))
        .route("/jobs/{job}/search", get(search::show))
        .route("/jobs/{job}/events", get(job_events::show))
        .route("/events", get(events::show))
        .route("/summary", get(metrics::summary))
        .route("/queues", get(queues::list))
        .route("/queues/jobs", get(queues::jobs))
        .route("/queues/cancel", post(queues::cancel))
        .route("/hosts", get(hosts::list))
        .route("/hosts/refresh", post(hosts::refresh))
        .route("/hosts/{name}", get(hosts::show))
        .route("/hosts/{name}/procedures", get(procedures::of_host))
        .route("/procedures", get(procedures::list))
        .route("/services", get(services::list).post(services::register))
        .route(
            "/services/{name}",
            get(services::show)
                .patch(services::change)
                .delete(services::remove),
        )
        .route("/services/{name}/claims", post(claims::claim))
        .route("/claims/{name}/renew", post(claims::renew))
        .route("/claims/{name}/packets", post(claims::packets))
        .route("/claims/{name}/finish", post(claims::finish));
    Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::show))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .with_state(shared)
}

/// True for what is answered by events that come as long as somebody reads them.
pub(super) fn is_stream(path: &str) -> bool {
    path.starts_with("/api/v1/") && path.ends_with("/events")
}

/// The description of the API, which the tests hold against these paths and real answers.
const DESCRIPTION: &str = include_str!("openapi.json");

async fn description(query: Query) -> Result<Answer, Problem> {
    query.done()?;
    Ok(reply::json_text(DESCRIPTION))
}

async fn about(query: Query) -> Result<Answer, Problem> {
    query.done()?;
    Ok(reply::ok(&json!({
        "server": concat!("harpcallerd/", env!("CARGO_PKG_VERSION")),
        "features": FEATURES,
        "documentation": "openapi.json",
    })))
}
