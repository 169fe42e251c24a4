//! The users file as it is now: read again when it has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use harp_service::watched::Watched;
use tracing::{info, warn};

use super::{Users, UsersError};

/// A users file and who may call by it.
///
/// A change counts from the next look on. A file that has been deleted lets nobody in. A
/// file that cannot be used for another reason, unreadable or with a wrong line, changes
/// nothing: those of the last good reading may call. Either is told to the log once.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    state: Mutex<Looked>,
}

/// What the last look has found.
#[derive(Debug)]
struct Looked {
    watched: Watched,
    users: Arc<Users>,
    /// What the log was told of the file as it is.
    complaint: Option<String>,
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or any line of it is wrong.
    pub fn read(path: &Path) -> Result<UsersFile, UsersError> {
        let watched = Watched::new([path]);
        let users = Users::read(path)?;
        Ok(UsersFile {
            path: path.to_owned(),
            state: Mutex::new(Looked {
                watched,
                users: Arc::new(users),
                complaint: None,
            }),
        })
    }

    /// The users of now. Looks at the file; reads it only if it has changed since, or
    /// less than 2 s before, its last reading.
    #[must_use]
    pub fn users(&self) -> Arc<Users> {
        let mut looked = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.watched.has_changed() {
            looked.take(Users::read(&self.path));
        }
        Arc::clone(&looked.users)
    }
}

impl Looked {
    fn take(&mut self, reading: Result<Users, UsersError>) {
        match reading {
            Ok(users) => {
                if self.replace(users) {
                    info!(users = self.users.count(), "users file read again");
                } else if self.complaint.is_some() {
                    info!("users file is usable again");
                }
                self.complaint = None;
            }
            Err(error) if error.is_absence() => match Users::nobody() {
                Ok(nobody) => {
                    self.replace(nobody);
                    self.complain(&error, "nobody can call");
                }
                Err(error) => self.keep(&error),
            },
            Err(error) => self.keep(&error),
        }
    }

    /// Leaves who is the same alone: with the users go the passwords that are remembered.
    fn replace(&mut self, users: Users) -> bool {
        let is_new = !users.are_those_of(&self.users);
        if is_new {
            self.users = Arc::new(users);
        }
        is_new
    }

    fn keep(&mut self, error: &UsersError) {
        if !matches!(error, UsersError::Wrong(_)) {
            // What hinders the reading may go away without a trace on the file.
            self.watched.look_again();
        }
        self.complain(error, "its last good reading stays in force");
    }

    fn complain(&mut self, error: &UsersError, consequence: &str) {
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            warn!(%error, "users file unusable, {consequence}");
            self.complaint = Some(complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$saltsaltsalt$0000000000000000000000000000000000000000000";

    fn line(name: &str) -> String {
        format!("{name}:{HASH}\n")
    }

    fn names(users: &Users) -> Vec<&str> {
        let mut names: Vec<_> = users.hashes.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Writes with a time of modification that says nothing.
    fn write_unseen(path: &Path, content: &str) {
        std::fs::write(path, content).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    }

    #[test]
    fn a_change_is_seen_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, line("one")).unwrap();
        let file = UsersFile::read(&path).unwrap();
        let first = file.users();
        assert!(Arc::ptr_eq(&first, &file.users()));

        std::fs::write(&path, line("one") + &line("two")).unwrap();
        let second = file.users();
        assert_eq!(names(&first), ["one"]);
        assert_eq!(names(&second), ["one", "two"]);

        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Arc::ptr_eq(&second, &file.users()));
        // Not a file: unreadable.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Arc::ptr_eq(&second, &file.users()));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, line("six")).unwrap();
        assert_eq!(names(&file.users()), ["six"]);
    }

    #[test]
    fn a_deleted_file_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, line("one")).unwrap();
        let file = UsersFile::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.users().count(), 0);
        assert_eq!(file.users().count(), 0);
        std::fs::write(&path, line("one")).unwrap();
        assert_eq!(names(&file.users()), ["one"]);
    }

    #[test]
    fn a_change_of_the_same_size_and_time_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write_unseen(&path, &line("000"));
        let file = UsersFile::read(&path).unwrap();
        // So fast that many are within one tick of the clock.
        for number in 0..500 {
            let name = format!("{number:03}");
            write_unseen(&path, &line(&name));
            assert_eq!(names(&file.users()), [name]);
        }
    }
}
