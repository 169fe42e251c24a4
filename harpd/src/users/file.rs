//! The users file as it is now: read again when it has changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

use super::{Users, UsersError};

/// A users file and its last good reading.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// Of the file as it was when it was last looked into, good or not.
    stamp: Option<Stamp>,
    users: Arc<Users>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    inode: u64,
    modified: Option<SystemTime>,
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or any line of it is wrong.
    pub fn read(path: &Path) -> Result<UsersFile, UsersError> {
        // Before the reading: a change in between is seen at the next look.
        let stamp = Stamp::of(path);
        let users = Arc::new(Users::read(path)?);
        Ok(UsersFile {
            path: path.to_owned(),
            reading: Mutex::new(Reading { stamp, users }),
        })
    }

    /// The users of now. A file that has become unusable is logged once, and those of
    /// its last good reading stay. Looks at the file; reads it only after a change.
    #[must_use]
    pub fn users(&self) -> Arc<Users> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != reading.stamp {
            reading.stamp = stamp;
            match Users::read(&self.path) {
                Ok(users) => {
                    info!(users = users.count(), "users file read again");
                    reading.users = Arc::new(users);
                }
                Err(error) => {
                    warn!(%error, "users file unusable, its last good reading stays in force")
                }
            }
        }
        Arc::clone(&reading.users)
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let file = std::fs::metadata(path).ok()?;
        Some(Stamp {
            size: file.len(),
            inode: file.ino(),
            modified: file.modified().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$saltsaltsalt$0000000000000000000000000000000000000000000";

    #[test]
    fn a_change_is_seen_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, format!("one:{HASH}\n")).unwrap();
        let file = UsersFile::read(&path).unwrap();
        let first = file.users();
        assert!(Arc::ptr_eq(&first, &file.users()));

        std::fs::write(&path, format!("one:{HASH}\ntwo:{HASH}\n")).unwrap();
        let second = file.users();
        assert_eq!((first.count(), second.count()), (1, 2));

        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Arc::ptr_eq(&second, &file.users()));
        std::fs::remove_file(&path).unwrap();
        assert!(Arc::ptr_eq(&second, &file.users()));
    }
}
