//! `resume`: the operator's word that held jobs are to be run here.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::say;

pub(crate) fn run(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ResumeJobs)?;
    let jobs = reply.jobs_resumed.unwrap_or_default();
    say(format_args!("{jobs} held jobs resumed"))?;
    Ok(ExitCode::SUCCESS)
}
