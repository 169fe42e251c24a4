//! `new-token`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use harp_files::append;
use harpcallerd::identity::tokens::NewToken;

use super::Done;
use super::printing::say;

pub(crate) fn run(name: &str, expires: Option<&str>, file: Option<&Path>) -> Done {
    let made = NewToken::make(name, expires)?;
    if let Some(file) = file {
        add(file, &made.line)
            .with_context(|| format!("cannot add a line to {}", file.display()))?;
        say(made.token.reveal())?;
        return Ok(ExitCode::SUCCESS);
    }
    say("token, for the client alone:")?;
    say(made.token.reveal())?;
    say("line, for the tokens file:")?;
    say(&made.line)?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the line in one piece, behind the end of the line before it if that has none.
fn add(file: &Path, line: &str) -> io::Result<()> {
    let mut into = append::open(file, 0o600)?;
    let before = fs::read(file)?;
    let gap = if before.last().is_none_or(|last| *last == b'\n') {
        ""
    } else {
        "\n"
    };
    into.write_all(format!("{gap}{line}\n").as_bytes())?;
    into.sync_all()
}
