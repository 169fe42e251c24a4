//! Agents written for Choria, each action of one a procedure (Choria external agents).
//!
//! An agent is a program and a description of it in JSON, its DDL. [`ddl`] reads the
//! description, [`validation`] holds a call's arguments against it, [`invocation`] says
//! how the program is started, and [`reply`] what its reply means.

use std::path::PathBuf;

pub mod ddl;
pub mod reply;
pub mod scan;
pub mod validation;
pub mod workdir;

/// The table `[choria]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoriaSettings {
    /// Where the agents are.
    pub agents: PathBuf,
    /// The directory whose `plugin.d` has their configuration files.
    pub config_dir: PathBuf,
    /// A JSON file of facts about this host.
    pub facts: Option<PathBuf>,
    /// What agents are told of the collective they serve.
    pub collective: String,
    /// `PATH` of the agents.
    pub path: String,
    /// Greatest length of a reply's data, in bytes.
    pub max_output: usize,
}
