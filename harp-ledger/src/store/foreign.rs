//! A directory that holds something else than a store: nothing of a store is put in between.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use super::error::OpenError;

/// Names that a store, or a person who works with one, may have made before there was a whole one;
/// and what a file system has at its root.
const OURS: [&str; 8] = [
    "blobs",
    "boot.json",
    "conf",
    "db",
    "lock",
    "lost+found",
    "probe",
    "sessions.json",
];
const OUR_BEGINNINGS: [&str; 4] = [".", "damaged.", "snap.", "store.json"];

/// Refuses a directory without a store that holds anything else. One that is not there, or
/// cannot be read, is left to the program that makes it.
pub(super) fn refuse(path: &Path) -> Result<(), OpenError> {
    match found(path) {
        Ok(Some(what)) => Err(OpenError::Foreign {
            path: path.into(),
            what,
        }),
        Ok(None) | Err(_) => Ok(()),
    }
}

fn found(path: &Path) -> io::Result<Option<String>> {
    let mut foreign = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name == "db" || name == "store.json" {
            return Ok(None);
        }
        if !is_ours(&name) {
            foreign.push(name.to_string_lossy().into_owned());
        }
    }
    foreign.sort();
    let count = foreign.len();
    Ok(foreign.into_iter().next().map(|first| match count {
        1 => first,
        more => format!("{first} and {} more", more - 1),
    }))
}

fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    OURS.contains(&&*name) || OUR_BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}
