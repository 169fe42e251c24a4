//! `harp status`

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use harp_client::{Evidence, JobId, JobStatus};
use harp_service::terminal;
use serde_json::json;

use super::list;
use crate::command_line::Status;
use crate::details::Details;
use crate::dispatcher::Dispatcher;
use crate::duration;
use crate::event::{Event, Subject};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;

pub(super) async fn run(
    status: Status,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&status.which.dispatcher, settings, screen)?;
    let job = dispatcher.rpc.job(status.which.job);
    let record = match job.status().await {
        Ok(record) => record,
        Err(error) => return Err(dispatcher.problem(&error)),
    };
    let details = details(&dispatcher, status.which.job).await;
    let subject = Subject {
        host: Some(record.host.clone()),
        job: Some(status.which.job),
    };
    if screen.is_json() {
        screen.event(&Event::Status {
            subject: &subject,
            procedure: &record.procedure,
            arguments: &record.arguments,
            info: &record.info,
            state: state(&record),
            submit_time: seconds(record.submit_time),
            start_time: record.start_time.map(seconds),
            end_time: record.end_time.map(seconds),
            details: details.as_ref(),
            evidence: record.evidence.as_ref(),
        })?;
    } else {
        let job = status.which.job.to_string();
        screen.value(&subject, &table(&job, &record, details.as_ref()))?;
    }
    Ok(Exit::Returned)
}

/// How the job ended and where it stands in its queue; `None` if the dispatcher, an older one,
/// does not tell.
async fn details(dispatcher: &Dispatcher, job: JobId) -> Option<Details> {
    let filters = json!({ "q": [job] });
    let filters = filters.as_object()?;
    let mut details = None;
    let asked = list::pages(dispatcher, "list_jobs", "jobs", filters, 1, |job| {
        details = Some(Details::of(job));
        Ok(())
    });
    asked.await.ok()?;
    details
}

fn state(record: &JobStatus) -> &'static str {
    match (record.start_time, record.end_time) {
        (_, Some(_)) => "ended",
        (Some(_), None) => "running",
        (None, None) => "queued",
    }
}

fn table(job: &str, record: &JobStatus, details: Option<&Details>) -> String {
    let time = |time: Option<SystemTime>| match time {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => "-".to_owned(),
    };
    let since = |time: SystemTime| {
        let age = SystemTime::now().duration_since(time).unwrap_or_default();
        duration::short(age)
    };
    let state = match (state(record), record.start_time) {
        ("running", Some(start)) => format!("running for {}", since(start)),
        ("queued", _) => format!("queued for {}", since(record.submit_time)),
        (state, _) => state.to_owned(),
    };
    let mut text = String::new();
    for (name, value) in [
        ("job", job),
        ("host", &record.host),
        ("procedure", &record.procedure),
        ("arguments", &terminal::json(record.arguments.as_str())),
        ("info", &terminal::json(record.info.as_str())),
        ("state", &state),
        ("submitted", &time(Some(record.submit_time))),
        ("started", &time(record.start_time)),
        ("ended", &time(record.end_time)),
    ] {
        add(&mut text, name, value);
    }
    for (name, value) in details.iter().flat_map(|details| details.lines()) {
        add(&mut text, name, &value);
    }
    if let Some(Evidence { stdout, stderr }) = &record.evidence {
        for (name, printed) in [("stdout", stdout), ("stderr", stderr)] {
            for line in printed.lines() {
                let _ = writeln!(text, "{name:<9}  {}", terminal::one_line(line));
            }
        }
    }
    text
}

fn add(text: &mut String, name: &str, value: &str) {
    // A String takes everything.
    let _ = writeln!(text, "{name:<9}  {}", terminal::one_line(value));
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
