//! Procedures of a Python module that was written for `harpd.proc`.
//!
//! An interpreter is started once and imports the module once; each call is a fork of it.
//! [`server`] is that interpreter, the fork server; `supervisor` keeps one running;
//! `shim.py` is what it runs. All that is known of the module here is what it says of
//! itself: names, whether they stream, their time limits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use harp_exec::Limit;
use harp_proto::{Failure, error_type};
use harp_service::Table;
use rustix::fs::{Gid, Uid};
use serde::Serialize;
use tokio::net::unix::pipe;
use tracing::Level;

use crate::account::{Account, NoAccount};
use crate::care::Care;
use crate::launch::Process;
use crate::line_log::LineLog;
use crate::output::OutputMode;
use crate::procedure::{self, Procedure};
use crate::reaper::Reaper;
use crate::runner::{Identity, Invocation, Runner};

mod server;
mod supervisor;

use server::Server;
use supervisor::ForkServer;

/// The table `[python]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSettings {
    /// The module's file, an absolute path.
    pub module: PathBuf,
    /// The interpreter, an absolute path or a name that is looked for in `path`.
    pub interpreter: String,
    /// The directory in which the interpreter, and so each call, starts.
    pub directory: PathBuf,
    /// `PATH` of the interpreter and of its calls.
    pub path: String,
    /// More variables.
    pub environment: BTreeMap<String, String>,
    /// Whom the interpreter runs as, as far as that could be found out.
    pub account: Result<Account, NoAccount>,
    /// Limits of each of its processes.
    pub limits: Vec<Limit>,
    /// Reaction if others could change the module or the interpreter.
    pub care: Care,
    /// How long a call may run whose procedure does not say it, if limited.
    pub timeout: Option<Duration>,
    /// Greatest length of one result or packet, in bytes.
    pub max_output: usize,
}

/// Runs one procedure of a module.
#[derive(Debug)]
pub struct PythonRunner {
    server: Arc<ForkServer>,
    account: Result<Account, NoAccount>,
}

/// Why a module's procedures cannot be called.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Python module {}: {why}", module.display())]
pub struct ImportError {
    module: PathBuf,
    why: String,
}

/// Message that a call's process reads from its standard input.
#[derive(Serialize)]
struct Request<'a> {
    procedure: &'a str,
    user: &'a str,
    peer: String,
}

impl PythonSettings {
    /// Takes the table. What is wrong with it is noted in its settings.
    pub(crate) fn take(table: &Table<'_>, path: &str, care: Care) -> Option<PythonSettings> {
        let user = table.string("user");
        let user = user.as_deref();
        let interpreter = table.string("interpreter");
        let interpreter = interpreter.unwrap_or_else(|| "python3".to_owned());
        if let Err(why) = procedure::check_program(&interpreter) {
            table.problem("interpreter", why);
        }
        let settings = PythonSettings {
            interpreter,
            directory: procedure::directory(table),
            path: procedure::search_path(table).unwrap_or_else(|| path.to_owned()),
            environment: procedure::environment(table, user),
            account: procedure::account(table, user),
            limits: procedure::limits(table),
            care,
            timeout: table.seconds("timeout", 1),
            max_output: procedure::max_output(table),
            module: table.required("module", table.path("module"))?,
        };
        if !settings.module.is_absolute() {
            table.problem("module", "must be an absolute path");
        }
        Some(settings)
    }
}

/// Starts an interpreter, has it import the module, and returns the procedures. The
/// interpreter stays as long as one of them.
///
/// # Errors
///
/// The error of Python, or why it could not be asked.
pub async fn procedures(
    settings: &PythonSettings,
    reaper: &Reaper,
) -> Result<Vec<Procedure>, ImportError> {
    let (server, listed) = Server::start(settings, reaper).await?;
    let server = Arc::new(ForkServer::new(settings.clone(), server, reaper.clone()));
    let procedures = listed.into_iter().map(|listed| Procedure {
        name: listed.name,
        runner: Runner::Python(PythonRunner {
            server: Arc::clone(&server),
            account: settings.account.clone(),
        }),
        output: OutputMode::Module {
            stream: listed.stream,
        },
        max_output: settings.max_output,
        timeout: listed.timeout.or(settings.timeout),
        max_calls: None,
        slots: None,
    });
    Ok(procedures.collect())
}

impl PythonRunner {
    /// Forks the process of a call.
    ///
    /// # Errors
    ///
    /// `system_error` if there is no interpreter now, or it cannot fork;
    /// `procedure_loading_error` if the module cannot be imported any more.
    pub async fn start(
        &self,
        invocation: &Invocation,
        identity: Identity<'_>,
    ) -> Result<Process, Failure> {
        let input = request(invocation, identity).map_err(|error| no_pipes(&error))?;
        let (its_stdin, stdin) = io::pipe().map_err(|error| no_pipes(&error))?;
        let (answer, its_answer) = io::pipe().map_err(|error| no_pipes(&error))?;
        let (printed, its_printed) = io::pipe().map_err(|error| no_pipes(&error))?;
        let (reports, its_reports) = io::pipe().map_err(|error| no_pipes(&error))?;
        let reports = pipe::Receiver::from_owned_fd(reports.into());
        let reports = reports.map_err(|error| no_pipes(&error))?;
        // Whom the interpreter runs as may open what it prints to by name, too.
        if let Ok(Some(ids)) = &self.account {
            let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
            for pipe in [its_stdin.as_fd(), its_printed.as_fd()] {
                // Of no matter for a harpd that may not do it.
                let _ = rustix::fs::fchown(pipe, Some(uid), Some(gid));
            }
        }
        let pipes = [
            its_stdin.into(),
            its_answer.into(),
            its_printed.into(),
            its_reports.into(),
        ];
        let session = self.server.fork(pipes, reports).await?;
        let ends = || {
            io::Result::Ok((
                pipe::Sender::from_owned_fd(stdin.into())?,
                pipe::Receiver::from_owned_fd(answer.into())?,
                pipe::Receiver::from_owned_fd(printed.into())?,
            ))
        };
        let (stdin, stdout, stderr) = ends().map_err(|error| no_pipes(&error))?;
        Ok(Process {
            session,
            stdin: Some((stdin, input)),
            stdout,
            stderr,
            stderr_log: Some(LineLog::new(identity.procedure, Level::DEBUG)),
            reply: None,
        })
    }
}

/// One JSON object: who calls what, and the arguments as they came.
fn request(invocation: &Invocation, identity: Identity<'_>) -> serde_json::Result<Bytes> {
    let head = serde_json::to_vec(&Request {
        procedure: identity.procedure,
        user: identity.user,
        peer: identity.peer.to_string(),
    })?;
    let mut line = BytesMut::with_capacity(head.len() + invocation.input.len() + 16);
    line.put_slice(&head[..head.len() - 1]);
    line.put_slice(b",\"arguments\":");
    line.put_slice(&invocation.input);
    line.put_slice(b"}");
    Ok(line.freeze())
}

fn no_pipes(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        error_type::SYSTEM_ERROR,
        format!("cannot talk to a process of the module: {error}"),
    )
}
