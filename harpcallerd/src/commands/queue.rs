//! `queue-list` and `queue-cancel`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use harp_proto::{Json, QueueName};
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::{Columns, Job, print, say};

pub(crate) fn names(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ListQueues)?;
    let names: Vec<_> = reply.queues.iter().map(|name| name.get()).collect();
    print(&names)
}

pub(crate) fn list(socket: &Path, queue: &str) -> Done {
    let queue = name(queue)?;
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ListQueue { queue })?;
    let jobs = reply.jobs.iter();
    let lines: Result<Vec<_>, _> = jobs
        .map(|job| Job::line(job.get(), Columns::Running))
        .collect();
    print(&lines?)
}

pub(crate) fn cancel(socket: &Path, queue: &str) -> Done {
    let queue = name(queue)?;
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::CancelQueue { queue })?;
    say(format_args!(
        "{} jobs cancelled",
        reply.jobs_cancelled.unwrap_or_default()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn name(text: &str) -> anyhow::Result<QueueName> {
    let example = r#"an example: '{"name":"backup"}'"#;
    text.parse::<Json>()
        .map_err(harp_proto::NotAQueueName::Json)
        .and_then(|json| QueueName::from_json(&json))
        .map_err(|error| anyhow!("the queue's name {text:?}: {error}; {example}"))
}
