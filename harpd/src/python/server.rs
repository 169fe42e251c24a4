//! The interpreter that has imported the module and forks for each call: how it is
//! started, and what is said to it.
//!
//! Its standard output is a Unix socket to harpd, over which `start.py` says what it has
//! found and is asked for calls, as told there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_exec::{Program, Stream};
use harp_proto::LineBuffer;
use harp_service::signals;
use harp_time::Limit;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tracing::Level;

use super::{ImportError, PythonSettings};
use crate::exit::Exit;
use crate::line_log::LineLog;
use crate::program::{CannotStart, find_program};
use crate::reaper::Reaper;
use crate::session::Session;

/// What the interpreter is given, one text: each part uses those before it.
const SHIM: &str = concat!(
    include_str!("python2.py"),
    include_str!("shim.py"),
    include_str!("procedures.py"),
    include_str!("privileges.py"),
    include_str!("call.py"),
    include_str!("serving.py"),
    include_str!("start.py"),
);
/// How long the start of an interpreter with the import of the module may take.
const IMPORT_TIME: Duration = Duration::from_secs(10);
/// Greatest length of a line from the interpreter, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Between the end of its socket and a SIGTERM.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// A fork server that runs. Dropped, it is killed; calls that it has forked live on.
#[derive(Debug)]
pub(super) struct Server {
    session: Session,
    control: UnixStream,
    lines: LineBuffer,
    /// What goes in at its start and what comes out on standard error. Ends with this value.
    pipes: JoinHandle<()>,
}

/// One procedure, as the module describes it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) stream: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) description: Option<String>,
    pub(super) arguments_schema: serde_json::Value,
}

/// A module as it was imported.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) procedures: Vec<Listed>,
    /// What will not work when it is called.
    pub(super) warnings: Vec<String>,
}

/// The first line.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hello {
    Imported(RawImported),
    Error(String),
}

#[derive(Deserialize)]
struct RawImported {
    procedures: Vec<RawListed>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct RawListed {
    name: String,
    stream: bool,
    timeout: Option<f64>,
    description: Option<String>,
    arguments_schema: serde_json::Value,
}

/// The answer to a request for a call.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Forked {
    Pid(i32),
    Error(String),
}

impl Server {
    /// Starts an interpreter and waits until it has imported the module, 10 s at most.
    pub(super) async fn start(
        settings: &PythonSettings,
        reaper: &Reaper,
    ) -> Result<(Server, Imported), ImportError> {
        let failed = |why: String| ImportError {
            module: settings.module.clone(),
            why,
        };
        let mut server = Server::spawn(settings, reaper)
            .await
            .map_err(|error| failed(format!("cannot start Python: {error:#}")))?;
        let hello = Limit::after(IMPORT_TIME).keep(server.read::<Hello>()).await;
        let why = match hello {
            Some(Ok(Some(Hello::Imported(imported)))) => {
                let procedures = imported.procedures.into_iter().map(Listed::from);
                let imported = Imported {
                    procedures: procedures.collect(),
                    warnings: imported.warnings,
                };
                return Ok((server, imported));
            }
            Some(Ok(Some(Hello::Error(why)))) => format!("cannot be imported: {why}"),
            Some(Ok(None)) => format!(
                "the interpreter {} ended before it had imported it; is it Python 3.8 or later?",
                settings.interpreter
            ),
            Some(Err(error)) => format!("cannot talk to the interpreter: {error}"),
            None => format!("its import took longer than {} s", IMPORT_TIME.as_secs()),
        };
        server.session.end(Duration::ZERO).await;
        Err(failed(why))
    }

