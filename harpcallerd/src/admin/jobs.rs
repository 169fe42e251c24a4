//! Jobs as administrators see them. Lists are written page by page: however many jobs
//! there are, the first line goes out at once and the memory stays that of one page.

use std::collections::HashSet;
use std::io;

use harp_proto::{JobId, Json, QueueName};
use serde::{Serialize, Serializer};
use serde_json::json;
use tracing::error;

use super::administrator::Administrator;
use super::answer;
use crate::dispatcher::Dispatcher;
use crate::record::{JobRecord, Stage, queue_name};
use crate::store::StoreError;

/// Jobs of the first page of a list, so that it comes at once, and of each further one.
const FIRST_PAGE: usize = 16;
const PAGE: usize = 256;

/// A job as it is listed. Times are seconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct JobLine {
    job: JobId,
    call: Call,
    time: Times,
    queue: Option<OwnName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Call {
    host: String,
    procedure: String,
    arguments: Json,
}

#[derive(Debug, Serialize)]
struct Times {
    submit: u64,
    start: Option<u64>,
    end: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct OwnName(#[serde(with = "queue_name")] QueueName);

/// A queue's name as the JSON that it is.
pub(super) struct Name<'a>(pub(super) &'a QueueName);

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        queue_name::serialize(self.0, serializer)
    }
}

impl JobLine {
    fn of(record: JobRecord) -> JobLine {
        let (start, end) = match record.stage {
            Stage::Queued { .. } => (None, None),
            Stage::Running { started } => (Some(started), None),
            Stage::Ended { started, ended } => (started, Some(ended)),
        };
        let call = record.call;
        JobLine {
            job: record.id,
            call: Call {
                host: call.host,
                procedure: call.procedure,
                arguments: call.arguments,
            },
            time: Times {
                submit: call.submitted / 1000,
                start: start.map(|time| time / 1000),
                end: end.map(|time| time / 1000),
            },
            queue: call.queue.map(|queue| OwnName(queue.name)),
            client: call.client,
            running: None,
        }
    }
}

/// One job; `None` if there is no such job.
///
/// # Errors
///
/// If the store cannot be read.
pub(super) async fn info(
    dispatcher: &Dispatcher,
    job: JobId,
) -> Result<Option<JobLine>, StoreError> {
    let record = dispatcher.store().job(job).await?;
    Ok(record.map(JobLine::of))
}

/// The jobs, one a line, then the result.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn stream(
    dispatcher: &Dispatcher,
    all: bool,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let mut list = List::new(dispatcher, all);
    loop {
        match list.next_page().await {
            Ok(Some(page)) => {
                let lines: Vec<u8> = page.iter().flat_map(answer::line).collect();
                administrator.write(&lines).await?;
            }
            Ok(None) => {
                return administrator
                    .write(&answer::line(&json!({"result": "ok"})))
                    .await;
            }
            Err(error) => return administrator.write(&answer::error(error)).await,
        }
    }
}

/// The jobs in one line, which is written page by page as well.
///
/// # Errors
///
/// If the administrator cannot be written to, or the store cannot be read in the middle
/// of the line: the connection then ends without the line's end.
pub(super) async fn list(
    dispatcher: &Dispatcher,
    all: bool,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let mut list = List::new(dispatcher, all);
    let mut text = br#"{"result":"ok","jobs":["#.to_vec();
    let mut is_first = true;
    while let Some(page) = list.next_page().await.map_err(io::Error::other)? {
        append(&mut text, &page, &mut is_first);
        administrator.write(&text).await?;
        text.clear();
    }
    text.extend_from_slice(b"]}\n");
    administrator.write(&text).await
}

/// The jobs of a queue in one line, each with whether it holds a place.
///
/// # Errors
///
/// As for [`list`].
pub(super) async fn list_queue(
    dispatcher: &Dispatcher,
    queue: &QueueName,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let members = dispatcher.queue_members(queue);
    let running = members.running.into_iter().map(|id| (id, true));
    let waiting = members.waiting.into_iter().map(|id| (id, false));
    let jobs: Vec<_> = running.chain(waiting).collect();
    let mut text = br#"{"result":"ok","jobs":["#.to_vec();
    let mut is_first = true;
    for jobs in jobs.chunks(PAGE) {
        let mut page = Vec::new();
        for (id, runs) in jobs {
            // One that is not there any more has been pruned just now.
            let job = passing_damaged(info(dispatcher, *id).await);
            if let Some(mut job) = job.map_err(io::Error::other)? {
                job.running = Some(*runs);
                page.push(job);
            }
        }
        append(&mut text, &page, &mut is_first);
        administrator.write(&text).await?;
        text.clear();
    }
    text.extend_from_slice(b"]}\n");
    administrator.write(&text).await
}

/// One damaged record keeps no others out of a list.
fn passing_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error @ StoreError::Corrupt { .. }) => {
            error!(%error, "left out of a list");
            Ok(None)
        }
        read => read,
    }
}

fn append(text: &mut Vec<u8>, page: &[JobLine], is_first: &mut bool) {
    for job in page {
        if !std::mem::take(is_first) {
            text.push(b',');
        }
        let line = answer::line(job);
        text.extend_from_slice(line.trim_ascii_end());
    }
}

/// A walk over the jobs: those that have ended, by id, then those that live, by sequence
/// number. Each job that lives when it begins is in it once, and if all are asked for,
/// each that had ended by then.
struct List<'d> {
    dispatcher: &'d Dispatcher,
    all: bool,
    /// Those that lived at the beginning and have not been listed.
    live: Vec<JobId>,
    next_live: usize,
    /// Of those, the ones that were not met among the ended.
    unlisted: HashSet<JobId>,
    /// Where the ended ones go on; `None` when all of them are done.
    ended: Option<Cursor>,
}

#[derive(Clone, Copy)]
struct Cursor {
    after: Option<JobId>,
    page: usize,
}

impl List<'_> {
    fn new(dispatcher: &Dispatcher, all: bool) -> List<'_> {
        let live = dispatcher.jobs().ids();
        List {
            dispatcher,
            all,
            unlisted: live.iter().copied().collect(),
            live,
            next_live: 0,
            ended: all.then_some(Cursor {
                after: None,
                page: FIRST_PAGE,
            }),
        }
    }

    /// The next jobs, not empty; `None` at the end.
    async fn next_page(&mut self) -> Result<Option<Vec<JobLine>>, StoreError> {
        if let Some(page) = self.ended_page().await? {
            return Ok(Some(page));
        }
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(id) = self.live.get(self.next_live)
        {
            self.next_live += 1;
            if !self.unlisted.contains(id) {
                continue;
            }
            let Some(record) = passing_damaged(self.dispatcher.store().job(*id).await)? else {
                continue;
            };
            if self.all || !matches!(record.stage, Stage::Ended { .. }) {
                page.push(JobLine::of(record));
            }
        }
        Ok((!page.is_empty()).then_some(page))
    }

    async fn ended_page(&mut self) -> Result<Option<Vec<JobLine>>, StoreError> {
        let Some(cursor) = self.ended else {
            return Ok(None);
        };
        let store = self.dispatcher.store();
        let page = store.ended_page(cursor.after, cursor.page).await?;
        let Some(last) = page.last() else {
            self.ended = None;
            return Ok(None);
        };
        self.ended = Some(Cursor {
            after: Some(last.id),
            page: PAGE,
        });
        for job in &page {
            self.unlisted.remove(&job.id);
        }
        Ok(Some(page.into_iter().map(JobLine::of).collect()))
    }
}
