//! `info` and `cancel`: one job.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use harp_proto::JobId;
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::print;

pub(crate) fn info(socket: &Path, job: &str) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::JobInfo {
        job: id(job),
        detail: true,
    })?;
    let info = reply.info.context("the daemon's answer has no job")?;
    print(&[info.get()])
}

pub(crate) fn cancel(socket: &Path, job: &str) -> Done {
    Control::connect(socket)?.ask_for(&AdminRequest::CancelJob { job: id(job) })?;
    Ok(ExitCode::SUCCESS)
}

/// A text of a wrong form names no job.
fn id(text: &str) -> JobId {
    text.parse().unwrap_or(JobId::NONE)
}
