//! `status`: whether the daemon runs, or when it does.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use harpcallerd::admin::request::AdminRequest;

use super::Done;
use super::control::{Control, Reply, read};
use super::output::say;

/// Between two looks whether there is a daemon by now.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(socket: &Path, wait: bool, timeout: Option<u64>) -> Done {
    let give_up = super::stop::give_up(timeout);
    let runs = match wait {
        true => wait_for(socket, give_up)?,
        false => match Control::find(socket)? {
            Some(mut control) => {
                let reply = control.ask(&AdminRequest::Status { wait: false })?;
                reply.result == "running"
            }
            None => false,
        },
    };
    if runs {
        say("harpcallerd is running")?;
        Ok(ExitCode::SUCCESS)
    } else {
        say("harpcallerd is stopped")?;
        Ok(ExitCode::FAILURE)
    }
}

/// Waits until a daemon has started, one that is still to come included. False if the
/// time is over before.
fn wait_for(socket: &Path, give_up: Option<Instant>) -> anyhow::Result<bool> {
    loop {
        if let Some(control) = Control::find(socket)? {
            match answer(control, give_up) {
                Ok(Some(line)) if read::<Reply>(&line)?.result == "running" => return Ok(true),
                // It ended before it had started; the next one may do better.
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {}
                    _ => return Err(error).context("cannot hear the daemon"),
                },
            }
        }
        if give_up.is_some_and(|give_up| Instant::now() + LOOK_EVERY > give_up) {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What a daemon says once it has started; `None` if it ends before.
fn answer(mut control: Control, give_up: Option<Instant>) -> io::Result<Option<String>> {
    control.send(&AdminRequest::Status { wait: true })?;
    if let Some(give_up) = give_up {
        control.wait_at_most(give_up.saturating_duration_since(Instant::now()))?;
    }
    control.line()
}
