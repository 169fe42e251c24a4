//! `harp jobs`, `harp queues` and `harp hosts`

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use harp_service::terminal;
use serde_json::{Value, json};

use crate::command_line::{DispatcherOptions, List};
use crate::details::{outcome, shown};
use crate::dispatcher::Dispatcher;
use crate::event::Subject;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;

/// Columns of a table: a heading, and the key that is below it.
pub(super) type Columns = &'static [(&'static str, &'static str)];

const JOBS: Columns = &[
    ("JOB", "id"),
    ("STATE", "state"),
    ("OUTCOME", "outcome"),
    ("HOST", "host"),
    ("PROCEDURE", "procedure"),
    ("QUEUE", "queue"),
    ("AHEAD", "ahead"),
    ("SUBMITTED", "submitted"),
    ("CLIENT", "client"),
    ("ARGUMENTS", "arguments_head"),
];
const QUEUES: Columns = &[
    ("QUEUE", "name"),
    ("CONCURRENCY", "concurrency"),
    ("RUNNING", "running"),
    ("QUEUED", "queued"),
    ("KEPT", "kept"),
];
const HOSTS: Columns = &[
    ("HOST", "name"),
    ("ADDRESS", "address"),
    ("PORT", "port"),
    ("STATE", "state"),
];

/// What is listed.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Jobs,
    Queues,
    Hosts,
}

pub(super) async fn run(
    what: What,
    list: List,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let (request, key, columns) = match what {
        What::Jobs => ("list_jobs", "jobs", JOBS),
        What::Queues => ("list_queues", "queues", QUEUES),
        What::Hosts => ("list_hosts", "hosts", HOSTS),
    };
    let options: &DispatcherOptions = &list.dispatcher;
    let dispatcher = Dispatcher::new(options, settings, screen)?;
    let filters = filters(&list.filters)?;
    let subject = Subject::default();
    let usual = match what {
        What::Jobs => 100,
        What::Queues | What::Hosts => u64::MAX,
    };
    let left = list.limit.unwrap_or(usual);
    let mut rows = Vec::new();
    pages(&dispatcher, request, key, &filters, left, |entry| {
        if screen.is_json() {
            screen.value(&subject, &entry.to_string())?
        } else {
            rows.push(row(entry, columns))
        }
        Ok(())
    })
    .await?;
    if !screen.is_json() {
        screen.value(&subject, &table(&rows, columns))?;
    }
    Ok(Exit::Returned)
}

/// Asks for a list page by page, until there are no more entries or `left` have come; `key` is
/// that of the entries in an answer.
pub(super) async fn pages(
    dispatcher: &Dispatcher,
    request: &str,
    key: &str,
    filters: &serde_json::Map<String, Value>,
    mut left: u64,
    mut take: impl FnMut(&Value) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut cursor = None::<String>;
    while left > 0 {
        let mut wanted = filters.clone();
        wanted.insert("limit".to_owned(), json!(left.min(1000)));
        if let Some(cursor) = &cursor {
            wanted.insert("cursor".to_owned(), json!(cursor));
        }
        let line = json!({ "harpcaller": 1, request: wanted });
        let answer = dispatcher.rpc.request(&line).await;
        let answer = answer.map_err(|error| dispatcher.problem(&error))?;
        let answer: Value = answer
            .decode()
            .map_err(|error| Problem::new(Exit::Refused, error.to_string()))?;
        if let Some(error) = answer.get("error") {
            let told = error["message"].as_str().unwrap_or("refused");
            return Err(Problem::new(Exit::Refused, told.to_owned()));
        }
        let page = answer[key].as_array().map_or(&[][..], Vec::as_slice);
        left = left.saturating_sub(page.len() as u64);
        for entry in page {
            take(entry)?;
        }
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// Filters `NAME=VALUE`; several of one name are alternatives.
fn filters(words: &[String]) -> Result<serde_json::Map<String, Value>, Problem> {
    let mut filters = serde_json::Map::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            let told = format!("{word:?} is no filter: NAME=VALUE, such as state=running");
            return Err(Problem::usage(told));
        };
        let values = filters.entry(name).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(value));
        }
    }
    Ok(filters)
}

pub(super) fn row(entry: &Value, columns: Columns) -> Vec<String> {
    let text = |key: &str| match (key, &entry[key]) {
        ("state", Value::String(state)) => standing(entry, state),
        ("outcome", Value::String(_)) => outcome(entry),
        ("queue", Value::Object(queue)) => shown(&queue["name"]),
        ("submitted", Value::Number(time)) => moment(time.as_u64()),
        (_, value) => shown(value),
    };
    columns.iter().map(|(_, key)| text(key)).collect()
}

/// A job's state, and what is the matter with its host.
fn standing(job: &Value, state: &str) -> String {
    let state = terminal::json(state);
    if !job["host_state"].is_null() {
        return format!("{state}, unreachable");
    }
    match job["waiting_for"].as_str() {
        Some("host") => format!("{state}, waits at its host"),
        Some("operator") => format!("{state}, held"),
        _ => state.into_owned(),
    }
}

/// A time in milliseconds since 1970 as people are told it everywhere: RFC 3339, UTC.
fn moment(milliseconds: Option<u64>) -> String {
    let since = Duration::from_millis(milliseconds.unwrap_or_default());
    let time = UNIX_EPOCH.checked_add(since);
    time.map_or_else(
        || "-".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

pub(super) fn table(rows: &[Vec<String>], columns: Columns) -> String {
    let headings: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let mut written = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Into memory, where writing cannot fail.
            let _ = write!(written, "{cell:width$}  ");
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_is_in_it() {
        let entry =
            json!({"name": {"q": 1}, "concurrency": 2, "running": 0, "queued": 12, "kept": null});
        let rows = [row(&entry, QUEUES)];
        let text = table(&rows, QUEUES);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "QUEUE    CONCURRENCY  RUNNING  QUEUED  KEPT");
        assert_eq!(lines[1], "{\"q\":1}  2            0        12      -");
    }

    #[test]
    fn a_job_whose_host_is_away_is_shown_so() {
        let entry = json!({"id": "x", "state": "running", "host_state": null});
        assert_eq!(row(&entry, JOBS)[1], "running");
        let entry = json!({"state": "running", "host_state": {"unreachable_since": 1}});
        assert_eq!(row(&entry, JOBS)[1], "running, unreachable");
        let entry = json!({"state": "running", "host_state": null, "waiting_for": "host"});
        assert_eq!(row(&entry, JOBS)[1], "running, waits at its host");
    }

    #[test]
    fn outcome_queue_and_time_are_shown_for_people() {
        let entry = json!({
            "state": "ended", "outcome": "error", "error_type": "timeout", "ahead": null,
            "queue": {"name": {"q": 1}, "concurrency": 2}, "submitted": 1_700_000_000_999_u64,
        });
        let row = row(&entry, JOBS);
        assert_eq!(row[2], "error timeout");
        assert_eq!(row[5..8], ["{\"q\":1}", "-", "2023-11-14T22:13:20Z"]);
    }

    #[test]
    fn filters_of_one_name_stand_together() {
        let words = [
            "state=queued".to_owned(),
            "state=running".to_owned(),
            "q=a=b".to_owned(),
        ];
        let filters = filters(&words).unwrap_or_default();
        assert_eq!(filters["state"], json!(["queued", "running"]));
        assert_eq!(filters["q"], json!(["a=b"]));
        assert!(super::filters(&["x".to_owned()]).is_err());
    }
}
