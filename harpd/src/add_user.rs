//! `harpd add-user`: a user's line in the users file.

use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use harp_files::text;
use harp_proto::Password;
use harp_service::private_file;
use ring::rand::{SecureRandom, SystemRandom};
use sha_crypt::{PasswordHasher, ShaCrypt};

use crate::users::{MAX_PASSWORD, Users, UsersError};

/// Longest salt of crypt(3) is 16 characters, of 6 bits each.
const SALT_BYTES: usize = 12;

/// Reads a password, from the terminal twice and unseen, or else the first line of
/// standard input, and gives the user this password: a line of the file is replaced, or
/// one is appended. The other lines stay as they are. True if the user is new.
///
/// # Errors
///
/// If the name or the password cannot be one, or the file is wrong or cannot be written.
/// The file is then as it was.
pub fn add_user(users_file: &Path, name: &str) -> Result<bool> {
    check_name(name)?;
    // One that is wrong already would not become usable by a line more.
    read(users_file)?;
    let password = read_password()?;
    check_password(&password)?;
    let hash = hash(&password)?;
    let _lock = lock(users_file)?;
    let (file, text) = read(users_file)?;
    let (text, is_new) = with_line(&text, name, &hash);
    private_file::rewrite(&file, text.as_bytes())?;
    Ok(is_new)
}

/// Waits until no other add-user is between its reading and its writing; of two at the same
/// moment neither is lost. It is the directory that is locked, since the file is replaced.
fn lock(users_file: &Path) -> Result<File> {
    let directory = match users_file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let locked = File::open(directory).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("cannot lock the directory {}", directory.display()))
}

/// The file itself, if the path is a link to it, and what is in it.
fn read(users_file: &Path) -> Result<(PathBuf, String)> {
    match Users::read(users_file) {
        Ok(_) => {}
        Err(error) if error.is_absence() => return Ok((users_file.to_owned(), String::new())),
        Err(error @ UsersError::Wrong(_)) => {
            return Err(error).context("the users file has to be put right first");
        }
        Err(error) => return Err(error.into()),
    }
    let file = std::fs::canonicalize(users_file)?;
    let text = harp_files::regular::read_to_string(&file)?;
    Ok((file, text))
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        bail!("a user must have a name");
    }
    if name.starts_with('#') || name.contains(|c: char| c == ':' || c.is_control()) {
        bail!(
            "{name:?} cannot be a user's name: it has a colon or control character, or begins with #"
        );
    }
    Ok(())
}

fn read_password() -> Result<Password> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let first = Password::from(rpassword::prompt_password("Password: ")?);
        let second = Password::from(rpassword::prompt_password("Again: ")?);
        if first.reveal() != second.reveal() {
            bail!("the passwords differ");
        }
        return Ok(first);
    }
    let mut line = Vec::new();
    let read = stdin.lock().read_until(b'\n', &mut line);
    let line = read.and_then(|_| text::from_bytes(line));
    let mut line = line.context("cannot read the password from standard input")?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(Password::from(line))
}

fn check_password(password: &Password) -> Result<()> {
    match password.reveal().len() {
        0 => bail!("the password is empty"),
        1..=MAX_PASSWORD => Ok(()),
        length => bail!("the password is too long: {length} bytes, at most {MAX_PASSWORD}"),
    }
}

/// A `$6$` line's hash, with the rounds that are usual: about a millisecond.
fn hash(password: &Password) -> Result<String> {
    let mut salt = [0; SALT_BYTES];
    if SystemRandom::new().fill(&mut salt).is_err() {
        bail!("the system has no random numbers");
    }
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.reveal().as_bytes(), &salt);
    match hash {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => bail!("cannot hash the password: {error}"),
    }
}

/// The file's text with the user's line. True if there was none before.
fn with_line(text: &str, name: &str, hash: &str) -> (String, bool) {
    let mut is_new = true;
    let mut lines: Vec<String> = text::lines(text)
        .map(|line| match line.split_once(':') {
            Some((found, _)) if found == name => {
                is_new = false;
                format!("{name}:{hash}")
            }
            _ => line.to_owned(),
        })
        .collect();
    if is_new {
        lines.push(format!("{name}:{hash}"));
    }
    (lines.join("\n") + "\n", is_new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_replaced_or_appended_and_the_rest_stays() {
        let text = "# users\na:1\n\nb:2";
        assert_eq!(with_line("", "a", "x"), ("a:x\n".to_owned(), true));
        assert_eq!(
            with_line(text, "a", "x"),
            ("# users\na:x\n\nb:2\n".to_owned(), false)
        );
        assert_eq!(
            with_line(text, "c", "x"),
            ("# users\na:1\n\nb:2\nc:x\n".to_owned(), true)
        );
        assert_eq!(
            with_line("\u{feff}a:1", "a", "x"),
            ("a:x\n".to_owned(), false)
        );
    }

    #[test]
    fn names_and_passwords_that_cannot_be_used_are_refused() {
        for name in ["", "a:b", "#a", "a\nb"] {
            check_name(name).unwrap_err();
        }
        check_name("rpc user@example.net").unwrap();
        check_password(&"".into()).unwrap_err();
        check_password(&"x".repeat(MAX_PASSWORD + 1).into()).unwrap_err();
        check_password(&"x".repeat(MAX_PASSWORD).into()).unwrap();
    }
}
