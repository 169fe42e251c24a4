//! Hosts of the registry.

use std::sync::Arc;

use axum::extract::State;
use serde_json::json;

use crate::faces::http::body::Sent;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, NamePath, Shared};
use crate::faces::listing::hosts;

/// `GET /hosts`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    by: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    let asked = hosts::Asked::take(query)?;
    let desk = &shared.desk;
    let found = desk
        .hosts(&by.client, &asked.part, asked.after.as_deref(), asked.limit)
        .await?;
    Ok(reply::ok(&asked.page(&found)))
}

/// `GET /hosts/NAME`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(name): NamePath,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let host = shared.desk.host(&asked.client, &name).await?;
    let host = host.ok_or_else(|| Problem::unknown_host(&name))?;
    Ok(reply::ok(&hosts::Host::from(&host)))
}

/// `POST /hosts/refresh`.
pub(super) async fn refresh(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    // There is nothing to say, and whoever says something may mean another thing.
    if let Some(whole) = sent.optional_json(&shared, &asked).await? {
        harp_proto::client::body::nothing(&whole.text)?;
    }
    let refreshed = shared.desk.refresh_hosts(&asked.client).await?;
    Ok(reply::ok(&json!({
        "ok": refreshed.failure.is_none(),
        "message": refreshed.failure,
        "hosts": refreshed.hosts,
    })))
}
