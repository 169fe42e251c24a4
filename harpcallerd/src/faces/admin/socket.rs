//! The socket's file: private, one daemon's alone, gone with it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use harp_service::private_file;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// How long another daemon that is opening the same socket is waited for, and between two
/// looks.
const LOCKING: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the administrative socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error(
        "harpcallerd is already running: a daemon answers at {}; for a second one give another --socket",
        .0.display()
    )]
    AlreadyRunning(PathBuf),
    /// Others could put a socket of their own in its place.
    #[error(
        "the directory {} of the administrative socket can be written by others than its owner; \
         take their write permission away (chmod go-w) or give another --socket",
        .0.display()
    )]
    DirectoryOpen(PathBuf),
    /// The directory is another user's.
    #[error(
        "the directory {} of the administrative socket belongs to another user (number {owner}); \
         run harpcallerd as that user or give another --socket",
        directory.display()
    )]
    DirectoryForeign {
        /// The directory.
        directory: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Something else is there.
    #[error("{} is there and is no socket; move it away or give another --socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot open the administrative socket {}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The open socket. Its file is removed when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    file: FileIdentity,
}

/// What tells a file from another at its path: numbers of inodes are used again, at once
/// by some file systems.
type FileIdentity = (u64, u64, i64, i64);

fn identity(file: &fs::Metadata) -> FileIdentity {
    (file.dev(), file.ino(), file.ctime(), file.ctime_nsec())
}

impl AdminSocket {
    /// Opens the socket with mode 0600. Makes its directory if it is missing, replaces a
    /// file that a daemon has left behind.
    ///
    /// To be called before there are tasks that make files: the process's umask is
    /// changed for a moment.
    ///
    /// # Errors
    ///
    /// [`SocketError`] says what to do.
    pub fn open(path: &Path) -> Result<(AdminSocket, UnixListener), SocketError> {
        let failed = |error| SocketError::Io {
            path: path.to_owned(),
            error,
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        private_file::create_directory(directory).map_err(failed)?;
        check_directory(directory, failed)?;
        // Two that start at once must not take each other's socket for an old one.
        let _lock = lock(path, failed)?;
        remove_stale(path, failed)?;

        // From its first moment on nobody else can connect.
        let umask = rustix::process::umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        let listener = bound.map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let file = fs::symlink_metadata(path).map_err(failed)?;
        let socket = AdminSocket {
            path: path.to_owned(),
            file: identity(&file),
        };
        Ok((socket, listener))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.file);
        if is_ours {
            // One that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Locks a private file beside the socket, which nobody else can hold: the directory
/// itself can be locked by everybody who may read it. It stays when the socket goes, so
/// that all lock the same file.
fn lock(path: &Path, failed: impl Fn(io::Error) -> SocketError) -> Result<fs::File, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(name)
        .map_err(&failed)?;
    let give_up = Instant::now() + LOCKING;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < give_up => sleep(LOOK_EVERY),
            Err(Errno::WOULDBLOCK) => return Err(SocketError::AlreadyRunning(path.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn check_directory(
    directory: &Path,
    failed: impl Fn(io::Error) -> SocketError,
) -> Result<(), SocketError> {
    let found = fs::metadata(directory).map_err(failed)?;
    if found.mode() & 0o022 != 0 {
        return Err(SocketError::DirectoryOpen(directory.to_owned()));
    }
    let ours = rustix::process::geteuid().as_raw();
    if found.uid() != ours && found.uid() != 0 {
        return Err(SocketError::DirectoryForeign {
            directory: directory.to_owned(),
            owner: found.uid(),
        });
    }
    Ok(())
}

fn remove_stale(path: &Path, failed: impl Fn(io::Error) -> SocketError) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match probe(path) {
        Ok(()) => Err(SocketError::AlreadyRunning(path.to_owned())),
        // Nobody has it open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A daemon whose backlog is full, for one.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::AlreadyRunning(path.to_owned()))
        }
        Err(error) => Err(failed(error)),
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
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn it_is_private_and_goes_with_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/control");
        let (socket, listener) = AdminSocket::open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let again = AdminSocket::open(&path).unwrap_err();
        assert!(matches!(again, SocketError::AlreadyRunning(_)), "{again}");
        // What is left behind by a daemon that was killed.
        drop(listener);
        let (successor, _listener) = AdminSocket::open(&path).unwrap();
        drop(socket);
        assert!(path.exists(), "it is its successor's by now");
        drop(successor);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_directory_of_everybodys_and_other_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control");
        fs::write(&path, "precious").unwrap();
        let error = AdminSocket::open(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        for open in [0o777, 0o1777, 0o720] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(open)).unwrap();
            let error = AdminSocket::open(&path).unwrap_err();
            assert!(matches!(error, SocketError::DirectoryOpen(_)), "{error}");
        }
        // Readable by others, as a service manager makes it, is fine.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(AdminSocket::open(&path).is_ok());
    }
}
