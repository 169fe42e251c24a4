//! The users file as it is now: read again when it has changed.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::{Users, UsersError};

/// A file that was changed less than this before it was read may change again without
/// any sign of it: file times are as coarse as the clock tick of the system, or the
/// granularity of the file system.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

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
    /// False if the file must be read at the next look, whatever its stamp says then.
    is_settled: bool,
    stamp: Result<Stamp, ErrorKind>,
    users: Arc<Users>,
    /// What the log was told of the file as it is.
    complaint: Option<String>,
}

/// What changes when a file is written or replaced. The time of the last change of its
/// inode is set by the system alone; the other times may be set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or any line of it is wrong.
    pub fn read(path: &Path) -> Result<UsersFile, UsersError> {
        // Before the reading: a change in between is seen at the next look.
        let now = SystemTime::now();
        let stamp = Stamp::of(path);
        let users = Users::read(path)?;
        Ok(UsersFile {
            path: path.to_owned(),
            state: Mutex::new(Looked {
                is_settled: is_settled(stamp, now),
                stamp,
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
        let now = SystemTime::now();
        let stamp = Stamp::of(&self.path);
        if stamp != looked.stamp || !looked.is_settled {
            looked.is_settled = is_settled(stamp, now);
            looked.stamp = stamp;
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
            self.is_settled = false;
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

impl Stamp {
    fn of(path: &Path) -> Result<Stamp, ErrorKind> {
        let file = std::fs::metadata(path).map_err(|error| error.kind())?;
        Ok(Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// Whether a later change is sure to show in the stamp. A time in the future is not
/// relied upon.
fn is_settled(stamp: Result<Stamp, ErrorKind>, now: SystemTime) -> bool {
    let Ok(stamp) = stamp else {
        return true;
    };
    let age = u64::try_from(stamp.changed.0)
        .ok()
        // Its fraction is left out: it may be up to a second later.
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds + 1)))
        .and_then(|changed| now.duration_since(changed).ok());
    age.is_some_and(|age| age >= SETTLED_AFTER)
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
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
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

    #[test]
    fn the_time_of_the_change_itself_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write_unseen(&path, "one");
        let before = Stamp::of(&path).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while Stamp::of(&path).unwrap() == before {
            assert!(std::time::Instant::now() < until);
            write_unseen(&path, "two");
        }
    }

    #[test]
    fn only_a_file_left_alone_for_a_while_is_settled() {
        let stamp = Stamp {
            device: 0,
            inode: 0,
            size: 0,
            modified: (0, 0),
            changed: (1000, 999_999_999),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (now, settled) in [(900, false), (1001, false), (1002, false), (1003, true)] {
            assert_eq!(is_settled(Ok(stamp), at(now)), settled, "{now}");
        }
        assert!(is_settled(Err(ErrorKind::NotFound), at(0)));
    }
}
