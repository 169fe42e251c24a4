//! The files that the engine makes out of its file `db`, or can: a snapshot of where its
//! pages are (`snap.`, a number), by which it need not read all of the log, and its
//! settings (`conf`). Our own `store.json` says what can be found out as well. One that is
//! damaged, empty, newer than `db`, longer than it can be, unreadable or no file at all would
//! keep the engine from opening; it is put aside, and another is made.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use harp_files::regular;

use super::aside::Aside;
use super::directory;
use super::engine_log::{self, Places, SEGMENT};

/// Content that the engine writes into `conf`.
const CONF: &[u8] =
    b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n\x76\x19\x51\xc1";

/// A file that is made out of `db` is longer than that by no more than this.
const SLACK: u64 = 1024 * 1024;

/// Findings about them.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// Up to which LSN the engine need not read its log, by the snapshot it will use.
    pub(super) known_up_to: u64,
    /// Names of files that are of no use, and why.
    pub(super) useless: Vec<(String, String)>,
}

impl Derived {
    /// Looks at them. Nothing is changed.
    pub(super) fn inspect(directory: &Path) -> io::Result<Derived> {
        let mut derived = Derived::default();
        let (newest, length) = newest(&directory.join("db"))?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_snapshot = name != "conf" && is_of_engine(&name);
            if !is_of_engine(&name) && name != "store.json" {
                continue;
            }
            let content = read(&entry.path(), length + SLACK);
            let known = match &content {
                Err(error) => Err(format!("it cannot be read: {error}")),
                Ok(content) if is_snapshot => snapshot(&name, content, newest),
                Ok(content) if name == "conf" => settings(content).map(|()| 0),
                Ok(content) => {
                    if directory::is_about(content) {
                        Ok(0)
                    } else {
                        Err("it is damaged".into())
                    }
                }
            };
            match known {
                Ok(lsn) => derived.known_up_to = derived.known_up_to.max(lsn),
                Err(why) => derived.useless.push((name, why)),
            }
        }
        derived.useless.sort();
        Ok(derived)
    }

    /// Whether a file of this name was looked at and is of no use.
    pub(super) fn is_useless(&self, name: &str) -> bool {
        self.useless.iter().any(|(useless, _)| useless == name)
    }

    /// Puts those aside that are of no use, and tells the log.
    pub(super) fn put_aside(&self, directory: &Path) -> io::Result<Vec<Aside>> {
        let useless = self.useless.iter();
        useless
            .map(|(name, why)| Aside::put(directory, name, why))
            .collect()
    }
}

/// Whether the engine makes a file of this name out of its file `db`, and keeps it.
pub(super) fn is_of_engine(name: &str) -> bool {
    name == "conf" || name.starts_with("snap.") && !name.ends_with(".generating")
}

/// What the newest snapshot in the directory knows, if there is one that is whole.
pub(super) fn newest_snapshot(directory: &Path) -> io::Result<Option<Places>> {
    let mut newest: Option<Places> = None;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.")
            && let Some(places) = engine_log::snapshot(&fs::read(entry.path())?)
            && newest.as_ref().is_none_or(|it| it.known < places.known)
        {
            newest = Some(places);
        }
    }
    Ok(newest)
}

/// Reads a regular file of at most this length.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = regular::open(path)?;
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// The end of the newest segment of the engine's file, and the file's length.
fn newest(data_file: &Path) -> io::Result<(u64, u64)> {
    let file = match fs::File::open(data_file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        file => file?,
    };
    let mut newest = 0;
    let length = file.metadata()?.len();
    for index in 0..engine_log::count(length) {
        if let Some((lsn, _)) = engine_log::header(&file, index)? {
            newest = newest.max(lsn + SEGMENT as u64);
        }
    }
    Ok((newest, length))
}

fn settings(content: &[u8]) -> Result<(), String> {
    match content {
        CONF => Ok(()),
        b"" => Err("it is empty".into()),
        _ => Err("it is not what this release's engine writes".into()),
    }
}

/// Up to which LSN a snapshot knows the log.
fn snapshot(name: &str, content: &[u8], newest: u64) -> Result<u64, String> {
    if content.is_empty() {
        return Err("it is empty".into());
    }
    let lsn = engine_log::snapshot(content).ok_or("it is damaged")?.known;
    if *name != format!("snap.{lsn:016X}") {
        return Err("its name is that of another one".into());
    }
    if lsn > newest {
        return Err("it is newer than the file db".into());
    }
    Ok(lsn)
}
