//! Claims of workers, and what is said under them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use harp_jobs::refusal::Refusal;
use harp_proto::client::work;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::jobs::{idempotency_key, problem, wait};
use crate::desk::work::{Claimed, Wanted};
use crate::faces::http::body::Sent;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, NamePath, Shared};
use crate::faces::listing::job_object::JobObject;
use crate::faces::listing::values::Values;
use crate::transports::worker::ClaimId;

/// `POST /services/S/claims`.
pub(super) async fn claim(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(name): NamePath,
    mut query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Reply<'a> {
        claim: String,
        expires: u64,
        job: JobObject<'a>,
    }

    let wait = wait(&mut query)?;
    let values = Values::take(&mut query)?;
    query.done()?;
    let key = idempotency_key(sent.headers())?;
    let whole = sent.optional_json(&shared, &asked).await?;
    let body = match &whole {
        Some(whole) => work::claim(&whole.text).map_err(problem(whole))?,
        None => work::ClaimBody::default(),
    };
    drop(whole);
    let wanted = Wanted {
        worker: body.worker,
        lease: body.lease,
        until: wait.map(|wait| Instant::now() + wait),
        key,
    };
    let _place = wait.map(|_| shared.stream(&asked)).transpose()?;
    let claimed = shared.desk.claim(&asked.client, &name, wanted).await?;
    Ok(match &claimed {
        None => reply::empty(StatusCode::NO_CONTENT),
        Some(Claimed {
            claim,
            expires,
            view,
        }) => reply::json(
            StatusCode::CREATED,
            &Reply {
                claim: claim.to_string(),
                expires: *expires,
                job: JobObject::whole(view, values),
            },
        ),
    })
}

/// `POST /claims/C/renew`.
pub(super) async fn renew(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(claim): NamePath,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    // There is nothing to say, and whoever says something may mean another thing.
    if let Some(whole) = sent.optional_json(&shared, &asked).await? {
        harp_proto::client::body::nothing(&whole.text)?;
    }
    let lease = shared.desk.renew_claim(&asked.client, id(&claim)?).await?;
    Ok(reply::ok(&if lease.cancelled {
        json!({ "expires": lease.expires, "cancelled": true })
    } else {
        json!({ "expires": lease.expires })
    }))
}

/// `POST /claims/C/packets`.
pub(super) async fn packets(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(claim): NamePath,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let body = work::packets(&whole.text).map_err(problem(&whole))?;
    let put = shared
        .desk
        .put_packets(&asked.client, id(&claim)?, body.first, body.packets);
    let next = put.await?;
    Ok(reply::ok(&json!({ "next": next })))
}

/// `POST /claims/C/finish`.
pub(super) async fn finish(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    NamePath(claim): NamePath,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let outcome = work::finish(&whole.text).map_err(problem(&whole))?;
    let desk = &shared.desk;
    desk.finish(&asked.client, id(&claim)?, outcome).await?;
    Ok(reply::ok(&json!({})))
}

/// The claim of a path; a text that is no claim's name names none.
fn id(name: &str) -> Result<ClaimId, Problem> {
    name.parse().map_err(|_| Refusal::NoSuchClaim.into())
}
