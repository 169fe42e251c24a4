//! `status`: how the daemon is, or when it serves clients.

mod words;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use harpcallerd::faces::admin::condition::{Condition, State};
use harpcallerd::faces::admin::request::AdminRequest;

use super::Done;
use super::control::{Control, Reply, read};
use super::printing::{print, say};

/// Between two looks whether there is a daemon by now.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long an answer is waited for unless the command line says otherwise.
const PATIENCE: u64 = 5;

/// What the command line says.
pub(crate) struct Options {
    pub(crate) wait: bool,
    pub(crate) timeout: Option<u64>,
    pub(crate) json: bool,
    pub(crate) verbose: bool,
}

pub(crate) fn run(socket: &Path, options: &Options) -> Done {
    let mut patience = options.timeout.unwrap_or(PATIENCE);
    if options.wait {
        wait_for(socket, super::stop::give_up(options.timeout))?;
        // Whatever there is by now is asked how it is.
        patience = PATIENCE;
    }
    let condition = ask(socket, Duration::from_secs(patience))?;
    if options.json {
        print(&[serde_json::to_string(&condition)?])?;
    } else {
        for line in words::of(&condition, options.verbose) {
            say(line)?;
        }
    }
    Ok(ExitCode::from(match condition.state {
        State::Serving => 0,
        State::Stopped => 1,
        State::Degraded => 2,
        State::Starting | State::Draining => 3,
    }))
}

/// How the daemon is. One that does not answer in time is there and does not do its work.
fn ask(socket: &Path, patience: Duration) -> anyhow::Result<Condition> {
    let (answer, answered) = mpsc::channel();
    let path = socket.to_owned();
    // A daemon that stands still may not even take the connection.
    thread::spawn(move || {
        // Nobody waits for it any more if it comes too late.
        let _ = answer.send(ask_patiently(&path));
    });
    answered.recv_timeout(patience).unwrap_or_else(|_| {
        let seconds = patience.as_secs();
        let told = format!("the daemon has not answered within {seconds} s");
        Ok(Condition {
            attention: vec![told],
            ..Condition::in_a_word(State::Degraded)
        })
    })
}

fn ask_patiently(socket: &Path) -> anyhow::Result<Condition> {
    let Some(mut control) = Control::find(socket)? else {
        return Ok(Condition::in_a_word(State::Stopped));
    };
    let reply = control.ask(&AdminRequest::Status {
        wait: false,
        detail: true,
    })?;
    Ok(reply.status.unwrap_or_else(|| {
        // A daemon of an older release.
        let state = match (reply.result.as_str(), reply.attention.is_empty()) {
            ("running", true) => State::Serving,
            ("running", false) => State::Degraded,
            _ => State::Starting,
        };
        Condition {
            attention: reply.attention,
            ..Condition::in_a_word(state)
        }
    }))
}

/// Waits until a daemon has started, one that is still to come included, or the time is over.
fn wait_for(socket: &Path, give_up: Option<Instant>) -> anyhow::Result<()> {
    loop {
        if let Some(control) = Control::find(socket)? {
            match answer(control, give_up) {
                Ok(Some(line)) => {
                    let reply: Reply = read(&line)?;
                    if reply.result == "running" {
                        return Ok(());
                    }
                }
                // It ended before it had started; the next one may do better.
                Ok(None) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {}
                    _ => return Err(error).context("cannot hear the daemon"),
                },
            }
        }
        if give_up.is_some_and(|give_up| Instant::now() + LOOK_EVERY > give_up) {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// What a daemon says once it has started; `None` if it ends before.
fn answer(mut control: Control, give_up: Option<Instant>) -> io::Result<Option<String>> {
    control.send(&AdminRequest::Status {
        wait: true,
        detail: false,
    })?;
    if let Some(give_up) = give_up {
        control.wait_at_most(give_up.saturating_duration_since(Instant::now()))?;
    }
    control.line()
}
