//! How the process of a call is made, whatever the runner: a session of its own, pipes
//! for its standard streams and no other descriptors, as the right user.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use harp_exec::{Program, SpawnError, Step};
use harp_proto::{Failure, error_type};
use rustix::io::Errno;
use tokio::net::unix::pipe;

use crate::choria::reply::AgentReply;
use crate::line_log::LineLog;
use crate::reaper::Reaper;
use crate::session::Session;
use crate::stash::Stash;

/// How often a program that somebody is just writing to is tried, and how long apart.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The process of one call. Dropped, its session is killed.
#[derive(Debug)]
pub struct Process {
    /// Its session, led by the process itself.
    pub session: Session,
    /// Its standard input and what is still to be written to it; `None` if it has none.
    pub stdin: Option<(pipe::Sender, Stash)>,
    /// Its standard output.
    pub stdout: pipe::Receiver,
    /// Its standard error.
    pub stderr: pipe::Receiver,
    /// Log of its standard error beside the exception, if any.
    pub stderr_log: Option<LineLog>,
    /// If its answer is not what it prints.
    pub reply: Option<AgentReply>,
}

/// Starts a process. `stdin` is for a program whose standard input is a pipe.
///
/// # Errors
///
/// `procedure_loading_error` or `system_error` with the cause, or
/// `invalid_argument_list` if the command line is too long for the system.
pub async fn launch(program: Program, stdin: Stash, reaper: &Reaper) -> Result<Process, Failure> {
    let program = Arc::new(program);
    let mut tries = 1;
    let started = loop {
        match reaper.spawn(Arc::clone(&program)).await {
            Err(error) if is_busy(&error) && tries < BUSY_TRIES => {
                tries += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            spawned => break spawned.map_err(|error| failure(&error, &program))?,
        }
    };
    let session = Session::below(started.keeper, reaper.clone());
    Process::new(session, started.child, stdin).map_err(|error| {
        let message = format!("cannot talk to the command: {error}");
        Failure::new(error_type::SYSTEM_ERROR, message)
    })
}

impl Process {
    fn new(session: Session, mut child: Child, stdin: Stash) -> io::Result<Process> {
        let absent = || io::Error::other("a standard stream is not a pipe");
        let input = child.stdin.take().map(OwnedFd::from);
        let input = input.map(pipe::Sender::from_owned_fd).transpose()?;
        let stdout: OwnedFd = child.stdout.take().ok_or_else(absent)?.into();
        let stderr: OwnedFd = child.stderr.take().ok_or_else(absent)?.into();
        Ok(Process {
            session,
            stdin: input.map(|input| (input, stdin)),
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
            stderr_log: None,
            reply: None,
        })
    }
}

fn is_busy(error: &SpawnError) -> bool {
    error.step == Step::Execute && Errno::from_io_error(&error.source) == Some(Errno::TXTBSY)
}

fn failure(error: &SpawnError, start: &Program) -> Failure {
    let (program, why) = (start.file.display(), &error.source);
    let of_user = match &start.ids {
        Some(ids) => format!(" as user {}", ids.uid),
        None => String::new(),
    };
    let (error_type, message) = match error.step {
        Step::Execute => return not_executed(why, &program, &of_user),
        Step::Directory => (
            error_type::PROCEDURE_LOADING_ERROR,
            format!(
                "cannot start in the directory {}{of_user}: {why}",
                start.directory.display()
            ),
        ),
        Step::Groups | Step::User => (
            error_type::SYSTEM_ERROR,
            format!("cannot start {program}{of_user}: {error}; harpd must run as root for it"),
        ),
        Step::Keeper | Step::Session | Step::Limits | Step::Descriptors | Step::Capabilities => (
            error_type::SYSTEM_ERROR,
            format!("cannot start {program}: {error}"),
        ),
    };
    Failure::new(error_type, message)
}

fn not_executed(why: &io::Error, program: &std::path::Display<'_>, of_user: &str) -> Failure {
    let (error_type, message) = match Errno::from_io_error(why) {
        Some(Errno::TOOBIG) => (
            error_type::INVALID_ARGUMENT_LIST,
            "the arguments are too long for a command line; \
             a procedure with arguments = \"stdin\" has no such limit"
                .to_owned(),
        ),
        Some(Errno::NOEXEC) => (
            error_type::PROCEDURE_LOADING_ERROR,
            format!("{program} is no program: a script must begin with #! and its interpreter"),
        ),
        // The file itself has just been looked at.
        Some(Errno::NOENT) => (
            error_type::PROCEDURE_LOADING_ERROR,
            format!("the interpreter that {program} names is missing"),
        ),
        Some(Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::NOTDIR | Errno::ISDIR) => (
            error_type::PROCEDURE_LOADING_ERROR,
            format!("cannot execute {program}{of_user}: {why}"),
        ),
        _ => (
            error_type::SYSTEM_ERROR,
            format!("cannot start {program}{of_user}: {why}"),
        ),
    };
    Failure::new(error_type, message)
}
