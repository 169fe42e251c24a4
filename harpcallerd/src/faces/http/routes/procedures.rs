//! Procedures that the client may call.

use std::sync::Arc;

use axum::extract::State;

use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{self, NamePath, Shared};
use crate::faces::listing::procedures::Asked;

/// `GET /procedures`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    by: shared::Asked,
    query: Query,
) -> Result<Answer, Problem> {
    page(&shared, &by, query, None).await
}

/// `GET /hosts/NAME/procedures`.
pub(super) async fn of_host(
    State(shared): State<Arc<Shared>>,
    by: shared::Asked,
    NamePath(name): NamePath,
    query: Query,
) -> Result<Answer, Problem> {
    if !shared.desk.knows_host(&by.client, &name).await? {
        return Err(Problem::unknown_host(&name));
    }
    page(&shared, &by, query, Some(name)).await
}

async fn page(
    shared: &Shared,
    by: &shared::Asked,
    query: Query,
    host: Option<String>,
) -> Result<Answer, Problem> {
    let asked = Asked::take(query, host)?;
    let found = shared.desk.procedures(&by.client, &asked.wanted).await?;
    Ok(reply::ok(&asked.page(&found)))
}
