//! The runner of a procedure that is a program: how its process is made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use harp_proto::{Failure, Json, error_type};
use rustix::fs::Access;
use rustix::io::Errno;
use tokio::net::unix::pipe;

use crate::arguments::{ArgumentMode, command_line};
use crate::group::Group;
use crate::reaper::Reaper;

/// `PATH` of commands unless configured.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often a program that somebody is just writing to is tried, and how long apart.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A program and everything of its surroundings that the configuration fixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRunner {
    /// The program, an absolute path or a name that is looked for in `path`, and its
    /// first arguments. Not empty.
    pub command: Vec<String>,
    /// How it gets the arguments of a call.
    pub arguments: ArgumentMode,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// Its `PATH`.
    pub path: String,
    /// More variables; `HARP_...` are set over them.
    pub environment: BTreeMap<String, String>,
}

/// What a runner needs to know of one call, made of its arguments.
#[derive(Debug)]
pub struct Invocation {
    words: Vec<OsString>,
    stdin: Bytes,
}

/// Who calls what; the command gets it in its environment.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// `HARP_PROCEDURE`.
    pub procedure: &'a str,
    /// `HARP_USER`.
    pub user: &'a str,
    /// `HARP_PEER`: address and port.
    pub peer: std::net::SocketAddr,
}

/// The process of one call.
#[derive(Debug)]
pub struct Process {
    /// Its process group, led by the command itself.
    pub group: Group,
    /// Its standard input and what is still to be written to it.
    pub stdin: (pipe::Sender, Bytes),
    /// Its standard output.
    pub stdout: pipe::Receiver,
    /// Its standard error.
    pub stderr: pipe::Receiver,
}

/// Why a command cannot be started, as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// No such program in `path`.
    #[error("command not found: no executable file {program} in the path {path}")]
    NotInPath {
        /// The name.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The program's file is missing or is not one.
    #[error("command not found: {0}: {1}")]
    Missing(PathBuf, String),
    /// The program may not be executed.
    #[error("command is not executable: {0}")]
    NotExecutable(PathBuf),
    /// The directory to start in cannot be entered.
    #[error("cannot start in the directory {0}: {1}")]
    NoDirectory(PathBuf, String),
}

impl CommandRunner {
    /// Looks whether the command could be started now.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self) -> Result<(), CannotStart> {
        self.program()?;
        match std::fs::metadata(&self.directory) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(self.no_directory(&"not a directory")),
            Err(error) => Err(self.no_directory(&error)),
        }
    }

    /// Makes of a call's arguments what the command will get.
    ///
    /// # Errors
    ///
    /// `invalid_argument_list` if they do not fit.
    pub fn prepare(&self, arguments: &Json) -> Result<Invocation, Failure> {
        match self.arguments {
            ArgumentMode::Argv => Ok(Invocation {
                words: command_line(arguments)?,
                stdin: Bytes::new(),
            }),
            ArgumentMode::Stdin => {
                let mut stdin = BytesMut::with_capacity(arguments.as_bytes().len() + 1);
                stdin.put_slice(arguments.as_bytes());
                stdin.put_u8(b'\n');
                Ok(Invocation {
                    words: Vec::new(),
                    stdin: stdin.freeze(),
                })
            }
        }
    }

    /// Starts the command, never through a shell: in a process group of its own, with
    /// pipes for its standard streams and a clean environment.
    ///
    /// # Errors
    ///
    /// `procedure_loading_error` or `system_error` with the cause, or
    /// `invalid_argument_list` if the command line is too long for the system.
    pub async fn start(
        &self,
        invocation: Invocation,
        identity: Identity<'_>,
        reaper: &Reaper,
    ) -> Result<Process, Failure> {
        self.check().map_err(|why| loading_error(&why))?;
        let program = self.program().map_err(|why| loading_error(&why))?;
        let mut command = self.command(&program, &invocation.words, identity);
        let mut tries = 1;
        let started = loop {
            match reaper.spawn(&mut command) {
                Err(error)
                    if Errno::from_io_error(&error) == Some(Errno::TXTBSY)
                        && tries < BUSY_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                started => break started.map_err(|error| spawn_failure(&program, &error))?,
            }
        };
        // From here on the group dies with this value, should anything below fail.
        let group = Group::led_by(started.pid, started.exit);
        let mut child = started.child;
        let pipes = Pipes::of(&mut child).map_err(|error| system_error(&error))?;
        Ok(Process {
            group,
            stdin: (pipes.stdin, invocation.stdin),
            stdout: pipes.stdout,
            stderr: pipes.stderr,
        })
    }

    fn command(&self, program: &Path, words: &[OsString], identity: Identity<'_>) -> Command {
        let mut command = Command::new(program);
        command
            .arg0(&self.command[0])
            .args(&self.command[1..])
            .args(words)
            .env_clear()
            .env("PATH", &self.path)
            .envs(&self.environment)
            .env("HARP_PROCEDURE", identity.procedure)
            .env("HARP_USER", identity.user)
            .env("HARP_PEER", identity.peer.to_string())
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// The program's file.
    fn program(&self) -> Result<PathBuf, CannotStart> {
        let program = &self.command[0];
        if program.contains('/') {
            let program = PathBuf::from(program);
            check_executable(&program)?;
            return Ok(program);
        }
        std::env::split_paths(&self.path)
            .map(|directory| directory.join(program))
            .find(|candidate| check_executable(candidate).is_ok())
            .ok_or_else(|| CannotStart::NotInPath {
                program: program.clone(),
                path: self.path.clone(),
            })
    }

    fn no_directory(&self, why: &dyn std::fmt::Display) -> CannotStart {
        CannotStart::NoDirectory(self.directory.clone(), why.to_string())
    }
}

