//! Passwords and tokens in files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use harp_files::text;
use harp_proto::Password;

use crate::problem::Problem;
use crate::screen::Screen;

/// The first line of a file that `option` has named. A file that others can read is
/// warned of.
///
/// # Errors
///
/// If the file cannot be read, or there is nothing in it.
pub(crate) fn read(option: &str, file: &Path, screen: &Screen) -> Result<Password, Problem> {
    let shown = file.display();
    let unreadable =
        |error: io::Error| Problem::usage(format!("{option} {shown}: cannot read it: {error}"));
    let mode = fs::metadata(file).map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        screen.warn(format_args!("{shown} can be read by others; chmod 600 it"));
    }
    let content = fs::read(file).map_err(unreadable)?;
    let content = text::from_bytes(content).map_err(unreadable)?;
    match content.lines().next() {
        Some(secret) if !secret.is_empty() => Ok(Password::from(secret)),
        _ => Err(Problem::usage(format!(
            "{option} {shown}: its first line is empty; the secret goes there"
        ))),
    }
}
