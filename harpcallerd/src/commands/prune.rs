//! `prune-jobs`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::say;

const DAY: u64 = 24 * 60 * 60;

pub(crate) fn run(socket: &Path, days: u64) -> Done {
    let max_age = days.saturating_mul(DAY);
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::PruneJobs { max_age })?;
    say(format_args!(
        "{} jobs pruned",
        reply.jobs_pruned.unwrap_or_default()
    ))?;
    if reply.withheld {
        bail!(
            "others are older than that by the wall clock alone, which was set forward less than \
             an hour ago, or have ended before the machine was started; they stay for now"
        );
    }
    Ok(ExitCode::SUCCESS)
}