/// Harpd's ends of a child's pipes.
struct Pipes {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl Pipes {
    fn of(child: &mut std::process::Child) -> io::Result<Pipes> {
        let absent = || io::Error::other("a standard stream is not a pipe");
        let stdin: OwnedFd = child.stdin.take().ok_or_else(absent)?.into();
        let stdout: OwnedFd = child.stdout.take().ok_or_else(absent)?.into();
        let stderr: OwnedFd = child.stderr.take().ok_or_else(absent)?.into();
        Ok(Pipes {
            stdin: pipe::Sender::from_owned_fd(stdin)?,
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
        })
    }
}

fn check_executable(program: &Path) -> Result<(), CannotStart> {
    let missing = |why: &dyn std::fmt::Display| {
        Err(CannotStart::Missing(program.to_owned(), why.to_string()))
    };
    match std::fs::metadata(program) {
        Err(error) => return missing(&error),
        Ok(found) if !found.is_file() => return missing(&"not a file"),
        Ok(_) => {}
    }
    rustix::fs::access(program, Access::EXEC_OK)
        .map_err(|_| CannotStart::NotExecutable(program.to_owned()))
}

/// The procedure is there but cannot be run.
#[must_use]
pub fn loading_error(why: &CannotStart) -> Failure {
    Failure::new(error_type::PROCEDURE_LOADING_ERROR, why.to_string())
}

fn spawn_failure(program: &Path, error: &io::Error) -> Failure {
    let shown = program.display();
    match Errno::from_io_error(error) {
        Some(Errno::TOOBIG) => Failure::new(
            error_type::INVALID_ARGUMENT_LIST,
            "the arguments are too long for a command line; \
             a procedure with arguments = \"stdin\" has no such limit",
        ),
        Some(Errno::NOEXEC) => Failure::new(
            error_type::PROCEDURE_LOADING_ERROR,
            format!("{shown} is no program: a script must begin with #! and its interpreter"),
        ),
        // The file itself has just been looked at.
        Some(Errno::NOENT) => Failure::new(
            error_type::PROCEDURE_LOADING_ERROR,
            format!("the interpreter that {shown} names is missing"),
        ),
        Some(Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::NOTDIR | Errno::ISDIR) => {
            Failure::new(
                error_type::PROCEDURE_LOADING_ERROR,
                format!("cannot execute {shown}: {error}"),
            )
        }
        _ => Failure::new(
            error_type::SYSTEM_ERROR,
            format!("cannot start {shown}: {error}"),
        ),
    }
}

fn system_error(error: &io::Error) -> Failure {
    Failure::new(
        error_type::SYSTEM_ERROR,
        format!("cannot talk to the command: {error}"),
    )
}
