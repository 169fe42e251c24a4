//! Printing.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;

use harp_service::terminal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Done;
use super::control::read;

/// Lines on their way to standard output.
pub(super) struct Printer(BufWriter<StdoutLock<'static>>);

/// A job as the daemon lists it. What is not printed is left out; the rest is copied.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    job: Box<RawValue>,
    call: Box<RawValue>,
    time: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    queue: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    running: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    held: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unreachable_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    client: Option<Box<RawValue>>,
}

/// What a job's line has beside its call and times.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    Plain,
    Queue,
    Running,
    Client,
}

impl Job {
    /// The line to print.
    pub(super) fn line(text: &str, columns: Columns) -> anyhow::Result<String> {
        let mut job: Job = read(text)?;
        match columns {
            // A job without a queue says so.
            Columns::Queue => job.queue = Some(job.queue.map_or_else(null, Ok)?),
            _ => job.queue = None,
        }
        if !matches!(columns, Columns::Running) {
            job.running = None;
        }
        if !matches!(columns, Columns::Client) {
            job.client = None;
        }
        Ok(serde_json::to_string(&job)?)
    }
}

fn null() -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string("null".to_owned())
}

impl Printer {
    pub(super) fn new() -> Printer {
        Printer(BufWriter::new(io::stdout().lock()))
    }

    /// Prints a line of JSON. What clients and hosts have chosen in it steers no terminal,
    /// that of a pager included; to whoever reads it as JSON it is the same.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.0, "{}", terminal::json(line))
    }

    /// Shows what has been printed so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints a line of what a command does. A reader that has seen enough stops nothing.
pub(super) fn say(line: impl Display) -> io::Result<()> {
    heard(writeln!(
        io::stdout(),
        "{}",
        terminal::clean(&line.to_string())
    ))
}

/// Prints a line on standard error, where a failure cannot be told to anybody.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", terminal::clean(&line.to_string()));
}

/// Prints these lines of JSON.
pub(super) fn print(lines: &[impl AsRef<str>]) -> Done {
    let mut output = Printer::new();
    let printed = lines
        .iter()
        .try_for_each(|line| output.line(line.as_ref()))
        .and_then(|()| output.flush());
    finished(printed)
}

/// A reader that has seen enough, such as head(1), is no failure.
pub(super) fn finished(printed: io::Result<()>) -> Done {
    heard(printed)?;
    Ok(ExitCode::SUCCESS)
}

fn heard(printed: io::Result<()>) -> io::Result<()> {
    printed.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}
