//! The runner of a procedure that is a program: how its process is made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use harp_exec::{Limit, Program, Stream};
use harp_proto::{Failure, Json};

use crate::account::{self, Account, NoAccount};
use crate::answer::{no_room, one_at_a_time};
use crate::arguments::{ArgumentMode, command_line};
use crate::care::Care;
use crate::invocation::{Identity, Invocation};
use crate::launch::{Process, launch};
use crate::program::{CannotStart, find_program, loading_error};
use crate::reaper::Reaper;
use crate::stash::Stash;

/// `PATH` of commands unless configured.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and everything of its surroundings that the configuration fixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRunner {
    /// The program, an absolute path or a name that is looked for in `path`, and its
    /// first arguments. Not empty.
    pub command: Vec<String>,
    /// How it gets the arguments of a call.
    pub arguments: ArgumentMode,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// Its `PATH`.
    pub path: String,
    /// More variables; `HARP_...` are set over them.
    pub environment: BTreeMap<String, String>,
    /// Whom it runs as, as far as that could be found out.
    pub account: Result<Account, NoAccount>,
    /// Limits of each of its processes.
    pub limits: Vec<Limit>,
    /// Reaction if others could change the program.
    pub care: Care,
}

/// The words that the arguments of a call become.
fn words(invocation: Invocation) -> Result<Vec<OsString>, Failure> {
    one_at_a_time(|| {
        let arguments = invocation.input.read_all().map_err(no_room)?;
        command_line(&Json::from_trusted(arguments.into()))
    })
}

impl CommandRunner {
    /// Looks whether the command could be started now, and finds its program. Blocks.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self) -> Result<PathBuf, CannotStart> {
        let program = self.program()?;
        self.care.check(&program, self.account()?)?;
        match std::fs::metadata(&self.directory) {
            Ok(found) if found.is_dir() => Ok(program),
            Ok(_) => Err(self.no_directory(&"not a directory")),
            Err(error) => Err(self.no_directory(&error)),
        }
    }

    /// Looks, too, whether the user that is configured may execute the command, as far
    /// as owners and modes tell.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn check_thoroughly(&self) -> Result<(), CannotStart> {
        let program = self.check()?;
        match self.account()? {
            Some(ids) => Ok(account::check_may_execute(ids, &program)?),
            None => Ok(()),
        }
    }

    /// Makes of a call's arguments what the command will get.
    ///
    /// # Errors
    ///
    /// `invalid_argument_list` if they do not fit.
    pub fn prepare(&self, arguments: &Json) -> Result<Invocation, Failure> {
        match self.arguments {
            // The words are made when it starts: until then many calls may wait.
            ArgumentMode::Argv => {
                one_at_a_time(|| command_line(arguments))?;
                Invocation::of_input(&[arguments.as_bytes()])
            }
            ArgumentMode::Stdin => Invocation::of_input(&[arguments.as_bytes(), b"\n"]),
        }
    }

    /// Starts the command, never through a shell, with a clean environment. Its program is
    /// what [`CommandRunner::check`] has found just now.
    ///
    /// # Errors
    ///
    /// Those of [`launch`].
    pub async fn start(
        &self,
        program: PathBuf,
        invocation: Invocation,
        identity: Identity<'_>,
        reaper: &Reaper,
    ) -> Result<Process, Failure> {
        let account = self.account().map_err(|why| loading_error(&why))?;
        let (words, input) = match self.arguments {
            ArgumentMode::Argv => (words(invocation)?, Stash::default()),
            ArgumentMode::Stdin => (Vec::new(), invocation.input),
        };
        let program = Program {
            file: program,
            words: self.words(words),
            environment: self.environment(identity),
            directory: self.directory.clone(),
            ids: account.clone(),
            keeps_capabilities: false,
            limits: self.limits.clone(),
            stdin: Stream::Pipe,
            stdout: Stream::Pipe,
            keeps_orphans: true,
        };
        launch(program, input, reaper).await
    }

    fn words(&self, more: Vec<OsString>) -> Vec<OsString> {
        let words = self.command.iter().map(OsString::from);
        words.chain(more).collect()
    }

    fn environment(&self, identity: Identity<'_>) -> Vec<(OsString, OsString)> {
        let mut environment = BTreeMap::from([("PATH", self.path.clone())]);
        let configured = self.environment.iter();
        environment.extend(configured.map(|(name, value)| (name.as_str(), value.clone())));
        environment.extend(identity.variables());
        let variables = environment.into_iter();
        variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// The program's file.
    ///
    /// # Errors
    ///
    /// If it is missing or may not be executed.
    pub fn program(&self) -> Result<PathBuf, CannotStart> {
        find_program(&self.command[0], &self.path)
    }

    fn account(&self) -> Result<&Account, CannotStart> {
        Ok(self.account.as_ref().map_err(NoAccount::clone)?)
    }

    fn no_directory(&self, why: &dyn std::fmt::Display) -> CannotStart {
        CannotStart::NoDirectory(self.directory.clone(), why.to_string())
    }
}
