//! A procedure: what is run for it, what its output means, and its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harp_exec::Limit;
use harp_service::Table;

use crate::account::{self, Account, NoAccount};
use crate::arguments::ArgumentMode;
use crate::care::Care;
use crate::checked::Checked;
use crate::command::CommandRunner;
use crate::description::{DESCRIBE, Description};
use crate::output::OutputMode;
use crate::procedures_dir::{self, Found, PassedOver};
use crate::runner::Runner;
use crate::slots::Slots;

/// `max_output` unless configured, in bytes.
const DEFAULT_MAX_OUTPUT: usize = 16 << 20;

/// All procedures, by name.
pub type Procedures = BTreeMap<String, Arc<Procedure>>;

/// One procedure. What runs it and what becomes of its output know nothing of each
/// other.
#[derive(Debug)]
pub struct Procedure {
    /// Its name on the wire.
    pub name: String,
    /// Runner that starts it.
    pub runner: Checked,
    /// What is said of it.
    pub description: Description,
    /// How its output becomes the answer.
    pub output: OutputMode,
    /// Greatest length of one result or packet, in bytes.
    pub max_output: usize,
    /// How long one call may run, if limited.
    pub timeout: Option<Duration>,
    /// How many of its calls may run at once, if limited.
    pub max_calls: Option<usize>,
    /// The slots of `max_calls`.
    pub slots: Option<Arc<Slots>>,
}

impl Procedure {
    /// A procedure of a file in `procedures_dir`: everything as by default.
    fn of_file(name: &str, file: PathBuf, path: &str, care: Care) -> Procedure {
        Procedure {
            name: name.to_owned(),
            description: Description::default(),
            runner: Runner::Command(CommandRunner {
                command: vec![file.to_string_lossy().into_owned()],
                arguments: ArgumentMode::Stdin,
                directory: PathBuf::from("/"),
                path: path.to_owned(),
                environment: BTreeMap::new(),
                account: Ok(None),
                limits: Vec::new(),
                care,
            })
            .into(),
            output: OutputMode::Json,
            max_output: DEFAULT_MAX_OUTPUT,
            timeout: None,
            max_calls: None,
            slots: None,
        }
    }

    /// One that harpd answers itself.
    #[must_use]
    pub fn of_harpd(name: &str) -> Procedure {
        Procedure {
            name: name.to_owned(),
            description: Description::default(),
            runner: Runner::Harpd.into(),
            output: OutputMode::Json,
            max_output: DEFAULT_MAX_OUTPUT,
            timeout: None,
            max_calls: None,
            slots: None,
        }
    }

    /// Takes a table `[procedure.NAME]`. What is wrong with it is noted in its settings.
    fn take(name: &str, table: &Table<'_>, path: &str, care: Care) -> Option<Procedure> {
        if name.is_empty() || name.contains('\0') {
            table.problem(
                "command",
                "the procedure's name is empty or has a zero byte",
            );
        }
        if name == DESCRIBE {
            table.problem("command", "the procedure's name is harpd's own");
        }
        let user = table.string("user");
        let user = user.as_deref();
        let max_calls = table.integer("max_calls", 1..=1_000_000);
        let max_calls = max_calls.and_then(|count| usize::try_from(count).ok());
        let procedure = Procedure {
            name: name.to_owned(),
            description: Description::take(table),
            output: output(table),
            max_output: max_output(table),
            timeout: table.seconds("timeout", 1),
            slots: max_calls.map(Slots::new),
            max_calls,
            runner: Runner::Command(CommandRunner {
                arguments: match table.one_of("arguments", &["stdin", "argv"]).as_deref() {
                    Some("argv") => ArgumentMode::Argv,
                    _ => ArgumentMode::Stdin,
                },
                directory: directory(table),
                path: search_path(table).unwrap_or_else(|| path.to_owned()),
                environment: environment(table, user),
                account: account(table, user),
                limits: limits(table),
                care,
                command: command(table)?,
            })
            .into(),
        };
        Some(procedure)
    }
}

