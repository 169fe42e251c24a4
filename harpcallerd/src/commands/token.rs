//! `new-token`.

use std::process::ExitCode;

use harpcallerd::identity::tokens::NewToken;

use super::Done;

pub(crate) fn run(name: &str) -> Done {
    let made = NewToken::make(name)?;
    println!("token, for the client alone:");
    println!("{}", made.token.reveal());
    println!("line, for the tokens file:");
    println!("{}", made.line);
    Ok(ExitCode::SUCCESS)
}
