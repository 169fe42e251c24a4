//! `harp completions`

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use harp_service::streams::Patient;

use crate::command_line::CommandLine;
use crate::exit::Exit;
use crate::problem::Problem;

pub(super) fn run(shell: Shell) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "harp", &mut script);
    let mut output = Patient(std::io::stdout().lock());
    match output.write_all(&script).and_then(|()| output.flush()) {
        Ok(()) => Ok(Exit::Returned),
        Err(error) => Err(Problem::output(&error)),
    }
}
