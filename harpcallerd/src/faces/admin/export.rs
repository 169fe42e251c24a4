//! All jobs as lines of an export, written as the desk gives them out.

use std::io;

use harp_jobs::client::Client;
use serde_json::json;

use super::administrator::Administrator;
use super::replies;
use crate::desk::admin::Started;

/// The lines, then the result: how many jobs there were, of how many something is left out, and
/// what is damaged.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn stream(
    started: &Started,
    by: &Client,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let mut export = match started.export(by) {
        Ok(export) => export,
        Err(refusal) => return administrator.write(&replies::refused(refusal)).await,
    };
    while let Some(lines) = export.next().await {
        administrator.write(&lines).await?;
    }
    let reply = match export.done().await {
        Ok((moved, problems)) => replies::line(&json!({
            "result": "ok", "jobs_exported": moved.jobs, "jobs_damaged": moved.others,
            "problems": problems,
        })),
        Err(refusal) => replies::refused(refusal),
    };
    administrator.write(&reply).await
}
