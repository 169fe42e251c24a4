//! `list`: the jobs, as they come from the daemon.

use std::path::Path;

use anyhow::{Context, bail};
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::{Control, Reply, read};
use super::printing::{Columns, Job, Printer, finished};

pub(crate) fn run(socket: &Path, all: bool, queue: bool) -> Done {
    let mut control = Control::connect(socket)?;
    control
        .send(&AdminRequest::ListJobs {
            list_all: all,
            stream: true,
        })
        .context("cannot speak to the daemon")?;
    let columns = if queue {
        Columns::Queue
    } else {
        Columns::Plain
    };
    let mut output = Printer::new();
    let mut is_first = true;
    while let Some(line) = control.line().context("cannot hear the daemon")? {
        if !line.starts_with(r#"{"job""#) {
            read::<Reply>(&line)?.ok()?;
            return finished(output.flush());
        }
        let mut printed = output.line(&Job::line(&line, columns)?);
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
