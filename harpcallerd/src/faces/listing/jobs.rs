//! Jobs by what they are: what a list of them asks for, and its page.

use harp_proto::{JobId, QueueName};
use serde::Serialize;

use super::cursor::Question;
use super::job_object::JobObject;
use super::moment::Moment;
use super::names::{NameFault, Names};
use crate::desk::find::{Filter, Find, Found, InQueue, Kind, Name, Path, Words};
use crate::desk::view::State as JobState;

/// Entries of a page.
const LIMIT: u64 = 100;
const GREATEST_LIMIT: u64 = 1000;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Which jobs, and from where on.
    pub find: Find,
    question: Question,
}

/// A page of jobs.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    jobs: Vec<JobObject<'a>>,
    next: Option<String>,
    complete: bool,
    through: Option<u64>,
    examined: u64,
}

impl Asked {
    /// Takes all names.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names) -> Result<Asked, NameFault> {
        let question = Question::of("jobs", &names);
        let limit = limit(&mut names)?;
        let after = job_cursor(&mut names, &question)?;
        let order = names.word("order", &["oldest", "newest"])?;
        let filter = filter(&mut names)?;
        names.done()?;
        let find = Find {
            filter,
            newest_first: order != Some("oldest"),
            after,
            limit,
        };
        Ok(Asked { find, question })
    }

    /// What has been found.
    #[must_use]
    pub fn page<'a>(&self, found: &'a Found) -> Page<'a> {
        let next = found.next.map(|next| self.question.cursor(next.as_bytes()));
        Page {
            jobs: found.jobs.iter().map(JobObject::head).collect(),
            next,
            complete: found.complete,
            through: found.through,
            examined: found.examined,
        }
    }
}

/// How many entries a page may have.
///
/// # Errors
///
/// If that is no number of entries.
pub fn limit(names: &mut Names) -> Result<usize, NameFault> {
    let limit = names.number("limit", 1, GREATEST_LIMIT)?.unwrap_or(LIMIT);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The job behind which a page begins.
///
/// # Errors
///
/// If the cursor is not one of this question.
pub fn job_cursor(names: &mut Names, question: &Question) -> Result<Option<JobId>, NameFault> {
    let Some(cursor) = names.text("cursor")? else {
        return Ok(None);
    };
    let place = question.place(&cursor)?;
    let place: [u8; 16] = place
        .try_into()
        .map_err(|_| NameFault::new("cursor", "is not one of this list"))?;
    Ok(Some(JobId::from_bytes(place)))
}

/// What has to hold of jobs.
///
/// # Errors
///
/// With the name that is wrong.
pub fn filter(names: &mut Names) -> Result<Filter, NameFault> {
    let mut filter = Filter {
        host: Name::new(&names.all("host")),
        procedure: Name::new(&names.all("procedure")),
        client: Name::new(&names.all("client")),
        keys: names.all("key"),
        error_types: names.all("error_type"),
        info: paths(names, "info."),
        arguments: paths(names, "arguments."),
        words: Words::of(&names.text("q")?.unwrap_or_default()),
        services: names.all("service"),
        // There are no batches.
        is_impossible: !names.all("batch").is_empty(),
        ..Filter::default()
    };
    for state in names.all("state") {
        filter.states.push(match state.as_str() {
            "queued" => JobState::Queued,
            "running" => JobState::Running,
            "ended" => JobState::Ended,
            _ => {
                return Err(NameFault::new(
                    "state",
                    "must be one of queued, running, ended",
                ));
            }
        });
    }
    for outcome in names.all("outcome") {
        filter.kinds.push(match outcome.as_str() {
            "returned" => Kind::Returned,
            "exception" => Kind::Exception,
            "error" => Kind::Error,
            "cancelled" => Kind::Cancelled,
            _ => {
                let words = "must be one of returned, exception, error, cancelled";
                return Err(NameFault::new("outcome", words));
            }
        });
    }
    if names.boolean("failed")? {
        let failed = [Kind::Exception, Kind::Error];
        if filter.kinds.is_empty() {
            filter.kinds.extend(failed);
        } else {
            // Both have to hold.
            filter.kinds.retain(|kind| failed.contains(kind));
            filter.is_impossible |= filter.kinds.is_empty();
        }
    }
    for queue in names.all("queue") {
        filter.queues.push(match queue.as_str() {
            "none" => InQueue::None,
            name => InQueue::Named(queue_name("queue", name)?),
        });
    }
    let mut time = |name: &str| -> Result<Option<u64>, NameFault> {
        Ok(names.parsed::<Moment>(name)?.map(|Moment(time)| time))
    };
    filter.submitted_since = time("submitted_since")?;
    filter.submitted_until = time("submitted_until")?;
    filter.ended_since = time("ended_since")?;
    filter.ended_until = time("ended_until")?;
    Ok(filter)
}

/// A queue's name, which is JSON.
///
/// # Errors
///
/// If it is none.
pub fn queue_name(field: &str, text: &str) -> Result<QueueName, NameFault> {
    text.parse()
        .map_err(|error: harp_proto::NotAQueueName| NameFault::new(field, error))
}

/// The paths that begin with a name, each with its alternatives.
fn paths(names: &mut Names, prefix: &str) -> Vec<Path> {
    let mut paths: Vec<(String, Vec<String>)> = Vec::new();
    for (path, value) in names.beginning(prefix) {
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
