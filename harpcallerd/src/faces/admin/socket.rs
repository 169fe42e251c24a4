//! The socket's file: private, one daemon's alone, gone with it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use harp_service::private_file;
use harp_service::unix_socket::{BindError, Permissions, SocketFile};

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
    _file: SocketFile,
}

impl AdminSocket {
    /// Opens the socket with mode 0600. Makes its directory if it is missing, replaces a
    /// file that a daemon has left behind. Blocks, up to 2 s while another daemon opens the
    /// same socket.
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
        let permissions = Permissions {
            mode: 0o600,
            owner: None,
            group: None,
        };
        let bound = SocketFile::bind(path, permissions);
        let (listener, file) = bound.map_err(|error| match error {
            BindError::InUse => SocketError::AlreadyRunning(path.to_owned()),
            BindError::NotASocket => SocketError::NotASocket(path.to_owned()),
            BindError::Io(error) => failed(error),
        })?;
        Ok((AdminSocket { _file: file }, listener))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
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

    #[test]
    fn a_directory_of_everybodys_and_other_files_are_refused() {
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
