//! Source of a user's password. Never from the command line, which everybody on
//! the machine can read.

use std::io::{self, IsTerminal};
use std::path::Path;

use harp_proto::Password;

use crate::problem::Problem;
use crate::screen::Screen;
use crate::secret;
use crate::settings::variable;

/// The password in a file that was named, in the environment, in a file of the
/// configuration, or of the operator at a terminal.
///
/// # Errors
///
/// If a file cannot be read, or there is nobody to ask.
pub(super) fn find(
    named: Option<&Path>,
    configured: Option<&Path>,
    user: &str,
    screen: &Screen,
) -> Result<Password, Problem> {
    if let Some(file) = named {
        return secret::read("--password-file", file, screen);
    }
    if let Some(password) = variable("HARP_PASSWORD") {
        return Ok(Password::from(password));
    }
    if let Some(file) = configured {
        return secret::read("direct.password_file", file, screen);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Problem::usage(format!(
            "no password for user {user}: give --password-file FILE, HARP_PASSWORD or the key \
             direct.password_file; it is asked for only on a terminal"
        )));
    }
    screen.ask(&format!("Password of {user}:"));
    match console::Term::stderr().read_secure_line() {
        Ok(password) => Ok(Password::from(password)),
        Err(error) => Err(Problem::usage(format!("cannot read the password: {error}"))),
    }
}
