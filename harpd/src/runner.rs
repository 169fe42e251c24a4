//! Runners of procedures: the ways in which the process of a call comes to be. Whatever
//! the way, it ends in a [`Process`], so limits, output and cancelling know none of them.

use std::path::PathBuf;

use harp_proto::{Failure, Json, error_type};

use crate::choria::agent::AgentRunner;
use crate::command::CommandRunner;
use crate::invocation::{Identity, Invocation};
use crate::launch::Process;
use crate::program::CannotStart;
use crate::python::runner::PythonRunner;
use crate::reaper::Reaper;

/// One way to run a procedure.
#[derive(Debug)]
pub enum Runner {
    /// A program for each call.
    Command(CommandRunner),
    /// A fork, for each call, of an interpreter that has imported a module.
    Python(PythonRunner),
    /// The program of an agent for each call.
    Agent(AgentRunner),
    /// None: harpd has the answer.
    Harpd,
}

impl Runner {
    /// How arguments reach the process, for `harpd list`.
    #[must_use]
    pub fn arguments(&self) -> &'static str {
        match self {
            Runner::Command(command) => command.arguments.name(),
            Runner::Python(_) => "python",
            Runner::Agent(_) => "choria",
            Runner::Harpd => "none",
        }
    }

    /// Looks whether the procedure could be started now, and finds its program; an empty path
    /// for a function. Quick enough for every call, but blocks as long as a file system does.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self) -> Result<PathBuf, CannotStart> {
        match self {
            Runner::Command(command) => command.check(),
            // Its state changes by itself.
            Runner::Python(_) | Runner::Harpd => Ok(PathBuf::new()),
            Runner::Agent(agent) => agent.check(),
        }
    }

    /// Looks for more that would hinder a start, with more effort and less certainty: for
    /// the operator, never to refuse a call.
    ///
    /// # Errors
    ///
    /// Why a start is likely to fail.
    pub fn check_thoroughly(&self) -> Result<(), CannotStart> {
        match self {
            Runner::Command(command) => command.check_thoroughly(),
            Runner::Python(_) | Runner::Harpd => Ok(()),
            Runner::Agent(agent) => agent.check().map(drop),
        }
    }

    /// Makes of a call's arguments what the process will get.
    ///
    /// # Errors
    ///
    /// `invalid_argument_list` if they do not fit.
    pub fn prepare(&self, arguments: &Json) -> Result<Invocation, Failure> {
        match self {
            Runner::Command(command) => command.prepare(arguments),
            // Whether they fit is known where the function is.
            Runner::Python(_) => Invocation::of_input(&[arguments.as_bytes()]),
            Runner::Agent(agent) => agent.prepare(arguments),
            Runner::Harpd => Invocation::of_input(&[]),
        }
    }

    /// True if the process of a call does nothing before it is given the request, which is
    /// after its start: a start that is dropped then leaves nothing that acts.
    #[must_use]
    pub fn can_be_left_starting(&self) -> bool {
        matches!(self, Runner::Python(_))
    }

    /// Starts the process of a call, by the program that [`Runner::check`] has found just now. Dropped before it is through, nothing is left of it.
    ///
    /// # Errors
    ///
    /// `procedure_loading_error`, `system_error` or `invalid_argument_list`, with the
    /// cause.
    pub async fn start(
        &self,
        program: PathBuf,
        invocation: Invocation,
        identity: Identity<'_>,
        reaper: &Reaper,
    ) -> Result<Process, Failure> {
        match self {
            Runner::Command(command) => command.start(program, invocation, identity, reaper).await,
            Runner::Python(python) => python.start(invocation, identity).await,
            Runner::Agent(agent) => agent.start(invocation, identity, reaper).await,
            Runner::Harpd => Err(Failure::new(
                error_type::SYSTEM_ERROR,
                "harpd answers this procedure itself",
            )),
        }
    }
}
