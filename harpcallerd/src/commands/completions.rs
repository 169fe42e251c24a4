//! `completions`: made from the command line's own description.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use harp_service::streams::Patient;

use super::Done;
use super::printing::finished;

pub(crate) fn run<Arguments: CommandFactory>(shell: Shell) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "harpcallerd", &mut text);
    let mut output = Patient(std::io::stdout());
    finished(output.write_all(&text).and_then(|()| output.flush()))
}
