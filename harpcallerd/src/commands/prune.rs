//! `prune-jobs`.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;

const DAY: u64 = 24 * 60 * 60;

pub(crate) fn run(socket: &Path, days: u64) -> Done {
    let max_age = days.saturating_mul(DAY);
    Control::connect(socket)?.ask_for(&AdminRequest::PruneJobs { max_age })?;
    Ok(ExitCode::SUCCESS)
}