    async fn spawn(settings: &PythonSettings, reaper: &Reaper) -> anyhow::Result<Server> {
        let interpreter = find_program(&settings.interpreter, &settings.path)?;
        let account = settings.account.clone()?;
        for file in [&interpreter, &settings.module] {
            let checked = settings.care.check(file, &account);
            checked.map_err(CannotStart::from)?;
        }
        let (control, its_control) = std::os::unix::net::UnixStream::pair()?;
        let mut environment = BTreeMap::from([("PATH", settings.path.as_str())]);
        let configured = settings.environment.iter();
        environment.extend(configured.map(|(name, value)| (name.as_str(), value.as_str())));
        // The interpreter would set LC_CTYPE for everything that procedures start.
        environment.insert("PYTHONCOERCECLOCALE", "0");
        // The shim comes on standard input.
        let words = [&settings.interpreter, "-X", "utf8", "-"].map(OsString::from);
        let program = Program {
            file: interpreter,
            words: words
                .into_iter()
                .chain([settings.module.clone().into()])
                .collect(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            directory: settings.directory.clone(),
            ids: account,
            // Its calls give them up; until then one may have to become another user.
            keeps_capabilities: true,
            limits: settings.limits.clone(),
            stdin: Stream::Pipe,
            stdout: Stream::Given(Arc::new(its_control.into())),
            // Calls that it has forked are none of its own.
            keeps_orphans: false,
        };
        // With the program goes this side's copy of the other end of the socket.
        let mut started = reaper.spawn(Arc::new(program)).await?;
        let absent = || io::Error::other("a standard stream is not a pipe");
        let stdin: OwnedFd = started.child.stdin.take().ok_or_else(absent)?.into();
        let stderr: OwnedFd = started.child.stderr.take().ok_or_else(absent)?.into();
        let stdin = pipe::Sender::from_owned_fd(stdin)?;
        let stderr = pipe::Receiver::from_owned_fd(stderr)?;
        control.set_nonblocking(true)?;
        let source = settings.module.display().to_string();
        let server = Server {
            session: Session::below(started.keeper, reaper.clone()),
            control: UnixStream::from_std(control)?,
            lines: LineBuffer::new(MAX_LINE),
            pipes: tokio::spawn(async move {
                // An interpreter that does not read on is noticed by whoever waits for its
                // word.
                tokio::join!(write_shim(stdin), log(stderr, source));
            }),
        };
        Ok(server)
    }

    /// Asks for a call's process and returns the number of its keeper when, as the
    /// interpreter says, that leads a session of its own and is a child of harpd. Not cancel safe: the answer would be taken for that
    /// to the next question.
    ///
    /// # Errors
    ///
    /// The inner one if the interpreter cannot fork; the outer one if it cannot be
    /// talked to any more.
    pub(super) async fn fork(&mut self, pipes: &[OwnedFd; 4]) -> io::Result<Result<Pid, String>> {
        let pipes = pipes.each_ref().map(AsFd::as_fd);
        self.control
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&pipes));
                let byte = [IoSlice::new(b"c")];
                let sent = sendmsg(&self.control, &byte, &mut ancillary, SendFlags::NOSIGNAL);
                Ok(sent?)
            })
            .await?;
        let answer = self.read::<Forked>().await?;
        match answer.ok_or(io::ErrorKind::UnexpectedEof)? {
            // 1 is the system's first process, and others stand for several.
            Forked::Pid(number) => match Some(number).filter(|number| *number > 1) {
                Some(number) => Ok(Ok(Pid::from_raw(number).ok_or(io::ErrorKind::InvalidData)?)),
                None => Err(io::Error::other(format!("{number} is no call's keeper"))),
            },
            Forked::Error(why) => Ok(Err(why)),
        }
    }

    /// Waits until the interpreter has ended. Cancel safe.
    pub(super) async fn ended(&mut self) -> String {
        match self.session.leader_exit().await {
            Exit::Code(code) => format!("code {code}"),
            Exit::Signal(number) => signals::name(number),
        }
    }

    /// Lets the interpreter end by itself, or makes it.
    pub(super) async fn leave(mut self) {
        // The end of the socket is the sign.
        let _ = self.control.shutdown().await;
        let mut limit = Limit::after(LEAVE_TIME);
        if limit.keep(self.ended()).await.is_none() {
            tracing::warn!("a Python interpreter does not end by itself and is ended");
        }
        self.session.end(LEAVE_TIME).await;
    }

    /// Kills it, since it is not what it should be.
    pub(super) async fn kill(mut self) {
        self.session.end(Duration::ZERO).await;
    }

    /// The next line; `None` at the end.
    async fn read<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        let line: Bytes = loop {
            match self.lines.next_line() {
                Ok(Some(line)) => break line,
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
            if self.control.read_buf(self.lines.space(4096)).await? == 0 {
                return Ok(None);
            }
        };
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pipes.abort();
    }
}

impl From<RawListed> for Listed {
    fn from(raw: RawListed) -> Listed {
        Listed {
            name: raw.name,
            stream: raw.stream,
            timeout: raw
                .timeout
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            description: raw.description,
            arguments_schema: raw.arguments_schema,
        }
    }
}

async fn write_shim(mut stdin: pipe::Sender) {
    // What ends early says so itself, or has ended.
    let _ = stdin.write_all(SHIM.as_bytes()).await;
}

/// Output of the module while it is imported, and of what it lets speak later.
async fn log(mut pipe: pipe::Receiver, source: String) {
    let mut log = LineLog::new(&source, Level::INFO);
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        log.push(&chunk[..count]);
    }
}
