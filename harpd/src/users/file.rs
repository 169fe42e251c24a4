//! The users file as it is now: read again when it has changed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use harp_files::{Content, Kept, Look, Looks};
use tracing::{info, warn};

use super::{Users, UsersError};

/// A users file and who may call by it.
///
/// A change counts from the next look on. A file that has been deleted lets nobody in. A
/// file that cannot be used for another reason, unreadable or with a wrong line, changes
/// nothing: those of the last good reading may call. Either is told to the log once.
#[derive(Debug)]
pub struct UsersFile {
    kept: Arc<Mutex<Kept<Arc<Users>>>>,
    looks: Looks<Arc<Users>>,
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or any line of it is wrong.
    pub fn read(path: &Path) -> Result<UsersFile, UsersError> {
        let kept = Kept::read([path.to_owned()], |mut file| {
            read(file.take()).map(Arc::new)
        })?;
        let kept = Arc::new(Mutex::new(kept));
        let looked_at = Arc::clone(&kept);
        Ok(UsersFile {
            kept,
            looks: Looks::new(move || look(&looked_at)),
        })
    }

    /// The users of now. Looks at the file; reads it only if it has changed since, or
    /// less than 2 s before, its last reading. As long as the file system takes: to be bounded
    /// in time. Cancel safe.
    pub async fn users(&self) -> Arc<Users> {
        self.looks.look().await
    }

    /// The users of the last reading.
    #[must_use]
    pub fn last_read(&self) -> Arc<Users> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.value())
    }
}

fn look(kept: &Mutex<Kept<Arc<Users>>>) -> Arc<Users> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut absence = None;
    let look = kept.look(|mut file| match read(file.take()) {
        Err(error) if error.is_absence() => {
            absence = Some(error);
            Users::nobody().map(Arc::new)
        }
        users => users.map(Arc::new),
    });
    match look {
        Look::New => match absence {
            Some(error) => warn!(%error, "users file unusable, nobody can call"),
            None => info!(users = kept.value().count(), "users file read again"),
        },
        Look::Again => info!("users file is usable again"),
        Look::Failed {
            error,
            is_news: true,
        } => warn!(%error, "users file unusable, its last good reading stays in force"),
        Look::Same | Look::Touched | Look::Failed { .. } => {}
    }
    Arc::clone(kept.value())
}

fn read(content: Content) -> Result<Users, UsersError> {
    let path = content.path().to_owned();
    let origin = path.display().to_string();
    let text = content
        .text()
        .map_err(|source| UsersError::Unreadable { path, source })?;
    Users::parse(&text, &origin)
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

    #[tokio::test]
    async fn a_change_is_seen_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, line("one")).unwrap();
        let file = UsersFile::read(&path).unwrap();
        let first = file.users().await;
        assert!(Arc::ptr_eq(&first, &file.users().await));

        std::fs::write(&path, line("one") + &line("two")).unwrap();
        let second = file.users().await;
        assert_eq!(names(&first), ["one"]);
        assert_eq!(names(&second), ["one", "two"]);

        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Arc::ptr_eq(&second, &file.users().await));
        // Not a file: unreadable.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Arc::ptr_eq(&second, &file.users().await));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, line("six")).unwrap();
        assert_eq!(names(&*file.users().await), ["six"]);
    }

    #[tokio::test]
    async fn a_deleted_file_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, line("one")).unwrap();
        let file = UsersFile::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.users().await.count(), 0);
        assert_eq!(file.users().await.count(), 0);
        std::fs::write(&path, line("one")).unwrap();
        assert_eq!(names(&*file.users().await), ["one"]);
    }

    #[tokio::test]
    async fn a_change_of_the_same_size_and_time_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write_unseen(&path, &line("000"));
        let file = UsersFile::read(&path).unwrap();
        // So fast that many are within one tick of the clock.
        for number in 0..500 {
            let name = format!("{number:03}");
            write_unseen(&path, &line(&name));
            assert_eq!(names(&*file.users().await), [name]);
        }
    }
}
