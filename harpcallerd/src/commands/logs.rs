//! `reopen-logs`.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;

pub(crate) fn reopen(socket: &Path) -> Done {
    Control::connect(socket)?.ask_for(&AdminRequest::ReopenLogs)?;
    Ok(ExitCode::SUCCESS)
}
