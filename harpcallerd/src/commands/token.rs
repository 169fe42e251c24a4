//! `new-token`.

use std::process::ExitCode;

use harpcallerd::identity::tokens::NewToken;

use super::Done;
use super::printing::say;

pub(crate) fn run(name: &str) -> Done {
    let made = NewToken::make(name)?;
    say("token, for the client alone:")?;
    say(made.token.reveal())?;
    say("line, for the tokens file:")?;
    say(&made.line)?;
    Ok(ExitCode::SUCCESS)
}
