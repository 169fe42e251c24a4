//! `reload`.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::say;

pub(crate) fn run(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ReloadConfig)?;
    if !reply.restart_needed.is_empty() {
        let keys = reply.restart_needed.join(", ");
        say(format_args!("reloaded; a restart is needed for: {keys}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
