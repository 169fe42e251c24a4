//! `stop` and `drain`: ask the daemon to end, and wait until it has.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use harpcallerd::faces::admin::request::AdminRequest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::Done;
use super::control::Control;
use super::printing::say;

pub(crate) fn run(socket: &Path, end_calls: bool, timeout: Option<u64>, print_pid: bool) -> Done {
    // That there is none is what was wanted.
    let Some(control) = Control::find(socket)? else {
        return Ok(ExitCode::SUCCESS);
    };
    end(
        control,
        &AdminRequest::Stop { end_calls },
        timeout,
        print_pid,
    )
}

pub(crate) fn drain(socket: &Path) -> Done {
    end(Control::connect(socket)?, &AdminRequest::Drain, None, false)
}

fn end(
    mut control: Control,
    request: &AdminRequest,
    timeout: Option<u64>,
    print_pid: bool,
) -> Done {
    let give_up = give_up(timeout);
    if let Some(give_up) = give_up {
        control.wait_at_most(give_up.saturating_duration_since(Instant::now()))?;
    }
    let pid = match control.ask_for(request) {
        Ok(reply) => reply.pid.context("the daemon's answer has no process id")?,
        Err(error) if is_over(&error) => bail!(
            "the daemon has not answered within {} s",
            timeout.unwrap_or_default()
        ),
        Err(error) => return Err(error),
    };
    if print_pid {
        say(&pid)?;
    }
    // Opened while the daemon is sure to live, so that it is this process and no other.
    let process = process(&control, &pid);
    let has_ended = connection_ends(&mut control, give_up)?
        && process.is_none_or(|process| process_ends(&process, give_up));
    if !has_ended {
        bail!(
            "the daemon (process {pid}) has not ended within {} s; it goes on stopping",
            timeout.unwrap_or_default()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// When to give up; never, if that is too far away for a clock.
pub(super) fn give_up(timeout: Option<u64>) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(timeout?))
}

/// True if the wait for a reply took too long.
fn is_over(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Waits until the daemon has closed the connection, which it does when it ends.
fn connection_ends(control: &mut Control, give_up: Option<Instant>) -> anyhow::Result<bool> {
    if let Some(give_up) = give_up {
        control.wait_at_most(give_up.saturating_duration_since(Instant::now()))?;
    }
    match control.line() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error).context("cannot hear the daemon"),
    }
}

/// The daemon's process; `None` if it cannot be seen from here, as through the wall of a
/// container, where it has another number, or none.
fn process(control: &Control, pid: &str) -> Option<OwnedFd> {
    let peer = control.peer()?;
    let is_the_same = pid.parse() == Ok(peer.as_raw_nonzero().get());
    is_the_same.then_some(())?;
    pidfd_open(peer, PidfdFlags::empty()).ok()
}

/// Waits until the process is gone: what it had open is free then.
fn process_ends(process: &OwnedFd, give_up: Option<Instant>) -> bool {
    loop {
        let left = give_up.map(|give_up| give_up.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut events = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut events, left.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            // It cannot be watched; its connection has ended, and that has to do.
            Err(_) => return true,
        }
    }
}
