//! Procedures of a Python module that was written for `harpd.proc`.
//!
//! An interpreter is started once and imports the module once; each call is a fork of it.
//! `server` is that interpreter, the fork server; `supervisor` keeps one running; [`runner`]
//! has it fork;
//! the Python files beside it are what it runs. All that is known of the module here is what it says of
//! itself: names, whether they stream, their time limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harp_exec::Limit;
use harp_service::Table;

use crate::account::{Account, NoAccount};
use crate::care::Care;
use crate::description::Description;
use crate::output::OutputMode;
use crate::procedure::{self, Procedure};
use crate::reaper::Reaper;
use crate::runner::Runner;

pub mod runner;
mod server;
mod supervisor;

use runner::PythonRunner;
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

/// Why a module's procedures cannot be called.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Python module {}: {why}", module.display())]
pub struct ImportError {
    module: PathBuf,
    why: String,
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

/// What a module gives.
#[derive(Debug)]
pub struct Imported {
    /// Its procedures.
    pub procedures: Vec<Procedure>,
    /// What in it will not work when it is called; one thing a line, with the module's name.
    pub warnings: Vec<String>,
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
) -> Result<Imported, ImportError> {
    let (server, imported) = Server::start(settings, reaper).await?;
    let server = Arc::new(ForkServer::new(settings.clone(), server, reaper.clone()));
    let procedures = imported.procedures.into_iter().map(|listed| Procedure {
        name: listed.name,
        description: Description::told(listed.description, &listed.arguments_schema),
        runner: Runner::Python(PythonRunner::new(
            Arc::clone(&server),
            settings.account.clone(),
        ))
        .into(),
        output: OutputMode::Module {
            stream: listed.stream,
        },
        max_output: settings.max_output,
        timeout: listed.timeout.or(settings.timeout),
        max_calls: None,
        slots: None,
    });
    let module = settings.module.display();
    let warnings = imported.warnings.iter();
    Ok(Imported {
        procedures: procedures.collect(),
        warnings: warnings
            .map(|warning| format!("Python module {module}: {warning}"))
            .collect(),
    })
}
