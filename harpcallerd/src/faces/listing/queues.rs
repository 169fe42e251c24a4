//! Queues, and the jobs of one: what a list of them asks for, and its page.

use harp_proto::{JobId, QueueName};
use serde::Serialize;

use super::cursor::Question;
use super::job_object::{JobObject, QueueText};
use super::jobs::{limit, queue_name};
use super::names::{NameFault, Names};
use crate::desk::overview::{QueueOverview, QueuePage, Spot};

/// Which queues are asked for.
#[derive(Debug)]
pub struct Asked {
    /// They stand behind this one.
    pub after: Option<QueueName>,
    /// At most so many.
    pub limit: usize,
    question: Question,
}

/// Which jobs of a queue are asked for.
#[derive(Debug)]
pub struct JobsAsked {
    /// The queue.
    pub name: QueueName,
    /// They stand behind this spot.
    pub after: Option<Spot>,
    /// At most so many.
    pub limit: usize,
    question: Question,
}

/// A page of queues.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    queues: Vec<Queue<'a>>,
    next: Option<String>,
}

/// A page of a queue's jobs.
#[derive(Debug, Serialize)]
pub struct JobsPage<'a> {
    jobs: Vec<JobObject<'a>>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Queue<'a> {
    name: QueueText<'a>,
    concurrency: u64,
    running: u64,
    queued: u64,
    kept: u64,
    oldest: u64,
}

impl Asked {
    /// Takes all names.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names) -> Result<Asked, NameFault> {
        let question = Question::of("queues", &names);
        let limit = limit(&mut names)?;
        let after = match names.text("cursor")? {
            None => None,
            Some(cursor) => {
                let place = String::from_utf8(question.place(&cursor)?);
                Some(queue_name("cursor", &place.unwrap_or_default())?)
            }
        };
        names.done()?;
        Ok(Asked {
            after,
            limit,
            question,
        })
    }

    /// What there is.
    #[must_use]
    pub fn page<'a>(&self, queues: &'a [QueueOverview]) -> Page<'a> {
        let last = queues.last().filter(|_| queues.len() >= self.limit);
        let next = last.map(|last| self.question.cursor(last.name.as_str().as_bytes()));
        let queues = queues.iter().map(|queue| Queue {
            name: QueueText(queue.name.as_str()),
            concurrency: queue.concurrency,
            running: queue.running,
            queued: queue.queued,
            kept: queue.kept,
            oldest: queue.oldest,
        });
        Page {
            queues: queues.collect(),
            next,
        }
    }
}

impl JobsAsked {
    /// Takes all names.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names) -> Result<JobsAsked, NameFault> {
        let question = Question::of("queue", &names);
        let limit = limit(&mut names)?;
        let after = match names.text("cursor")? {
            None => None,
            Some(cursor) => Some(spot(&question.place(&cursor)?)?),
        };
        let name = names.text("name")?;
        names.done()?;
        let missing = || NameFault::new("name", "missing: a queue's name as JSON");
        let name = queue_name("name", &name.ok_or_else(missing)?)?;
        Ok(JobsAsked {
            name,
            after,
            limit,
            question,
        })
    }

    /// What there is.
    #[must_use]
    pub fn page<'a>(&self, page: &'a QueuePage) -> JobsPage<'a> {
        let next = page.next.map(|next| match next {
            Spot::Holds(job) => self.question.cursor(job.as_bytes()),
            Spot::Waits(number) => self.question.cursor(&number.to_be_bytes()),
        });
        JobsPage {
            jobs: page.jobs.iter().map(JobObject::head).collect(),
            next,
        }
    }
}

/// The spot that a cursor leads to.
fn spot(place: &[u8]) -> Result<Spot, NameFault> {
    if let Ok(job) = place.try_into() {
        return Ok(Spot::Holds(JobId::from_bytes(job)));
    }
    let number = place.try_into().map(u64::from_be_bytes);
    let wrong = |_| NameFault::new("cursor", "is not one of this list");
    number.map(Spot::Waits).map_err(wrong)
}
