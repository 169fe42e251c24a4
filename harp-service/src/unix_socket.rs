//! A Unix socket at a path, where others may write to the directory too: nothing but our
//! own socket is changed or removed, and two daemons never take each other's for an old one.
//!
//! Everything here blocks, up to 2 s while another daemon opens the same socket; in a task
//! it belongs on threads that may block.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Uid, chownat, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// How long another daemon that is opening the same socket is waited for, and between two
/// looks.
const LOCKING: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Owner and mode of a socket, which decide which processes may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits.
    pub mode: u32,
    /// The file's owner; this process's user without it.
    pub owner: Option<u32>,
    /// The file's group, likewise.
    pub group: Option<u32>,
}

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there, or is about to.
    #[error("another process listens there")]
    InUse,
    /// Something else is there, which is left alone.
    #[error("there is a file of this name that is no socket")]
    NotASocket,
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A socket's file. It is removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another at its path: numbers of inodes are used again, at once
/// by some file systems.
type Identity = (u64, u64, i64, i64);

impl SocketFile {
    /// Listens on a socket at `path`. A file that a daemon has left behind, which nobody
    /// listens on, is replaced. Nobody can connect before owner and mode are set.
    ///
    /// A private file `PATH.lock` is made beside it, and stays.
    ///
    /// # Errors
    ///
    /// [`BindError`]; then nothing of ours is left at the path.
    pub fn bind(
        path: &Path,
        permissions: Permissions,
    ) -> Result<(UnixListener, SocketFile), BindError> {
        // Two that start at once must not take each other's socket for an old one.
        let _lock = Lock::take(path, Instant::now() + LOCKING)?;
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The file is made with this mode, less what the process's umask takes away: it is
        // never more open than it is to be.
        fchmod(&socket, Mode::from_raw_mode(permissions.mode)).map_err(io::Error::from)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let identity = match set_permissions(path, permissions) {
            Ok(identity) => identity,
            Err(error) => {
                remove_unheard(path);
                return Err(error.into());
            }
        };
        let file = SocketFile {
            path: path.to_owned(),
            identity,
        };
        socket.listen(BACKLOG)?;
        Ok((socket.into(), file))
    }

    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A daemon that has the lock is replacing it, or has just done so.
        let Ok(_lock) = Lock::take(&self.path, Instant::now()) else {
            return;
        };
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|file| identity(&file) == self.identity) {
            // One that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The right to replace or remove a socket's file: a lock on a private file beside it, which
/// nobody else can hold. The directory itself can be locked by everybody who may read it.
/// The file stays when the socket goes, so that all lock the same one.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(path: &Path, until: Instant) -> Result<Lock, BindError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&name)
            .and_then(|file| {
                if file.metadata()?.is_file() {
                    Ok(file)
                } else {
                    Err(io::Error::other("it is no regular file"))
                }
            })
            .map_err(|error| {
                let text = format!("its lock {}: {error}", name.display());
                io::Error::new(error.kind(), text)
            })?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => sleep(LOOK_EVERY),
                Err(Errno::WOULDBLOCK) => return Err(BindError::InUse),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino(), file.ctime(), file.ctime_nsec())
}

/// Gives the socket that was just made its owner and its mode. Goes by a handle on the file
/// itself, so that whatever is put in its place meanwhile keeps its own.
fn set_permissions(path: &Path, permissions: Permissions) -> io::Result<Identity> {
    let handle = File::options()
        .read(true)
        .custom_flags((OFlags::PATH | OFlags::NOFOLLOW).bits().cast_signed())
        .open(path)?;
    let found = handle.metadata()?;
    let is_ours = found.file_type().is_socket()
        && found.nlink() == 1
        && found.uid() == rustix::process::geteuid().as_raw();
    if !is_ours {
        return Err(io::Error::other(
            "somebody else puts files there: the socket was replaced while it was opened",
        ));
    }
    if permissions.owner.is_some() || permissions.group.is_some() {
        let owner = permissions.owner.map(Uid::from_raw);
        let group = permissions.group.map(Gid::from_raw);
        chownat(&handle, "", owner, group, AtFlags::EMPTY_PATH)?;
    }
    if handle.metadata()?.mode() & 0o7777 != permissions.mode {
        let same = format!("/proc/self/fd/{}", handle.as_raw_fd());
        fs::set_permissions(same, fs::Permissions::from_mode(permissions.mode))?;
    }
    Ok(identity(&handle.metadata()?))
}

