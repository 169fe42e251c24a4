//! Queues: what there are, the jobs of one, cancelling them.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use harp_proto::QueueName;
use harp_proto::client::body;
use serde::Serialize;
use serde_json::json;

use super::jobs::problem;
use super::list::{job_cursor, limit, queue_name};
use crate::faces::http::body::Sent;
use crate::faces::http::cursor::Question;
use crate::faces::http::job_object::{JobObject, QueueText};
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};

#[derive(Serialize)]
struct Queue<'a> {
    name: QueueText<'a>,
    concurrency: u64,
    running: u64,
    queued: u64,
    kept: u64,
    oldest: u64,
}

/// `GET /queues`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    OriginalUri(uri): OriginalUri,
    mut query: Query,
) -> Result<Answer, Problem> {
    let question = Question::of(&uri);
    let limit = limit(&mut query)?;
    let after = match query.text("cursor")? {
        None => None,
        Some(cursor) => {
            let place = String::from_utf8(question.place(&cursor)?);
            let place = place.unwrap_or_default();
            Some(queue_name("cursor", &place)?)
        }
    };
    query.done()?;
    let queues = shared
        .desk
        .queues(&asked.client, after.as_ref(), limit)
        .await?;
    let last = queues.last().filter(|_| queues.len() >= limit);
    let next = last.map(|last| question.cursor(last.name.as_str().as_bytes()));
    let queues: Vec<Queue<'_>> = queues
        .iter()
        .map(|queue| Queue {
            name: QueueText(queue.name.as_str()),
            concurrency: queue.concurrency,
            running: queue.running,
            queued: queue.queued,
            kept: queue.kept,
            oldest: queue.oldest,
        })
        .collect();
    Ok(reply::ok(&Page { queues, next }))
}

#[derive(Serialize)]
struct Page<'a> {
    queues: Vec<Queue<'a>>,
    next: Option<String>,
}

/// `GET /queues/jobs`.
pub(super) async fn jobs(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    OriginalUri(uri): OriginalUri,
    mut query: Query,
) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Jobs<'a> {
        jobs: Vec<JobObject<'a>>,
        next: Option<String>,
    }

    let question = Question::of(&uri);
    let limit = limit(&mut query)?;
    let after = job_cursor(&mut query, &question)?;
    let name = query.text("name")?;
    query.done()?;
    let name = name.ok_or_else(|| Problem::field("name", "missing: a queue's name as JSON"))?;
    let name: QueueName = queue_name("name", &name)?;
    let views = shared
        .desk
        .jobs_of_queue(&asked.client, &name, after, limit);
    let views = views.await?;
    let last = views.last().filter(|_| views.len() >= limit);
    let next = last.map(|last| question.cursor(last.report.id.as_bytes()));
    Ok(reply::ok(&Jobs {
        jobs: views.iter().map(JobObject::head).collect(),
        next,
    }))
}

/// `POST /queues/cancel`.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json(&shared, &asked).await?;
    let name = body::queue_name(&whole.text).map_err(problem(&whole))?;
    drop(whole);
    let desk = &shared.desk;
    let cancelled = desk.cancel_jobs_of_queue(&asked.client, &name).await?;
    Ok(reply::ok(&json!({
        "cancelled": cancelled.cancelled,
        "forbidden": cancelled.forbidden,
    })))
}
