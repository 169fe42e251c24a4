//! The command that answers a worker's jobs: one process group for each job.

mod output;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use harp_client::worker::Job;
use harp_client::{Error, Failure, Json};
use harp_proto::host::KILL_GRACE;
use harp_service::signals;
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::command_line::serve::OutputMode;
use crate::problem::Problem;
use output::Output;

/// How much of what a command says on standard error is kept for its exception, in bytes.
const TAIL: usize = 8 * 1024;

/// How long what a command has started may hold its output after its own end.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// A command, ready to be run for each job.
#[derive(Debug)]
pub(crate) struct Program {
    file: PathBuf,
    words: Vec<OsString>,
    mode: OutputMode,
    service: String,
}

/// The command as it runs for one job. Dropping it kills what is left of its process group.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Group,
    stdout: Option<ChildStdout>,
    output: Output,
    /// What it says on standard error: passed on, and the end of it kept.
    stderr: JoinHandle<Vec<u8>>,
}

/// The processes of one job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group(Pid);

impl Program {
    /// Finds the command, as a shell would.
    ///
    /// # Errors
    ///
    /// If there is none of this name that may be run.
    pub(crate) fn find(
        words: &[OsString],
        mode: OutputMode,
        service: &str,
    ) -> Result<Program, Problem> {
        let (name, words) = words
            .split_first()
            .ok_or_else(|| Problem::usage("COMMAND is missing: harp serve SERVICE -- COMMAND"))?;
        let Some(file) = found(name) else {
            return Err(Problem::usage(format!(
                "{}: there is no such command here, or this user may not run it",
                name.display()
            )));
        };
        Ok(Program {
            file,
            words: words.to_vec(),
            mode,
            service: service.to_owned(),
        })
    }

    /// Starts it for a job.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn start(&self, job: &Job) -> io::Result<Running> {
        let mut child = Command::new(&self.file)
            .args(&self.words)
            .env("HARP_JOB", job.id().to_string())
            .env("HARP_SERVICE", &self.service)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Keys on the terminal are for us; and all that it starts can be ended.
            .process_group(0)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| io::Error::other("it ended before it had a number"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut arguments = job.arguments().as_bytes().to_vec();
            arguments.push(b'\n');
            // A command that does not read is free not to.
            tokio::spawn(async move { stdin.write_all(&arguments).await });
        }
        let stderr = child.stderr.take();
        Ok(Running {
            group: Group(pid),
            stdout: child.stdout.take(),
            output: Output::new(self.mode),
            stderr: tokio::spawn(passed_on(stderr)),
            child,
        })
    }
}

fn found(name: &OsStr) -> Option<PathBuf> {
    let may_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| may_run(path));
    }
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).map(|place| place.join(name));
    places.find(|path| may_run(path))
}

impl Running {
    /// Its processes.
    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// Says its packets under the job as they come, until it has ended: what it has come to.
    ///
    /// # Errors
    ///
    /// If a packet cannot be said.
    pub(crate) async fn answer(mut self, job: &mut Job) -> Result<Result<Json, Failure>, Error> {
        let mut stdout = self.stdout.take();
        let mut chunk = vec![0; CHUNK];
        let mut ended: Option<(ExitStatus, Instant)> = None;
        let mut failed = None;
        while let Some(pipe) = &mut stdout {
            let count = tokio::select! {
                biased;
                count = pipe.read(&mut chunk) => count.unwrap_or(0),
                status = self.child.wait(), if ended.is_none() => {
                    ended = status.ok().map(|status| (status, Instant::now() + LINGER));
                    continue;
                }
                () = over(ended) => {
                    // What it has left behind holds the pipe.
                    self.group.send(Signal::KILL);
                    let rest = timeout(LINGER, pipe.read(&mut chunk));
                    rest.await.ok().and_then(Result::ok).unwrap_or(0)
                }
            };
            if count == 0 {
                stdout = None;
            }
            let packets = if count == 0 {
                self.output.last_line()
            } else {
                self.output.feed(&chunk[..count])
            };
            match packets {
                Ok(packets) => job.packets(packets).await?,
                Err(failure) => {
                    failed = Some(failure);
                    tokio::select! {
                        status = self.child.wait() => {
                            ended = status.ok().map(|status| (status, Instant::now()));
                        }
                        () = self.group.end() => {}
                    }
                    stdout = None;
                }
            }
        }
        let status = match ended {
            Some((status, _)) => Ok(status),
            None => self.child.wait().await,
        };
        // What it has started and left goes with it.
        self.group.send(Signal::KILL);
        let said = timeout(LINGER, &mut self.stderr).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let output = std::mem::replace(&mut self.output, Output::new(OutputMode::Text));
        Ok(match (failed, status) {
            (Some(failure), _) => Err(failure),
            (None, Ok(status)) if status.success() => output.result(),
            (None, Ok(status)) => Err(output
                .exception()
                .unwrap_or_else(|| exit_failure(status, &said))),
            (None, Err(error)) => Err(Failure::new(
                "system_error",
                format!("what became of the command cannot be told: {error}"),
            )),
        })
    }
}

async fn over(ended: Option<(ExitStatus, Instant)>) {
    match ended {
        Some((_, until)) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.send(Signal::KILL);
        self.stderr.abort();
    }
}

impl Group {
    /// Ends it: SIGTERM, and 5 s later SIGKILL.
    pub(crate) async fn end(self) {
        self.send(Signal::TERM);
        let until = Instant::now() + KILL_GRACE;
        let is_there = || rustix::process::test_kill_process_group(self.0).is_ok();
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout_at(until, gone).await.is_err() {
            self.send(Signal::KILL);
        }
    }

    fn send(self, signal: Signal) {
        // It may have ended.
        let _ = kill_process_group(self.0, signal);
    }
}

/// Passes on what a command says, and returns the end of it.
async fn passed_on(said: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut tail = Vec::new();
    let Some(mut said) = said else {
        return tail;
    };
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = said.read(&mut chunk).await {
        // There is no other place to complain at.
        let _ = io::stderr().write_all(&chunk[..count]);
        tail.extend_from_slice(&chunk[..count]);
        if tail.len() > TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
    tail
}

/// The exception for an exit with a code other than 0, or by a signal; the last line that the
/// command has said is its message.
fn exit_failure(status: ExitStatus, said: &[u8]) -> Failure {
    let stderr = String::from_utf8_lossy(said);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    let (error_type, plain, data) = match (status.code(), status.signal()) {
        (None, Some(number)) => {
            let signal = signals::name(number);
            let plain = format!("the command was ended by {signal}");
            (
                "signal",
                plain,
                json!({ "signal": signal, "stderr": stderr }),
            )
        }
        (code, _) => {
            let code = code.unwrap_or_default();
            let plain = format!("the command exited with code {code}");
            (
                "exit_status",
                plain,
                json!({ "exit_code": code, "stderr": stderr }),
            )
        }
    };
    let message = last.map_or(plain, |line| line.trim().to_owned());
    Failure::new(error_type, message).with_data(&data)
}
