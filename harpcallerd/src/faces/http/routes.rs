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

/// Where the API is.
const BASE: &str = "/api/v1";

/// What this release has beside what every release has.
const FEATURES: [&str; 2] = ["jobs", "services"];

/// All paths of the API.
pub(super) fn all(shared: Arc<Shared>) -> Router {
    // Whole paths: a nested router would have each request's address written anew.
    let at = |path: &str| format!("{BASE}{}", path.trim_end_matches('/'));
    Router::new()
        .route(&at("/"), get(about))
        .route(&at("/openapi.json"), get(description))
        .route(
            &at("/session"),
            get(session::show).post(session::begin).delete(session::end),
        )
        .route(&at("/jobs"), get(list::show).post(jobs::submit))
        .route(&at("/jobs/check"), post(jobs::check))
        .route(&at("/jobs/{job}"), get(jobs::show))
        .route(&at("/jobs/{job}/result"), get(jobs::result))
        .route(&at("/jobs/{job}/cancel"), post(jobs::cancel))
        .route(&at("/jobs/{job}/packets"), get(packets::show))
        .route(&at("/jobs/{job}/output"), get(output::show))
        .route(&at("/jobs/{job}/search"), get(search::show))
        .route(&at("/jobs/{job}/events"), get(job_events::show))
        .route(&at("/events"), get(events::show))
        .route(&at("/summary"), get(metrics::summary))
        .route(&at("/queues"), get(queues::list))
        .route(&at("/queues/jobs"), get(queues::jobs))
        .route(&at("/queues/cancel"), post(queues::cancel))
        .route(&at("/hosts"), get(hosts::list))
        .route(&at("/hosts/refresh"), post(hosts::refresh))
        .route(&at("/hosts/{name}"), get(hosts::show))
        .route(&at("/hosts/{name}/procedures"), get(procedures::of_host))
        .route(&at("/procedures"), get(procedures::list))
        .route(
            &at("/services"),
            get(services::list).post(services::register),
        )
        .route(
            &at("/services/{name}"),
            get(services::show)
                .patch(services::change)
                .delete(services::remove),
        )
        .route(&at("/services/{name}/claims"), post(claims::claim))
        .route(&at("/claims/{name}/renew"), post(claims::renew))
        .route(&at("/claims/{name}/packets"), post(claims::packets))
        .route(&at("/claims/{name}/finish"), post(claims::finish))
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
