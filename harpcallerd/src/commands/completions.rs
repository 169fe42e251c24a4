//! `completions`: made from the command line's own description.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Done;
use super::printing::finished;

pub(crate) fn run<Arguments: CommandFactory>(shell: Shell) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "harpcallerd", &mut text);
    finished(std::io::stdout().write_all(&text))
}
