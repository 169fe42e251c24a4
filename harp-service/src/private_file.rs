//! Files that can hold credentials or job contents: mode 0600, in directories of mode
//! 0700 (daemon, "Files").
//!
//! Everything here blocks; in a task it belongs on the blocking pool.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use harp_files::regular;

/// A file that is written bit by bit, and takes its place when it is whole: see [`write`].
/// Dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

/// Replaces a file's content in one step: at any moment, a power cut included, the file
/// is the old one or the new one, whole. Nobody but its owner can read it.
///
/// # Errors
///
/// What the system says, with the path in the message; the old file is still there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    try_write(path, content).map_err(|error| named(path, "write", &error))
}

/// Replaces a file's content as [`write`] does; a file that exists keeps its owner, its
/// group and its mode.
///
/// # Errors
///
/// What the system says, with the path in the message; the old file is still there.
pub fn rewrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let before = match std::fs::metadata(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(named(path, "write", &error)),
    };
    replace(path, content, before.as_ref()).map_err(|error| named(path, "write", &error))
}

fn try_write(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content, None)
}

fn replace(path: &Path, content: &[u8], like: Option<&Metadata>) -> io::Result<()> {
    let mut new = Replacement::prepare(path)?;
    let file = &mut new.file;
    file.write_all(content)?;
    if let Some(like) = like {
        // The owner first: to change it afterwards could take away special modes, and
        // until then nobody else can read the file.
        let own = file.as_file().metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            std::os::unix::fs::fchown(file.as_file(), Some(like.uid()), Some(like.gid()))?;
        }
        file.as_file().set_permissions(like.permissions())?;
    }
    new.put_in_place()
}

impl Replacement {
    /// Begins a file that is to be at `path` once it is whole. What is there stays until
    /// then.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message.
    pub fn begin(path: &Path) -> io::Result<Replacement> {
        Replacement::prepare(path).map_err(|error| named(path, "write", &error))
    }

    /// Puts the file in its place, for good once this has returned.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message; what was there still is, unless
    /// it is the directory that could not be synced.
    pub fn finish(self) -> io::Result<()> {
        let path = self.path.clone();
        self.put_in_place()
            .map_err(|error| named(&path, "write", &error))
    }

    fn prepare(path: &Path) -> io::Result<Replacement> {
        regular_if_any(path)?;
        // Made with mode 0600, and removed again should anything fail before it is renamed.
        let file = tempfile::NamedTempFile::new_in(directory_of(path))?;
        Ok(Replacement {
            file,
            path: path.to_owned(),
        })
    }

    fn put_in_place(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        regular_if_any(&self.path)?;
        self.file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

impl Write for Replacement {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.file.write(content)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Refuses to replace what is no regular file: `/dev/null`, where nothing is to be kept,
/// belongs to the whole machine.
fn regular_if_any(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) => regular::check(&found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory that only its owner may enter, and those above it that are missing.
/// One that exists is left as it is.
///
/// # Errors
///
/// What the system says, with the path in the message.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| named(path, "make the directory", &error))
}

fn named(path: &Path, act: &str, error: &io::Error) -> io::Error {
    let message = format!("cannot {act} {}: {error}", path.display());
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_and_directories_are_private() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        create_directory(&directory).unwrap();
        create_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&root.path().join("a")), 0o700);

        let file = directory.join("secret");
        write(&file, b"one").unwrap();
        write(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(mode(&file), 0o600);
        let left = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(left, 1, "a temporary file was left behind");
    }

    #[test]
    fn a_file_that_is_rewritten_keeps_its_owner_and_mode() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("users");
        rewrite(&file, b"one").unwrap();
        assert_eq!(mode(&file), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
        } else {
            println!("the owner was not looked at: only root may change it");
        }
        rewrite(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(mode(&file), 0o640);
        if is_root {
            let found = std::fs::metadata(&file).unwrap();
            assert_eq!((found.uid(), found.gid()), (12, 34));
        }
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        let mut new = Replacement::begin(&file).unwrap();
        new.write_all(b"half").unwrap();
        drop(new);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        let mut new = Replacement::begin(&file).unwrap();
        new.write_all(b"whole").unwrap();
        new.finish().unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn nothing_else_than_a_regular_file_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        mkfifoat(CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
        std::os::unix::fs::symlink("pipe", path("link")).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let names = ["pipe", "null", "link", "directory", "socket"];
        for name in names {
            let before = std::fs::symlink_metadata(path(name)).unwrap();
            for written in [write(&path(name), b"x"), rewrite(&path(name), b"x")] {
                let error = written.unwrap_err().to_string();
                assert!(error.contains(name), "{error}");
            }
            let after = std::fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((before.dev(), before.ino()), (after.dev(), after.ino()));
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), names.len());

        // One that comes while the new file is written is left alone, too.
        let mut new = Replacement::begin(&path("late")).unwrap();
        new.write_all(b"x").unwrap();
        mkfifoat(CWD, path("late"), Mode::RUSR | Mode::WUSR).unwrap();
        assert!(new.finish().is_err());
        assert!(!path("late").is_file());
    }

    #[test]
    fn failures_name_the_path() {
        let error = write(Path::new("/nonexistent/x"), b"").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}
