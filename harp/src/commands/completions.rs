//! `harp completions`

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::command_line::CommandLine;
use crate::exit::Exit;
use crate::problem::Problem;

pub(super) fn run(shell: Shell) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "harp", &mut script);
    match std::io::stdout().lock().write_all(&script) {
        Ok(()) => Ok(Exit::Returned),
        Err(error) => Err(Problem::output(&error)),
    }
}
