//! `hosts-list` and `hosts-refresh`.

use std::path::Path;
use std::process::ExitCode;

use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::Control;
use super::printing::{print, say};

pub(crate) fn list(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::ListHosts)?;
    let hosts: Vec<_> = reply.hosts.iter().map(|host| host.get()).collect();
    print(&hosts)
}

pub(crate) fn refresh(socket: &Path) -> Done {
    let reply = Control::connect(socket)?.ask_for(&AdminRequest::RefreshHosts)?;
    if let Some(registry) = reply.registry {
        say(registry)?;
    }
    Ok(ExitCode::SUCCESS)
}
