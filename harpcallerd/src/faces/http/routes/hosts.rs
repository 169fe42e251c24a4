//! Hosts of the registry.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use serde_json::{Value, json};

use super::list::limit;
use crate::desk::hosts::HostOverview;
use crate::faces::http::body::Sent;
use crate::faces::http::cursor::Question;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, NamePath, Shared};

/// `GET /hosts`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    OriginalUri(uri): OriginalUri,
    mut query: Query,
) -> Result<Answer, Problem> {
    let question = Question::of(&uri);
    let limit = limit(&mut query)?;
    let part = query.text("q")?.unwrap_or_default();
    let after = match query.text("cursor")? {
        None => None,
        Some(cursor) => {
            let place = String::from_utf8(question.place(&cursor)?);
            Some(place.map_err(|_| Problem::field("cursor", "is not one of this list"))?)
        }
    };
    query.done()?;
    let hosts = shared
        .desk
        .hosts(&asked.client, &part, after.as_deref(), limit)
        .await?;
    let last = hosts.last().filter(|_| hosts.len() >= limit);
    let next = last.map(|last| question.cursor(last.name.as_bytes()));
    let hosts: Vec<Value> = hosts.iter().map(object).collect();
    Ok(reply::ok(&json!({ "hosts": hosts, "next": next })))
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
    Ok(reply::ok(&object(&host)))
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

fn object(host: &HostOverview) -> Value {
    json!({
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "running": null,
        "queued": null,
        "last_contact": null,
        "last_failure": null,
    })
}
