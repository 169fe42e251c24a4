//! `GET /jobs`: jobs by what they are, page by page.

use std::sync::Arc;

use axum::extract::State;

use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{self, Shared};
use crate::faces::listing::jobs::Asked;

/// `GET /jobs`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    by: shared::Asked,
    query: Query,
) -> Result<Answer, Problem> {
    let asked = Asked::take(query)?;
    let found = shared.desk.find(&by.client, &asked.find).await?;
    Ok(reply::ok(&asked.page(&found)))
}
