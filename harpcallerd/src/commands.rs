//! The commands, one file each. Those of a running daemon send one request to its
//! administrative socket and print what it replies.

pub(crate) mod check_config;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub(crate) mod completions;
mod control;
pub(crate) mod erlang;
pub(crate) mod export;
pub(crate) mod hosts;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod nodes;
mod printing;
pub(crate) mod prune;
pub(crate) mod queue;
pub(crate) mod reload;
pub(crate) mod resume;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod trial;

use std::process::ExitCode;

/// Result of a command; an error is printed to standard error, for exit status 1.
type Done = anyhow::Result<ExitCode>;
