//! The file that says which process is the daemon.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use harp_files::regular;
use rustix::fs::OFlags;

/// The file with this process's number. Removed when dropped, unless somebody else has
/// written to it or put another in its place.
///
/// To be written once the daemon is sure to be the only one: a start that fails must not
/// touch the file of one that runs.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    content: String,
    /// Device and inode.
    identity: (u64, u64),
}

impl Pidfile {
    /// Writes the file. A link in its place is not followed, a named pipe not waited for:
    /// the directory may be one that others can write to.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message; also if something else than a
    /// regular file is there, or one that has another name too.
    pub fn write(path: &Path) -> io::Result<Pidfile> {
        let content = format!("{}\n", std::process::id());
        match write(path, &content) {
            Ok(identity) => Ok(Pidfile {
                path: path.to_owned(),
                content,
                identity,
            }),
            Err(error) => {
                let message = format!("cannot write the process id to {}: {error}", path.display());
                Err(io::Error::new(error.kind(), message))
            }
        }
    }

    fn is_ours(&self) -> bool {
        let found = std::fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
            && regular::read(&self.path).is_ok_and(|found| found == self.content.as_bytes())
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if self.is_ours() {
            // One that stays is overwritten at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn write(path: &Path, content: &str) -> io::Result<(u64, u64)> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let mut file = opened.map_err(|error| {
        if path.is_symlink() {
            io::Error::new(
                error.kind(),
                "there is a symbolic link, which is not followed",
            )
        } else {
            error
        }
    })?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(io::Error::other(
            "there is something else than a regular file with one name",
        ));
    }
    file.set_len(0)?;
    file.write_all(content.as_bytes())?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn it_goes_with_the_process_unless_it_is_somebody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "123456789\n").unwrap();
        let pidfile = Pidfile::write(&path).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());

        let pidfile = Pidfile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert!(path.exists());
    }

    #[test]
    fn nothing_else_is_written_to_or_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("dear"), "dear").unwrap();
        symlink("dear", path("link")).unwrap();
        symlink("absent", path("dangling")).unwrap();
        fs::hard_link(path("dear"), path("second name")).unwrap();
        mkfifoat(CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let names = ["link", "dangling", "second name", "pipe", ".", "/dev/null"];
        for name in names {
            let error = Pidfile::write(&path(name)).unwrap_err().to_string();
            assert!(error.contains("cannot write the process id"), "{error}");
        }
        assert_eq!(fs::read(path("dear")).unwrap(), b"dear");
        assert!(!path("absent").exists());
        assert!(path("link").is_symlink());
    }
}
