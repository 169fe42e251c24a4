//! The configuration file as a checked struct (harpd, "Configuration").

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_proto::HOST_PORT;
use harp_service::logging::LogSettings;
use harp_service::{ListenAddress, Settings, SettingsError, Table, Warning};

use crate::care::Care;
use crate::choria::ChoriaSettings;
use crate::command::DEFAULT_PATH;
use crate::kept::settings::KeepSettings;
use crate::original::{self, ConfigError};
use crate::permissions::Permissions;
use crate::procedure::{self, Procedures};
use crate::procedures_dir::PassedOver;
use crate::python::PythonSettings;

/// Everything that the file says.
#[derive(Debug)]
pub struct Config {
    /// Addresses to listen at, at least one.
    pub listen: Vec<ListenAddress>,
    /// The certificate, leaf first, and its chain.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub private_key: PathBuf,
    /// The users who may call.
    pub users_file: PathBuf,
    /// Calls that run at once.
    pub max_calls: usize,
    /// Between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// Procedures, without those of the module and of agents.
    pub procedures: Procedures,
    /// Files in `procedures_dir` that are no procedures.
    pub passed_over: Vec<PassedOver>,
    /// The Python module.
    pub python: Option<PythonSettings>,
    /// Agents of Choria.
    pub choria: Option<ChoriaSettings>,
    /// Authorities that callers must have a certificate of, if any.
    pub client_ca_file: Option<PathBuf>,
    /// How long a caller may take nothing of what is to be sent to it.
    pub stall_timeout: Duration,
    /// Calls that outlive their connections.
    pub keep: KeepSettings,
    /// Procedures that users may call.
    pub permissions: Permissions,
    /// Reaction to files that others could change.
    pub care: Care,
    /// The log.
    pub log: LogSettings,
}

impl Config {
    /// Reads the file and, for `procedures_dir`, the directory it names.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file.
    pub fn read(path: &Path) -> Result<(Config, Vec<Warning>), ConfigError> {
        let settings = Settings::read(path);
        let read = settings.and_then(|settings| Config::take(&settings));
        read.map_err(|error| original::explained(path, error))
    }

    /// Every key that a file may have, those of a table only if `sample` has the table:
    /// what the manual has to describe.
    ///
    /// # Errors
    ///
    /// If the sample is not TOML.
    pub fn keys(sample: &str) -> Result<BTreeSet<String>, SettingsError> {
        let settings = Settings::parse(sample, "sample")?;
        // What is wrong with the sample is of no matter here.
        let _ = Config::take(&settings);
        Ok(settings.known_keys().into_values().flatten().collect())
    }

    fn take(settings: &Settings) -> Result<(Config, Vec<Warning>), SettingsError> {
        let root = settings.table();
        // Which users may come in, what they may run and as whom.
        root.guard(&[
            "listen",
            "certificate",
            "private_key",
            "users_file",
            "client_ca_file",
            "stall_timeout",
            "python",
            "choria",
        ]);
        root.guard_also(
            "user",
            &[
                "access",
                "acl",
                "allow",
                "authorization",
                "deny",
                "permission",
                "permissions",
                "rule",
                "rules",
                "users",
            ],
        );
        root.guard_also("procedure", &["procedures"]);
        let path = procedure::search_path(&root).unwrap_or_else(|| DEFAULT_PATH.to_owned());
        let python = root.table("python");
        let choria = root.table("choria");
        let care = match root.boolean("allow_unsafe_permissions") {
            Some(true) => Care::Tell,
            Some(false) | None => Care::Refuse,
        };
        let (procedures, passed_over) = procedure::take_all(&root, &path, care);
        let config = Config {
            listen: listen(&root),
            certificate: required_path(&root, "certificate"),
            private_key: required_path(&root, "private_key"),
            users_file: required_path(&root, "users_file"),
            max_calls: root
                .integer("max_calls", 1..=1_000_000)
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(64),
            kill_grace: root
                .seconds("kill_grace", 0)
                .unwrap_or(harp_proto::host::KILL_GRACE),
            client_ca_file: root.path("client_ca_file"),
            stall_timeout: root
                .seconds("stall_timeout", 1)
                .unwrap_or(Duration::from_secs(600)),
            keep: KeepSettings::take(&root),
            permissions: Permissions::take(&root),
            procedures,
            passed_over,
            python: python.and_then(|table| PythonSettings::take(&table, &path, care)),
            choria: choria.and_then(|table| ChoriaSettings::take(&table, &path, care)),
            care,
            log: LogSettings::take(&root),
        };
        let warnings = settings.finish()?;
        Ok((config, warnings))
    }
}

fn listen(root: &Table<'_>) -> Vec<ListenAddress> {
    let listen = root.parsed_strings("listen").unwrap_or_else(|| {
        // An address that this crate's own tests read.
        format!("*:{HOST_PORT}").parse().into_iter().collect()
    });
    if listen.is_empty() {
        root.problem("listen", "must name at least one address");
    }
    listen
}

