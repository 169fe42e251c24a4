//! Tokens, before they are sent.

use std::path::Path;

use harp_files::regular;
use harp_proto::Password;

use crate::Error;

/// Refuses what is no token of any dispatcher.
///
/// # Errors
///
/// If it is empty or has white space in it. The token is not shown.
pub(crate) fn check(token: &Password) -> Result<(), Error> {
    let text = token.reveal();
    if text.is_empty() {
        return Err(Error::invalid_input(
            "token: is empty; `harpcallerd new-token` makes one",
        ));
    }
    if text.contains(|part: char| part.is_whitespace() || part.is_control()) {
        return Err(Error::invalid_input(
            "token: has white space in it, which no token has; if it was read from a file with \
             its line end, token_file reads it without",
        ));
    }
    Ok(())
}

/// Reads the first line of a file.
///
/// # Errors
///
/// If it cannot be read, or is no token.
pub(crate) fn read(file: &Path) -> Result<Password, Error> {
    let content = regular::read_to_string(file).map_err(|error| {
        let told = format!("token_file {}: cannot be read: {error}", file.display());
        Error::invalid_input(told).with_source(error)
    })?;
    let line = content.lines().next().unwrap_or_default();
    if line.trim().is_empty() {
        return Err(Error::invalid_input(format!(
            "token_file {}: its first line is empty; the token goes there",
            file.display()
        )));
    }
    let token = Password::from(line.trim());
    check(&token)?;
    Ok(token)
}
