//! Services: registering, looking at, changing and removing them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use harp_proto::client::work;

use super::jobs::problem;
use crate::desk::services::{NewService, ServiceChange};
use crate::faces::http::body::Sent;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, NamePath, Shared};
use crate::faces::listing::services::{self, ServiceObject};

/// `GET /services`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    by: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    let asked = services::Asked::take(query)?;
    let desk = &shared.desk;
    let found = desk.services(&by.client, asked.after, asked.limit).await?;
    Ok(reply::ok(&asked.page(&found)))
}

/// `GET /services/S`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(name): NamePath,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let service = shared.desk.service(&asked.client, &name).await?;
    Ok(reply::ok(&ServiceObject::from(&service)))
}

/// `POST /services`.
pub(super) async fn register(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let body = work::new_service(&whole.text).map_err(problem(&whole))?;
    let new = NewService {
        name: body.name.unwrap_or_default(),
        description: body.description,
        arguments_schema: body.arguments_schema,
        result_schema: body.result_schema,
        timeout: body.timeout,
        ..NewService::default()
    };
    let service = shared.desk.register_service(&asked.client, new).await?;
    let mut answer = reply::json(StatusCode::CREATED, &ServiceObject::from(&service));
    if let Ok(location) = HeaderValue::from_str(&format!("services/{}", service.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// `PATCH /services/S`.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(name): NamePath,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let body = work::service_change(&whole.text).map_err(problem(&whole))?;
    let change = ServiceChange {
        name: body.name,
        description: body.description,
        available: body.available,
        timeout: body.timeout,
    };
    let changed = shared.desk.change_service(&asked.client, &name, change);
    Ok(reply::ok(&ServiceObject::from(&changed.await?)))
}

/// `DELETE /services/S`.
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(name): NamePath,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    shared.desk.remove_service(&asked.client, &name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
