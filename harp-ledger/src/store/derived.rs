//! The files that the engine makes out of its file `db`, or can: a snapshot of where its
//! pages are (`snap.`, a number), by which it need not read all of the log, and its
//! settings (`conf`). Our own `store.json` says what can be found out as well. One that is damaged, empty or newer than `db` would keep the engine
//! from opening; it is put aside, and the engine makes another.

use std::fs;
use std::io;
use std::path::Path;

use super::directory;
use super::engine_log::{self, SEGMENT};

/// Content that the engine writes into `conf`.
const CONF: &[u8] =
    b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n\x76\x19\x51\xc1";

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
        let newest = newest(&directory.join("db"))?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_snapshot = name.starts_with("snap.") && !name.ends_with(".generating");
            if !is_snapshot && name != "conf" && name != "store.json" {
                continue;
            }
            let content = fs::read(entry.path());
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

    /// Puts those aside that are of no use, and tells the log.
    pub(super) fn put_aside(&self, directory: &Path) -> io::Result<()> {
        for (name, why) in &self.useless {
            let mut aside = format!("damaged.{name}");
            for number in 1.. {
                if !directory.join(&aside).exists() {
                    break;
                }
                aside = format!("damaged.{name}.{number}");
            }
            fs::rename(directory.join(name), directory.join(&aside))?;
            tracing::warn!(
                file = %name, %why, %aside,
                "a file that is made out of the job store's data is of no use; it is put aside and made anew"
            );
        }
        Ok(())
    }
}

/// The end of the newest segment of the engine's file.
fn newest(data_file: &Path) -> io::Result<u64> {
    let file = match fs::File::open(data_file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let mut newest = 0;
    for index in 0..engine_log::count(file.metadata()?.len()) {
        if let Some((lsn, _)) = engine_log::header(&file, index)? {
            newest = newest.max(lsn + SEGMENT as u64);
        }
    }
    Ok(newest)
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
    let lsn = engine_log::snapshot(content).ok_or("it is damaged")?;
    if *name != format!("snap.{lsn:016X}") {
        return Err("its name is that of another one".into());
    }
    if lsn > newest {
        return Err("it is newer than the file db".into());
    }
    Ok(lsn)
}
