//! Running the registry script, and reading what it prints.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use harp_exec::Limit;
use harp_service::systemd;
use harp_time::within;
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::script_output::{MAX_OUTPUT, ScriptOutput};

/// Bytes of the script's standard error that are kept for the log.
const MAX_COMPLAINT: usize = 4 * 1024;

/// Bytes that are read at once.
const READ: usize = 16 * 1024;

/// How long a pipe has to be silent to be at its end, once the script has ended: a child of
/// the script may hold it for ever (`ssh` with a shared connection, a daemon).
const SILENCE: Duration = Duration::from_secs(1);

/// Why there is nothing that the script has said.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The script could not be started.
    #[error("cannot run {script}: {error}")]
    Start {
        /// The script.
        script: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It was started, and its output could not be read.
    #[error("cannot read what {script} prints: {error}")]
    Read {
        /// The script.
        script: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It ended badly.
    #[error("{script} ended with {status}{complaint}")]
    Failed {
        /// The script.
        script: PathBuf,
        /// Its exit code or signal.
        status: ExitStatus,
        /// The end of its standard error, empty or starting with a colon.
        complaint: String,
    },
    /// It ran too long.
    #[error("{script} did not end within {} s (host_db_script_timeout) and was killed", limit.as_secs())]
    TimedOut {
        /// The script.
        script: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// It has ended, and a child of it goes on printing.
    #[error("{script} has ended, and a child of it still printed after {} s (host_db_script_timeout)", limit.as_secs())]
    Endless {
        /// The script.
        script: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Its output ends in the middle of a line.
    #[error(
        "{script} ended well, and its last line is the beginning of an entry: its output was cut off"
    )]
    CutOff {
        /// The script.
        script: PathBuf,
    },
    /// It is a discovery program and has left no reply, or one that says why there are no
    /// nodes.
    #[error("{script} ended well and has not told its nodes: {why}")]
    NoReply {
        /// The program.
        script: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It printed too much.
    #[error("{script} printed more than {MAX_OUTPUT} bytes and was killed")]
    TooMuch {
        /// The script.
        script: PathBuf,
    },
}

/// Runs the script and adds what it prints. Dropping the future ends it and its group.
///
/// # Errors
///
/// [`ScriptError`].
pub(super) async fn read(
    script: &Path,
    limit: Duration,
    limits: &[Limit],
    into: &mut ScriptOutput,
) -> Result<(), ScriptError> {
    let command = std::process::Command::new(script);
    run(script, command, limit, limits, |text| into.take(text)).await?;
    if into.end() {
        return Ok(());
    }
    Err(ScriptError::CutOff {
        script: script.to_owned(),
    })
}

/// Runs a script by this command in a process group of its own and hands on what it prints,
/// until that is too much. Dropping the future ends the group. It has these limits in place
/// of those of this process.
///
/// # Errors
///
/// [`ScriptError`].
pub(super) async fn run(
    script: &Path,
    command: std::process::Command,
    limit: Duration,
    limits: &[Limit],
    hear: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ScriptError> {
    let until = Instant::now() + limit;
    let (script, limits) = (script.to_owned(), limits.to_vec());
    // Through when the script is executed, which its file has to be read for.
    let starting = spawn_blocking(move || start(command, limits));
    let started = match within(until, starting).await {
        Some(started) => started.map_err(io::Error::other).flatten(),
        None => return Err(ScriptError::TimedOut { script, limit }),
    };
    let (mut child, mut group) = match started {
        Ok(started) => started,
        Err(error) => return Err(ScriptError::Start { script, error }),
    };
    let mut heard = Heard {
        hear,
        complaint: Vec::new(),
        has_ended: false,
    };
    let status = match within(until, heard.until_its_end(&mut child, &mut group)).await {
        Some(Ok(status)) => status,
        Some(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(ScriptError::TooMuch { script });
        }
        Some(Err(error)) => return Err(ScriptError::Read { script, error }),
        None if heard.has_ended => return Err(ScriptError::Endless { script, limit }),
        None => return Err(ScriptError::TimedOut { script, limit }),
    };
    if status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&heard.complaint).trim().to_owned();
    Err(ScriptError::Failed {
        script,
        status,
        complaint: if complaint.is_empty() {
            complaint
        } else {
            format!(": {complaint}")
        },
    })
}

/// Starts the script. Blocks for as long as the file system does that it is on.
fn start(
    mut command: std::process::Command,
    limits: Vec<Limit>,
) -> io::Result<(Child, ScriptGroup)> {
    harp_exec::limit(&mut command, limits);
    for variable in systemd::VARIABLES {
        command.env_remove(variable);
    }
    let child = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = ScriptGroup::of(&child);
    Ok((child, group))
}

/// What has come of a script so far.
struct Heard<H> {
    /// Takes what it prints.
    hear: H,
    complaint: Vec<u8>,
    has_ended: bool,
}

impl<H: FnMut(&[u8]) -> io::Result<()>> Heard<H> {
    /// Reads until the script has ended and both pipes are at their ends, or silent for
    /// [`SILENCE`]: then what is left of its group is ended.
    async fn until_its_end(
        &mut self,
        child: &mut Child,
        group: &mut ScriptGroup,
    ) -> io::Result<ExitStatus> {
        // The process stays a zombie until the end, so that its group's number is its own.
        let mut exit = pin!(ScriptGroup::exit(group.0));
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let mut printed = Zeroizing::new(vec![0; READ]);
        let mut said = vec![0; MAX_COMPLAINT];
        let mut silent_by = Instant::now();
        while !self.has_ended || stdout.is_some() || stderr.is_some() {
            // What has arrived comes before what has ended.
            tokio::select! {
                biased;
                read = next(&mut stdout, &mut printed), if stdout.is_some() => {
                    (self.hear)(&printed[..read?])?;
                    silent_by = Instant::now() + SILENCE;
                }
                read = next(&mut stderr, &mut said), if stderr.is_some() => {
                    let room = MAX_COMPLAINT - self.complaint.len();
                    let read = read?;
                    self.complaint.extend_from_slice(&said[..read.min(room)]);
                }
                ended = &mut exit, if !self.has_ended => {
                    ended?;
                    self.has_ended = true;
                    silent_by = Instant::now() + SILENCE;
                }
                () = sleep_until(silent_by), if self.has_ended => {
                    group.end();
                    (stdout, stderr) = (None, None);
                }
            }
        }
        let status = child.wait().await?;
        group.is_reaped();
        Ok(status)
    }
}

/// Reads what comes next; at its end the pipe is `None`. Cancel safe.
async fn next(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(open) = pipe else { return Ok(0) };
    let read = open.read(buffer).await?;
    if read == 0 {
        *pipe = None;
    }
    Ok(read)
}

/// The script's whole process group, which is ended when this is dropped, unless the script
/// has been reaped: its number may then be somebody else's.
struct ScriptGroup(Option<Pid>);

impl ScriptGroup {
    fn of(child: &Child) -> ScriptGroup {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        ScriptGroup(id.and_then(Pid::from_raw))
    }

    /// Waits for the end of the script, which is not reaped by that. Cancel safe: the thread
    /// that waits ends with the script.
    async fn exit(script: Option<Pid>) -> io::Result<()> {
        let script = script.ok_or(io::ErrorKind::NotFound)?;
        let wait = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let waiting = tokio::task::spawn_blocking(move || {
            retry_on_intr(|| waitid(WaitId::Pid(script), wait))
        });
        waiting.await.map_err(io::Error::other)??;
        Ok(())
    }

    fn end(&self) {
        if let Some(group) = self.0 {
            // All of it can have ended by itself just now; then there is nothing to do.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn is_reaped(&mut self) {
        self.0 = None;
    }
}

impl Drop for ScriptGroup {
    fn drop(&mut self) {
        self.end();
    }
}