/// Removes a socket that nobody listens on, if there is one.
fn remove_unheard(path: &Path) {
    let _ = remove_stale(path);
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket),
        Ok(_) => {}
    }
    match probe(path) {
        Ok(()) => Err(BindError::InUse),
        // Nobody has it open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A daemon whose backlog is full, for one.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse),
        Err(error) => Err(error.into()),
    }
}

/// Connects without waiting: to a socket whose backlog is full, a connection waits as
/// long as its daemon does.
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const PRIVATE: Permissions = Permissions {
        mode: 0o600,
        owner: None,
        group: None,
    };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        // What a daemon that was killed leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        for mode_wanted in [0o640, 0o666, 0o600] {
            let permissions = Permissions {
                mode: mode_wanted,
                ..PRIVATE
            };
            let (listener, file) = SocketFile::bind(&path, permissions).unwrap();
            assert_eq!(mode(&path), mode_wanted);
            let error = SocketFile::bind(&path, PRIVATE).unwrap_err();
            assert!(matches!(error, BindError::InUse), "{error}");
            // It listens, in spite of the connection that looked whether it does.
            let there = thread::scope(|scope| {
                let client = scope.spawn(|| std::os::unix::net::UnixStream::connect(&path));
                listener.accept().unwrap();
                client.join().unwrap()
            });
            assert!(there.is_ok());
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn it_is_not_taken_away_from_its_successor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (listener, file) = SocketFile::bind(&path, PRIVATE).unwrap();
        drop(listener);
        let (_listener, successor) = SocketFile::bind(&path, PRIVATE).unwrap();
        drop(file);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
    }

    #[test]
    fn of_those_that_start_at_once_one_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for _ in 0..20 {
            drop(UnixListener::bind(&path).unwrap());
            let together = Barrier::new(4);
            let bind = || {
                together.wait();
                SocketFile::bind(&path, PRIVATE)
            };
            let bound: Vec<_> = thread::scope(|scope| {
                let starts: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                let ends = starts.into_iter().map(|start| start.join().unwrap());
                ends.collect()
            });
            let open: Vec<_> = bound.into_iter().filter_map(Result::ok).collect();
            assert_eq!(open.len(), 1);
            assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        }
    }

    #[test]
    fn no_other_file_is_changed_or_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("dear"), "dear").unwrap();
        fs::set_permissions(path("dear"), fs::Permissions::from_mode(0o604)).unwrap();
        symlink("dear", path("link")).unwrap();
        symlink("absent", path("dangling")).unwrap();
        let open_to_all = Permissions {
            mode: 0o666,
            ..PRIVATE
        };
        for name in ["dear", "link", "dangling"] {
            let error = SocketFile::bind(&path(name), open_to_all).unwrap_err();
            assert!(matches!(error, BindError::NotASocket), "{name}: {error}");
        }
        // A link in the place of its lock.
        symlink("dear", path("s.lock")).unwrap();
        let error = SocketFile::bind(&path("s"), open_to_all).unwrap_err();
        assert!(error.to_string().contains("s.lock"), "{error}");
        assert!(!path("s").exists());
        assert_eq!(fs::read(path("dear")).unwrap(), b"dear");
        assert_eq!(mode(&path("dear")), 0o604);
        assert!(!path("absent").exists());
    }

    /// While somebody else puts a link in the socket's place again and again, wherever
    /// that falls, what the link names keeps its owner and mode.
    #[test]
    fn whoever_swaps_the_file_gains_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let dear = directory.path().join("dear");
        fs::write(&dear, "dear").unwrap();
        fs::set_permissions(&dear, fs::Permissions::from_mode(0o600)).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
        let open_to_all = Permissions {
            mode: 0o666,
            ..PRIVATE
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let link = directory.path().join("link");
                while !is_done() {
                    let is_there =
                        fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket());
                    if is_there && symlink(&dear, &link).is_ok() {
                        let _ = fs::rename(&link, &path);
                    }
                }
            });
            for _ in 0..300 {
                let _ = fs::remove_file(&path);
                // Whether it is opened depends on who comes first.
                let _ = SocketFile::bind(&path, open_to_all);
                assert_eq!(mode(&dear), 0o600);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::read(&dear).unwrap(), b"dear");
    }
}
