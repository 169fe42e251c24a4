//! `reload`.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::{note, say};

pub(crate) fn run(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ReloadConfig)?;
    for warning in &reply.warnings {
        say(format_args!("warning: {warning}"))?;
    }
    let number = Option::unwrap_or_default;
    say(format_args!(
        "reloaded: {} listeners, {} rules, {} tokens, {} warnings",
        number(reply.listeners),
        number(reply.rules),
        number(reply.tokens),
        reply.warnings.len()
    ))?;
    if !reply.restart_needed.is_empty() {
        let keys = reply.restart_needed.join(", ");
        say(format_args!("a restart is needed for: {keys}"))?;
    }
    match (reply.registry, reply.registry_kept) {
        (Some(registry), _) => say(registry)?,
        (None, Some(why)) => note(format_args!("the hosts registry stays as it was: {why}")),
        (None, None) => say("the registry script still runs; the log will have its numbers")?,
    }
    Ok(ExitCode::SUCCESS)
}