/// An absent or wrong one has been noted, so the empty path is never used.
fn required_path(root: &Table<'_>, key: &str) -> PathBuf {
    root.required(key, root.path(key)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::ArgumentMode;
    use crate::command::CommandRunner;
    use crate::output::OutputMode;
    use crate::runner::Runner;

    const FILES: &str = "certificate = 'c'\nprivate_key = 'k'\nusers_file = 'u'\n";

    fn take(text: &str) -> Result<(Config, Vec<Warning>), SettingsError> {
        let text = format!("{FILES}{text}");
        Config::take(&Settings::parse(&text, "f").unwrap())
    }

    fn command(procedure: &crate::procedure::Procedure) -> &CommandRunner {
        match &*procedure.runner {
            Runner::Command(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let (config, warnings) = take("[procedure.p]\ncommand = ['/bin/true']\n").unwrap();
        assert!(warnings.is_empty());
        assert_eq!(config.listen[0].to_string(), "*:4306");
        assert_eq!(config.max_calls, 64);
        assert_eq!(config.kill_grace, Duration::from_secs(5));
        assert_eq!(config.stall_timeout, Duration::from_secs(600));
        assert_eq!(config.client_ca_file, None);
        assert!(config.permissions.allow("anybody", "p"));
        let procedure = &config.procedures["p"];
        assert_eq!(procedure.output, OutputMode::Json);
        assert_eq!(procedure.max_output, 16 << 20);
        assert_eq!(procedure.timeout, None);
        assert!(procedure.slots.is_none());
        let runner = command(procedure);
        assert_eq!(runner.arguments, ArgumentMode::Stdin);
        assert_eq!(runner.directory, Path::new("/"));
        assert_eq!(runner.account, Ok(None));
    }

    #[test]
    fn a_procedure_is_read_whole() {
        let (config, _) = take(
            "path = '/opt/bin:/bin'\n\
             [procedure.'a b']\n\
             command = ['p', 'x']\noutput = 'harp'\nstream = true\narguments = 'argv'\n\
             timeout = 60\nmax_calls = 1\ndirectory = '/tmp'\nmax_output = '1K'\n\
             environment = { LANG = 'C.UTF-8' }\nuser = '0'\ngroup = ['0', '4']\n",
        )
        .unwrap();
        let procedure = &config.procedures["a b"];
        assert_eq!(procedure.output, OutputMode::Harp { stream: true });
        assert_eq!(procedure.max_output, 1024);
        assert_eq!(procedure.timeout, Some(Duration::from_secs(60)));
        assert_eq!(procedure.max_calls, Some(1));
        let runner = command(procedure);
        assert_eq!(runner.command, ["p", "x"]);
        assert_eq!(runner.arguments, ArgumentMode::Argv);
        assert_eq!(runner.path, "/opt/bin:/bin");
        assert_eq!(runner.environment["LANG"], "C.UTF-8");
        let account = runner.account.as_ref().unwrap().as_ref().unwrap();
        assert_eq!((account.uid, account.gid), (0, 0));
        assert_eq!(account.groups, [0, 4]);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let told = take(
            "listen = ['nowhere']\n\
             [procedure.a]\ncommand = []\nuser = 0\n\
             [procedure.b]\ncommand = ['bin/x']\ngroup = []\ndirectory = 'x'\n\
             [procedure.c]\noutput = 'lines'\nstream = false\n\
             [python]\nmodule = 'm'\n\
             [choria]\nagents = 'a'\nfacts = 'f'\n",
        )
        .unwrap_err()
        .to_string();
        let lines: Vec<_> = told.lines().collect();
        for (line, expected) in lines.iter().zip([
            "f:4: listen: ",
            "f:6: procedure.a.command: must name a program",
            "f:7: procedure.a.user: must be a string",
            "f:9: procedure.b.command: the program must be an absolute path",
            "f:10: procedure.b.group: must name at least one group",
            "f:11: procedure.b.directory: must be an absolute path",
            "f:12: procedure.c.command: missing",
            "f:14: procedure.c.stream: ",
            "f:16: python.module: must be an absolute path",
            "f:18: choria.agents: must be an absolute path",
            "f:19: choria.facts: must be an absolute path",
        ]) {
            assert!(line.starts_with(expected), "{line}\n{told}");
        }
        assert_eq!(lines.len(), 11, "{told}");
    }

    #[test]
    fn what_would_run_as_somebody_else_or_let_somebody_in_is_refused() {
        for (text, told) in [
            (
                "[procedure.p]\ncommand = ['/bin/true']\nusr = 'nobody'",
                "did you mean user?",
            ),
            (
                "[procedure.p]\ncommand = ['/bin/true']\ngroups = ['x']",
                "did you mean group?",
            ),
            (
                "[procedure.p]\ncommand = ['/bin/true']\ntime_out = 5",
                "did you mean timeout?",
            ),
            (
                "[procedures.p]\ncommand = ['/bin/true']",
                "did you mean procedure?",
            ),
            (
                "[python]\nmodule = '/m.py'\nuid = 'x'",
                "python.uid: unknown key",
            ),
            ("[choria]\nagents = '/a'\nusers = 'x'", "did you mean user?"),
            (
                "[user.ops]\nallow = []\nalow = ['*']",
                "did you mean allow?",
            ),
            ("[users.ops]\nallow = []", "did you mean user?"),
            ("[usr.ops]\nallow = []", "did you mean user?"),
            ("client_ca = '/c'", "did you mean client_ca_file?"),
            ("stal_timeout = 1", "did you mean stall_timeout?"),
        ] {
            let told_was = take(&format!("{text}\n")).unwrap_err().to_string();
            assert!(told_was.contains(told), "{text}: {told_was}");
        }
        let (_, warnings) = take("kil_grace = 1\n").unwrap();
        assert_eq!(warnings.len(), 1, "a warning still: {warnings:?}");
    }

    #[test]
    fn the_three_files_must_be_named() {
        let settings = Settings::parse("", "f").unwrap();
        let told = Config::take(&settings).unwrap_err().to_string();
        for key in ["certificate", "private_key", "users_file"] {
            assert!(told.contains(&format!("{key}: missing")), "{told}");
        }
    }
}
