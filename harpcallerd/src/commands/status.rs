//! `status`: whether the daemon runs, or when it does.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::{Control, Reply, read};
use super::printing::say;

/// Between two looks whether there is a daemon by now.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(socket: &Path, wait: bool, timeout: Option<u64>) -> Done {
    let give_up = super::stop::give_up(timeout);
    let running = if wait {
        wait_for(socket, give_up)?
    } else {
        match Control::find(socket)? {
            Some(mut control) => Some(control.ask(&AdminRequest::Status { wait: false })?),
            None => None,
        }
    };
    let Some(reply) = running.filter(|reply| reply.result == "running") else {
        say("harpcallerd is stopped")?;
        return Ok(ExitCode::FAILURE);
    };
    say("harpcallerd is running")?;
    for sentence in reply.attention {
        say(sentence)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until a daemon has started, one that is still to come included, and returns what
/// it says. `None` if the time is over before.
fn wait_for(socket: &Path, give_up: Option<Instant>) -> anyhow::Result<Option<Reply>> {
    loop {
        if let Some(control) = Control::find(socket)? {
            match answer(control, give_up) {
                Ok(Some(line)) => {
                    let reply: Reply = read(&line)?;
                    if reply.result == "running" {
                        return Ok(Some(reply));
                    }
                }
                // It ended before it had started; the next one may do better.
                Ok(None) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {}
                    _ => return Err(error).context("cannot hear the daemon"),
                },
            }
        }
        if give_up.is_some_and(|give_up| Instant::now() + LOOK_EVERY > give_up) {
            return Ok(None);
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
