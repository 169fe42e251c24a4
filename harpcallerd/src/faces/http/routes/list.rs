//! `GET /jobs`: jobs by what they are, page by page.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use harp_proto::{JobId, QueueName};
use serde::Serialize;

use crate::desk::find::{Filter, Find, InQueue, Kind, Name, Path, Words};
use crate::desk::view::State as JobState;
use crate::faces::http::cursor::Question;
use crate::faces::http::job_object::JobObject;
use crate::faces::http::moment::Moment;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};

/// Entries of a page.
const LIMIT: u64 = 100;
const GREATEST_LIMIT: u64 = 1000;

#[derive(Serialize)]
struct Page<'a> {
    jobs: Vec<JobObject<'a>>,
    next: Option<String>,
    complete: bool,
    through: Option<u64>,
    examined: u64,
}

/// `GET /jobs`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    OriginalUri(uri): OriginalUri,
    mut query: Query,
) -> Result<Answer, Problem> {
    let question = Question::of(&uri);
    let limit = limit(&mut query)?;
    let after = job_cursor(&mut query, &question)?;
    let order = query.word("order", &["oldest", "newest"])?;
    let filter = filter(&mut query)?;
    query.done()?;
    let find = Find {
        filter,
        newest_first: order != Some("oldest"),
        after,
        limit,
    };
    let found = shared.desk.find(&asked.client, &find).await?;
    let next = found.next.map(|next| question.cursor(next.as_bytes()));
    Ok(reply::ok(&Page {
        jobs: found.jobs.iter().map(JobObject::head).collect(),
        next,
        complete: found.complete,
        through: found.through,
        examined: found.examined,
    }))
}

/// How many entries a page may have.
pub(super) fn limit(query: &mut Query) -> Result<usize, Problem> {
    let limit = query.number("limit", 1, GREATEST_LIMIT)?.unwrap_or(LIMIT);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The job behind which a page begins.
pub(super) fn job_cursor(query: &mut Query, question: &Question) -> Result<Option<JobId>, Problem> {
    let Some(cursor) = query.text("cursor")? else {
        return Ok(None);
    };
    let place = question.place(&cursor)?;
    let place: [u8; 16] = place
        .try_into()
        .map_err(|_| Problem::field("cursor", "is not one of this list"))?;
    Ok(Some(JobId::from_bytes(place)))
}

/// What has to hold of jobs, as a query says it.
pub(super) fn filter(query: &mut Query) -> Result<Filter, Problem> {
    let mut filter = Filter {
        host: Name::new(&query.all("host")),
        procedure: Name::new(&query.all("procedure")),
        client: Name::new(&query.all("client")),
        keys: query.all("key"),
        error_types: query.all("error_type"),
        info: paths(query, "info."),
        arguments: paths(query, "arguments."),
        words: Words::of(&query.text("q")?.unwrap_or_default()),
        // There are no batches and no services.
        is_impossible: [query.all("batch"), query.all("service")]
            .iter()
            .any(|ids| !ids.is_empty()),
        ..Filter::default()
    };
    for state in query.all("state") {
        filter.states.push(match state.as_str() {
            "queued" => JobState::Queued,
            "running" => JobState::Running,
            "ended" => JobState::Ended,
            _ => {
                return Err(Problem::field(
                    "state",
                    "must be one of queued, running, ended",
                ));
            }
        });
    }
    for outcome in query.all("outcome") {
        filter.kinds.push(match outcome.as_str() {
            "returned" => Kind::Returned,
            "exception" => Kind::Exception,
            "error" => Kind::Error,
            "cancelled" => Kind::Cancelled,
            _ => {
                let words = "must be one of returned, exception, error, cancelled";
                return Err(Problem::field("outcome", words));
            }
        });
    }
    if query.boolean("failed")? {
        let failed = [Kind::Exception, Kind::Error];
        match filter.kinds.is_empty() {
            true => filter.kinds.extend(failed),
            // Both have to hold.
            false => {
                filter.kinds.retain(|kind| failed.contains(kind));
                filter.is_impossible |= filter.kinds.is_empty();
            }
        }
    }
    for queue in query.all("queue") {
        filter.queues.push(match queue.as_str() {
            "none" => InQueue::None,
            name => InQueue::Named(queue_name("queue", name)?),
        });
    }
    let mut time = |name: &str| -> Result<Option<u64>, Problem> {
        Ok(query.parsed::<Moment>(name)?.map(|Moment(time)| time))
    };
    filter.submitted_since = time("submitted_since")?;
    filter.submitted_until = time("submitted_until")?;
    filter.ended_since = time("ended_since")?;
    filter.ended_until = time("ended_until")?;
    Ok(filter)
}

/// A queue's name, which is JSON.
pub(super) fn queue_name(field: &str, text: &str) -> Result<QueueName, Problem> {
    text.parse()
        .map_err(|error: harp_proto::NotAQueueName| Problem::field(field, error))
}

/// The paths that begin with a name, each with its alternatives.
fn paths(query: &mut Query, prefix: &str) -> Vec<Path> {
    let mut paths: Vec<(String, Vec<String>)> = Vec::new();
    for (path, value) in query.beginning(prefix) {
        match paths.iter_mut().find(|(there, _)| *there == path) {
            Some((_, values)) => values.push(value),
            None => paths.push((path, vec![value])),
        }
    }
    let paths = paths.into_iter();
    paths
        .map(|(path, values)| Path::new(&path, values))
        .collect()
}