/// Takes `procedures_dir` and every `[procedure.NAME]` out of the configuration, and says
/// what lies in that directory and is no procedure. What is wrong is noted in the settings.
#[must_use]
pub fn take_all(root: &Table<'_>, path: &str, care: Care) -> (Procedures, Vec<PassedOver>) {
    let mut found = Found::default();
    if let Some(directory) = root.path("procedures_dir") {
        match procedures_dir::read(&directory) {
            Ok(read) => found = read,
            Err(error) => root.problem(
                "procedures_dir",
                format!("cannot read {}: {error}", directory.display()),
            ),
        }
    }
    let programs = found.programs.into_iter();
    let mut procedures: Procedures = programs
        .map(|(name, file)| {
            let procedure = Procedure::of_file(&name, file, path, care);
            (name, Arc::new(procedure))
        })
        .collect();
    for (name, table) in root.tables("procedure") {
        if procedures.contains_key(&name) {
            table.warning("command", "is used instead of the file in procedures_dir");
        }
        if let Some(procedure) = Procedure::take(&name, &table, path, care) {
            procedures.insert(name, Arc::new(procedure));
        }
    }
    (procedures, found.passed_over)
}

fn command(table: &Table<'_>) -> Option<Vec<String>> {
    let command = table.required("command", table.strings("command"))?;
    let mut checked = check_program(command.first().map_or("", String::as_str));
    if checked.is_ok() && command.iter().any(|word| word.contains('\0')) {
        checked = Err("there is a zero byte in it");
    }
    match checked {
        Ok(()) => Some(command),
        Err(problem) => {
            table.problem("command", problem);
            None
        }
    }
}

/// Says what is wrong with the name of a program in the configuration.
pub(crate) fn check_program(program: &str) -> Result<(), &'static str> {
    if program.is_empty() {
        Err("must name a program")
    } else if program.contains('/') && !program.starts_with('/') {
        Err("the program must be an absolute path, or a name that is looked for in path")
    } else {
        Ok(())
    }
}

fn output(table: &Table<'_>) -> OutputMode {
    let stream = table.boolean("stream");
    let modes = ["json", "text", "lines", "json-lines", "harp"];
    let mode = match table.one_of("output", &modes).as_deref() {
        Some("text") => OutputMode::Text,
        Some("lines") => OutputMode::Lines,
        Some("json-lines") => OutputMode::JsonLines,
        Some("harp") => OutputMode::Harp {
            stream: stream.unwrap_or(false),
        },
        _ => OutputMode::Json,
    };
    if stream.is_some_and(|stream| stream != mode.streams()) {
        table.problem(
            "stream",
            "is for output = \"harp\"; the other modes stream or not by themselves",
        );
    }
    mode
}

pub(crate) fn max_output(table: &Table<'_>) -> usize {
    table
        .size("max_output")
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(DEFAULT_MAX_OUTPUT)
}

pub(crate) fn directory(table: &Table<'_>) -> PathBuf {
    let directory = table.path("directory").unwrap_or_else(|| "/".into());
    if !directory.is_absolute() {
        table.problem("directory", "must be an absolute path");
    }
    directory
}

/// Whom to run as. That somebody is not known keeps nothing else from running.
pub(crate) fn account(table: &Table<'_>, user: Option<&str>) -> Result<Account, NoAccount> {
    let groups = table.strings("group");
    if groups.as_ref().is_some_and(Vec::is_empty) {
        table.problem("group", "must name at least one group");
    }
    account::look_up(user, groups.as_deref())
}

pub(crate) fn search_path(table: &Table<'_>) -> Option<String> {
    let path = table.string("path")?;
    let is_absolute = std::env::split_paths(&path).all(|directory| directory.is_absolute());
    if !is_absolute || path.contains('\0') {
        table.problem("path", "must be absolute directories with : between them");
        return None;
    }
    Some(path)
}

/// The table `limits`: what each process may use.
pub(crate) fn limits(table: &Table<'_>) -> Vec<Limit> {
    let Some(table) = table.table("limits") else {
        return Vec::new();
    };
    table.guard(&["memory", "cpu", "processes", "open_files"]);
    let cpu = table.seconds("cpu", 1).map(|time| time.as_secs());
    let limits = [
        table.size("memory").map(Limit::memory),
        cpu.map(Limit::cpu),
        table
            .integer("processes", 1..=1 << 22)
            .map(Limit::processes),
        // Fewer would not do for what starts a program.
        table
            .integer("open_files", 8..=1 << 20)
            .map(Limit::open_files),
    ];
    limits.into_iter().flatten().collect()
}

/// Variables beside `PATH`: those of a login where there is a `user`, and over them what is
/// configured.
pub(crate) fn environment(table: &Table<'_>, user: Option<&str>) -> BTreeMap<String, String> {
    let mut login = user.map_or_else(BTreeMap::new, account::login);
    let environment = table.string_map("environment").unwrap_or_default();
    for (name, value) in &environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            table.problem(
                "environment",
                format!("{name:?} or its value cannot stand in an environment"),
            );
        }
    }
    login.extend(environment);
    login
}
