//! The program of a procedure: finding its file, and why it cannot be started.

use std::path::{Path, PathBuf};

use harp_proto::{Failure, error_type};
use harp_service::exposure::Exposed;
use rustix::fs::Access;

use crate::account::NoAccount;

/// Why a program cannot be started, as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// No such program in `path`.
    #[error("command not found: no executable file {program} in the path {path}")]
    NotInPath {
        /// The name.
        program: String,
        /// Path at which it was looked for.
        path: String,
    },
    /// The program's file is missing or is not one.
    #[error("command not found: {0}: {1}")]
    Missing(PathBuf, String),
    /// The program may not be executed.
    #[error("command is not executable: {0}")]
    NotExecutable(PathBuf),
    /// The directory to start in cannot be entered.
    #[error("cannot start in the directory {0}: {1}")]
    NoDirectory(PathBuf, String),
    /// The user or a group is not known, or may not execute the program.
    #[error(transparent)]
    Account(#[from] NoAccount),
    /// It would run as root, and others could change it.
    #[error("{0}; nothing that others could change runs as root (allow_unsafe_permissions)")]
    Exposed(#[from] Exposed),
}

/// The file of a program: a path, or a name that is looked for in the directories of
/// `path`.
///
/// # Errors
///
/// If it is missing or may not be executed.
pub fn find_program(program: &str, path: &str) -> Result<PathBuf, CannotStart> {
    if program.contains('/') {
        let program = PathBuf::from(program);
        check_executable(&program)?;
        return Ok(program);
    }
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|candidate| check_executable(candidate).is_ok())
        .ok_or_else(|| CannotStart::NotInPath {
            program: program.to_owned(),
            path: path.to_owned(),
        })
}

/// Looks whether a program could be executed.
///
/// # Errors
///
/// If it is missing or may not be.
pub fn check_executable(program: &Path) -> Result<(), CannotStart> {
    let missing = |why: &dyn std::fmt::Display| {
        Err(CannotStart::Missing(program.to_owned(), why.to_string()))
    };
    match std::fs::metadata(program) {
        Err(error) => return missing(&error),
        Ok(found) if !found.is_file() => return missing(&"not a file"),
        Ok(_) => {}
    }
    rustix::fs::access(program, Access::EXEC_OK)
        .map_err(|_| CannotStart::NotExecutable(program.to_owned()))
}

/// The procedure is there but cannot be run.
#[must_use]
pub fn loading_error(why: &CannotStart) -> Failure {
    Failure::new(error_type::PROCEDURE_LOADING_ERROR, why.to_string())
}
