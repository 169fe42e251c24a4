//! Agents written for Choria, each action of one a procedure (Choria external agents).
//!
//! An agent is a program and a description of it in JSON, its DDL. [`scan`] finds them,
//! [`ddl`] reads a description, [`validation`] holds a call's arguments against it,
//! [`agent`] runs the program by way of the files of a [`workdir`], and [`reply`] says
//! what the reply means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harp_exec::Limit;
use harp_service::Table;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::info;

use crate::account::{Account, NoAccount};
use crate::care::Care;
use crate::description::Description;
use crate::output::OutputMode;
use crate::procedure::{self, Procedure};
use crate::reaper::Reaper;
use crate::runner::Runner;

pub mod agent;
pub mod ddl;
mod pattern;
pub mod reply;
pub mod scan;
mod schema;
pub mod validation;
pub mod workdir;

use agent::{Agent, AgentRunner};
use workdir::Workdir;

/// Activation checks that run at once: each has 2 s, and one that starts an interpreter
/// keeps a core busy.
const CHECKS_AT_ONCE: usize = 4;

/// The table `[choria]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoriaSettings {
    /// Directory of the agents, an absolute path.
    pub agents: PathBuf,
    /// The directory whose `plugin.d` has their configuration files, an absolute path.
    pub config_dir: PathBuf,
    /// A JSON file of facts about this host.
    pub facts: Option<PathBuf>,
    /// Name of the collective that agents are told.
    pub collective: String,
    /// `PATH` of the agents.
    pub path: String,
    /// Whom they run as, as far as that could be found out.
    pub account: Result<Account, NoAccount>,
    /// Limits of each of their processes.
    pub limits: Vec<Limit>,
    /// What to do if others could change an agent.
    pub care: Care,
    /// Greatest length of a reply's data, in bytes.
    pub max_output: usize,
}

impl ChoriaSettings {
    /// Takes the table. What is wrong with it is noted in its settings.
    pub(crate) fn take(table: &Table<'_>, path: &str, care: Care) -> Option<ChoriaSettings> {
        let config_dir = table.path("config_dir");
        let settings = ChoriaSettings {
            config_dir: config_dir.unwrap_or_else(|| "/etc/choria".into()),
            facts: table.path("facts"),
            collective: table
                .string("collective")
                .unwrap_or_else(|| "mcollective".to_owned()),
            path: procedure::search_path(table).unwrap_or_else(|| path.to_owned()),
            account: procedure::account(table, table.string("user").as_deref()),
            limits: procedure::limits(table),
            care,
            max_output: procedure::max_output(table),
            agents: table.required("agents", table.path("agents"))?,
        };
        for (key, path) in [
            ("agents", Some(&settings.agents)),
            ("config_dir", Some(&settings.config_dir)),
            ("facts", settings.facts.as_ref()),
        ] {
            if path.is_some_and(|path| !path.is_absolute()) {
                table.problem(key, "must be an absolute path");
            }
        }
        Some(settings)
    }
}

/// Result of the search for agents.
#[derive(Debug, Default)]
pub struct Activated {
    /// The actions of those that are active.
    pub procedures: Vec<Procedure>,
    /// Why others are not, though it is not their will.
    pub problems: Vec<String>,
    /// Oddities of the active ones.
    pub warnings: Vec<String>,
}

/// Finds the agents and asks each whether it wants to be active, some at a time.
pub async fn procedures(
    settings: &ChoriaSettings,
    reaper: &Reaper,
    kill_grace: Duration,
) -> Activated {
    let settings = Arc::new(settings.clone());
    let mut activated = Activated::default();
    let prepared = {
        let settings = Arc::clone(&settings);
        tokio::task::spawn_blocking(move || {
            Workdir::make(&settings).map(|workdir| (scan::scan(&settings.agents), workdir))
        })
    };
    let (scan, workdir) = match prepared.await.map_err(std::io::Error::from).flatten() {
        Ok(prepared) => prepared,
        Err(error) => {
            let problem = format!("agents: cannot make a directory for their files: {error}");
            activated.problems.push(problem);
            return activated;
        }
    };
    activated.problems = scan.problems;
    activated.warnings = scan.warnings;

    let workdir = Arc::new(workdir);
    let slots = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
    let mut checks = JoinSet::new();
    for scan::Found { name, program, ddl } in scan.agents {
        let agent = Arc::new(Agent {
            name,
            program,
            timeout: ddl.timeout,
            settings: Arc::clone(&settings),
            workdir: Arc::clone(&workdir),
        });
        let (slots, reaper) = (Arc::clone(&slots), reaper.clone());
        checks.spawn(async move {
            let _slot = slots.acquire().await;
            let activation = Agent::activation(&agent, &reaper, kill_grace).await;
            (agent, ddl, activation)
        });
    }
    while let Some(checked) = checks.join_next().await {
        match checked {
            Ok((agent, ddl, Ok(true))) => activated.procedures.extend(actions(&agent, ddl)),
            Ok((agent, _, Ok(false))) => info!(agent = agent.name, "does not want to be active"),
            Ok((agent, _, Err(why))) => {
                let problem = format!("agent {}: not activated: {why}", agent.name);
                activated.problems.push(problem);
            }
            // The panic itself is in the log.
            Err(error) => activated
                .problems
                .push(format!("an activation check: {error}")),
        }
    }
    activated
}

fn actions(agent: &Arc<Agent>, ddl: ddl::Ddl) -> impl Iterator<Item = Procedure> {
    ddl.actions
        .into_iter()
        .map(move |(name, action)| {
            (
                Description::told(action.description.clone(), &action.schema()),
                name,
                action,
            )
        })
        .map(move |(description, name, action)| Procedure {
            name: format!("{}.{name}", agent.name),
            runner: Runner::Agent(AgentRunner {
                agent: Arc::clone(agent),
                name,
                action: Arc::new(action),
            })
            .into(),
            description,
            // Of the reply; what the agent prints goes to the log.
            output: OutputMode::Json,
            max_output: agent.settings.max_output,
            timeout: Some(Duration::from_secs(ddl.timeout)),
            max_calls: None,
            slots: None,
        })
}
