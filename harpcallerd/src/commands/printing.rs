//! Printing.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;

use harp_service::streams::{Patient, unless_heard};
pub(super) use harp_service::streams::{note, say};
use harp_service::terminal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Done;
use super::control::read;

/// Lines on their way to standard output.
pub(super) struct Printer(BufWriter<Patient<StdoutLock<'static>>>);

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
}

/// A job as clients are told it; what `list` prints of it is copied, but for the times, which
/// are seconds there.
#[derive(Deserialize)]
pub(super) struct FoundJob {
    id: Box<RawValue>,
    host: Box<RawValue>,
    procedure: Box<RawValue>,
    arguments: Box<RawValue>,
    queue: Option<FoundQueue>,
    submitted: u64,
    started: Option<u64>,
    ended: Option<u64>,
    host_state: Option<HostState>,
    waiting_for: Option<String>,
}

#[derive(Deserialize)]
struct FoundQueue {
    name: Box<RawValue>,
}

#[derive(Deserialize)]
struct HostState {
    unreachable_since: u64,
}

impl FoundJob {
    /// The line of a list, of a job in this text.
    pub(super) fn line(text: &str) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct Call {
            host: Box<RawValue>,
            procedure: Box<RawValue>,
            arguments: Box<RawValue>,
        }
        #[derive(Serialize)]
        struct Times {
            submit: u64,
            start: Option<u64>,
            end: Option<u64>,
        }
        #[derive(Serialize)]
        struct Line {
            job: Box<RawValue>,
            call: Call,
            time: Times,
            queue: Option<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            held: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            unreachable_since: Option<u64>,
        }
        let FoundJob {
            id,
            host,
            procedure,
            arguments,
            queue,
            submitted,
            started,
            ended,
            host_state,
            waiting_for,
        } = read(text)?;
        Ok(serde_json::to_string(&Line {
            job: id,
            call: Call {
                host,
                procedure,
                arguments,
            },
            time: Times {
                submit: submitted / 1000,
                start: started.map(|time| time / 1000),
                end: ended.map(|time| time / 1000),
            },
            queue: queue.map(|queue| queue.name),
            held: (waiting_for.as_deref() == Some("operator")).then_some(true),
            unreachable_since: host_state.map(|state| state.unreachable_since / 1000),
        })?)
    }
}

/// What a job's line has beside its call and times.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    Plain,
    Queue,
    Running,
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
        Ok(serde_json::to_string(&job)?)
    }
}

fn null() -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string("null".to_owned())
}

impl Printer {
    pub(super) fn new() -> Printer {
        Printer(BufWriter::new(Patient(io::stdout().lock())))
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
    unless_heard(printed)?;
    Ok(ExitCode::SUCCESS)
}
