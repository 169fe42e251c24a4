//! The temporary files through which agents are asked and answer (Choria external
//! agents, section 2).
//!
//! They are in one private directory for each harpd, a directory in it for each call,
//! which goes when the call has ended. What a harpd that was killed has left is removed
//! by the next one: it is known by the lock that nobody holds any more.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use harp_proto::LINE_ALLOWANCE;
use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

use super::ChoriaSettings;

const PREFIX: &str = "harpd-agents-";
const LOCK: &str = "lock";

/// The directory of this harpd; removed when dropped.
#[derive(Debug)]
pub struct Workdir {
    directory: TempDir,
    /// Whom the agents run as, and the files of calls belong to.
    owner: Option<(u32, u32)>,
    _locks: [File; 2],
}

/// The files of one call; removed when dropped.
#[derive(Debug)]
pub struct CallFiles {
    /// The request, JSON.
    pub request: PathBuf,
    /// Path of the file for the reply, an empty one.
    pub reply: PathBuf,
    /// Facts about the host, JSON; an empty file during an activation check.
    pub facts: PathBuf,
    _directory: TempDir,
}

impl Workdir {
    /// Makes the directory where the system keeps temporary files, and removes what
    /// others have left there. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn make(settings: &ChoriaSettings) -> io::Result<Workdir> {
        let account = settings.account.as_ref().ok().and_then(Option::as_ref);
        let owner = account.map(|ids| (ids.uid, ids.gid));
        Workdir::make_in(&std::env::temp_dir(), owner)
    }

    fn make_in(place: &Path, owner: Option<(u32, u32)>) -> io::Result<Workdir> {
        remove_abandoned(place);
        let directory = directory(PREFIX, place, if owner.is_some() { 0o711 } else { 0o700 })?;
        let lock = open_lock(directory.path(), true)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // A directory that is locked itself is left alone by systemd-tmpfiles(8).
        let held = File::open(directory.path())?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Workdir {
            directory,
            owner,
            _locks: [lock, held],
        })
    }

    /// Makes the files of one call. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn call_files(&self, request: &[u8], facts: &[u8]) -> io::Result<CallFiles> {
        let directory = directory("call-", self.directory.path(), 0o700)?;
        let give = |path: &Path| match self.owner {
            Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        };
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content)?;
            give(&path)?;
            io::Result::Ok(path)
        };
        let [request, reply, facts] = [
            file("request.json", request)?,
            file("reply.json", b"")?,
            file("facts.json", facts)?,
        ];
        give(directory.path())?;
        Ok(CallFiles {
            request,
            reply,
            facts,
            _directory: directory,
        })
    }
}

impl CallFiles {
    /// What the agent has written, `limit` bytes and some white space at most. Never
    /// waits, whatever the agent has made of the file.
    ///
    /// # Errors
    ///
    /// `FileTooLarge`, or what the system says.
    pub fn read_reply(&self, limit: usize) -> io::Result<Bytes> {
        // An agent that runs as another user must not have harpd read what only harpd may.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.reply)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file any more"));
        }
        let limit = limit.saturating_add(LINE_ALLOWANCE);
        let mut reply = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut reply)?;
        if reply.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(reply.into())
    }
}

/// With exactly this mode, whatever harpd's umask.
fn directory(prefix: &str, place: &Path, mode: u32) -> io::Result<TempDir> {
    let private = tempfile::Builder::new().prefix(prefix).tempdir_in(place)?;
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(mode))?;
    Ok(private)
}

/// A directory without a lock file is just being made.
fn open_lock(directory: &Path, create: bool) -> io::Result<File> {
    File::options()
        .write(true)
        .create(create)
        .mode(0o600)
        .open(directory.join(LOCK))
}

/// Best effort: what cannot be removed does no harm.
fn remove_abandoned(place: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Of the entry itself: a symbolic link is not followed.
        let is_ours = entry
            .metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == own);
        if !is_named_so || !is_ours {
            continue;
        }
        let directory = entry.path();
        let Ok(lock) = open_lock(&directory, false) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = std::fs::remove_dir_all(&directory)
        {
            tracing::warn!(directory = %directory.display(), %error, "cannot remove old files of agents");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(place: &Path) -> usize {
        std::fs::read_dir(place).unwrap().count()
    }

    #[test]
    fn files_go_with_their_call_and_thedirectory_with_harpd() {
        let place = tempfile::tempdir().unwrap();
        let workdir = Workdir::make_in(place.path(), None).unwrap();
        let files = workdir.call_files(b"{}", b"").unwrap();
        assert_eq!(std::fs::read(&files.request).unwrap(), b"{}");
        assert_eq!(std::fs::read(&files.reply).unwrap(), b"");
        let private = std::fs::metadata(files.request.parent().unwrap()).unwrap();
        assert_eq!(private.mode() & 0o777, 0o700);
        let request = files.request.clone();
        drop(files);
        assert!(!request.exists());
        drop(workdir);
        assert_eq!(entries(place.path()), 0);
    }

    #[test]
    fn another_user_passes_the_directory_whatever_the_umask() {
        let place = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(place.path()).unwrap();
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let workdir = Workdir::make_in(place.path(), Some((own.uid(), own.gid())));
        rustix::process::umask(before);
        let made = std::fs::metadata(workdir.unwrap().directory.path()).map(|made| made.mode());
        assert_eq!(made.unwrap() & 0o777, 0o711);
    }

    #[test]
    fn what_a_killed_harpd_has_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let workdir = Workdir::make_in(place.path(), None).unwrap();
        let Workdir {
            directory, _locks, ..
        } = workdir;
        // Killed: unlocked, and nothing removed.
        drop(_locks);
        let abandoned = directory.keep();
        let other = place.path().join("harpd-agents-other");
        std::fs::create_dir(&other).unwrap();

        let one = Workdir::make_in(place.path(), None).unwrap();
        assert!(!abandoned.exists());
        let two = Workdir::make_in(place.path(), None).unwrap();
        assert!(one.directory.path().exists() && two.directory.path().exists());
        assert!(other.exists());
    }
}
