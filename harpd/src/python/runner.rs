//! Running one procedure of the module: a call's pipes and what is written to its process.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use harp_proto::{Failure, error_type};
use rustix::fs::{Gid, Uid};
use serde::Serialize;
use tokio::net::unix::pipe;
use tracing::Level;

use super::supervisor::ForkServer;
use crate::account::{Account, NoAccount};
use crate::invocation::{Identity, Invocation};
use crate::launch::Process;
use crate::line_log::LineLog;
use crate::stash::Stash;

/// Runs one procedure of a module.
#[derive(Debug)]
pub struct PythonRunner {
    server: Arc<ForkServer>,
    account: Result<Account, NoAccount>,
}

/// Message that a call's process reads from its standard input.
#[derive(Serialize)]
struct Request<'a> {
    procedure: &'a str,
    user: &'a str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl PythonRunner {
    pub(super) fn new(
        server: Arc<ForkServer>,
        account: Result<Account, NoAccount>,
    ) -> PythonRunner {
        PythonRunner { server, account }
    }

    /// Forks the process of a call.
    ///
    /// # Errors
    ///
    /// `system_error` if there is no interpreter now, or it cannot fork;
    /// `procedure_loading_error` if the module cannot be imported any more.
    pub async fn start(
        &self,
        invocation: Invocation,
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

/// One JSON object: user, procedure and peer, what is known of the call's origin, and the
/// arguments as they came.
fn request(invocation: Invocation, identity: Identity<'_>) -> io::Result<Stash> {
    let head = serde_json::to_vec(&Request {
        procedure: identity.procedure,
        user: identity.user,
        peer: identity.peer.to_string(),
        job: identity.origin.job.map(|job| job.to_string()),
        traceparent: identity.origin.traceparent.map(|place| place.to_string()),
    })?;
    let mut line = Stash::default();
    line.push(&head[..head.len() - 1])?;
    line.push(b",\"arguments\":")?;
    line.append(invocation.input)?;
    line.push(b"}")?;
    Ok(line)
}

fn no_pipes(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        error_type::SYSTEM_ERROR,
        format!("cannot talk to a process of the module: {error}"),
    )
}
