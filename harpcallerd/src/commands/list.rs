//! `list`: the jobs, as they come from the daemon.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use harpcallerd::faces::admin::request::{AdminRequest, Filters};

use super::Done;
use super::control::{Control, Reply, read};
use super::printing::{Columns, FoundJob, Job, Printer, finished};

/// Which jobs are listed, and how.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Jobs that have ended too.
    #[arg(long)]
    all: bool,
    /// The queue of each job too. With a name, a JSON object, or `none`: the jobs of that
    /// queue, or of none, alone.
    #[arg(long, value_name = "QUEUE-NAME-JSON", num_args = 0..=1, require_equals = true)]
    queue: Option<Option<String>>,
    /// Calls of this host alone: a name, or a pattern such as 'web*'.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Calls of this procedure alone, or of those that a pattern matches.
    #[arg(long, value_name = "PROCEDURE")]
    procedure: Vec<String>,
    /// Calls of this client alone, or of those that a pattern matches.
    #[arg(long, value_name = "CLIENT")]
    client: Vec<String>,
    /// Jobs that have ended so alone.
    #[arg(long, value_name = "OUTCOME", value_parser = ["returned", "exception", "error", "cancelled"])]
    outcome: Vec<String>,
    /// Jobs that were submitted at this time or later: 2026-11-27T12:00:00Z, 2026-11-27, today,
    /// yesterday (UTC), -2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Print all that is known of each job, as harpcaller-http(7) has it.
    #[arg(long)]
    json: bool,
}

impl List {
    /// The filters, as the daemon has them.
    fn filters(&self) -> Filters {
        let mut filters = Filters::new();
        for (name, values) in [
            ("host", &self.host),
            ("procedure", &self.procedure),
            ("client", &self.client),
            ("outcome", &self.outcome),
        ] {
            let values = values.iter();
            filters.extend(values.map(|value| (name.to_owned(), value.clone())));
        }
        if let Some(Some(queue)) = &self.queue {
            filters.push(("queue".to_owned(), queue.clone()));
        }
        if let Some(since) = &self.since {
            filters.push(("submitted_since".to_owned(), since.clone()));
        }
        filters
    }
}

pub(crate) fn run(socket: &Path, list: &List) -> Done {
    let mut filters = list.filters();
    let columns = if list.queue.is_some() {
        Columns::Queue
    } else {
        Columns::Plain
    };
    if filters.is_empty() && !list.json {
        let request = AdminRequest::ListJobs {
            list_all: list.all,
            stream: true,
        };
        return stream(socket, &request, |line| Job::line(line, columns));
    }
    // An outcome is that of a job which has ended.
    if !list.all && list.outcome.is_empty() {
        for state in ["queued", "running"] {
            filters.push(("state".to_owned(), state.to_owned()));
        }
    }
    // As without filters.
    filters.push(("order".to_owned(), "oldest".to_owned()));
    let request = AdminRequest::FindJobs { names: filters };
    stream(socket, &request, |line| {
        if list.json {
            Ok(line.trim_end().to_owned())
        } else {
            Job::line(&FoundJob::line(line)?, columns)
        }
    })
}

/// Prints each line of the daemon's answer in the form that `print` gives it.
fn stream(
    socket: &Path,
    request: &AdminRequest,
    print: impl Fn(&str) -> anyhow::Result<String>,
) -> Done {
    let mut control = Control::connect(socket)?;
    control
        .send(request)
        .context("cannot speak to the daemon")?;
    let mut output = Printer::new();
    let mut is_first = true;
    while let Some(line) = control.line().context("cannot hear the daemon")? {
        // Of a job the first key is `job`, or `id`.
        if !line.starts_with(r#"{"job""#) && !line.starts_with(r#"{"id""#) {
            let reply = read::<Reply>(&line)?.ok();
            let told = finished(output.flush());
            return reply.map_err(|error| option_of(&error)).and(told);
        }
        let mut printed = output.line(&print(&line)?);
        // A reader that waits for the beginning of a long list has it at once.
        if std::mem::take(&mut is_first) {
            printed = printed.and_then(|()| output.flush());
        }
        if printed.is_err() {
            return finished(printed);
        }
    }
    finished(output.flush())?;
    bail!("the daemon ended before the end of the list")
}

/// The daemon names filters as its clients do; people have typed an option.
fn option_of(error: &anyhow::Error) -> anyhow::Error {
    let told = error.to_string();
    match told.strip_prefix("submitted_since:") {
        Some(problem) => anyhow!("--since:{problem}"),
        None => anyhow!("{told}"),
    }
}
