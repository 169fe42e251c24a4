//! Listening on a Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// A Unix socket as the configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPlace {
    /// Where it is.
    pub path: PathBuf,
    /// Who may connect, as permission bits.
    pub mode: u32,
    /// The file's owner, a name or a number; the daemon's own user without it.
    pub owner: Option<String>,
    /// The file's group, likewise.
    pub group: Option<String>,
}

/// The socket's file, which is taken away when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl UnixPlace {
    /// Opens the socket. A file that a daemon left behind, which nobody listens on, is
    /// replaced. Nobody can connect before owner and mode are set.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message; also if somebody listens there,
    /// or the file is no socket.
    pub fn bind(&self) -> io::Result<(UnixListener, SocketFile)> {
        self.try_bind().map_err(|error| {
            let path = self.path.display();
            io::Error::new(error.kind(), format!("cannot listen on {path}: {error}"))
        })
    }

    fn try_bind(&self) -> io::Result<(UnixListener, SocketFile)> {
        let owner = self.owner.as_deref().map(user_number).transpose()?;
        let group = self.group.as_deref().map(group_number).transpose()?;
        remove_stale(&self.path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&self.path)?)?;
        let file = SocketFile {
            inode: fs::symlink_metadata(&self.path)?.ino(),
            path: self.path.clone(),
        };
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::chown(&self.path, owner, group)?;
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode))?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        Ok((UnixListener::from_std(socket.into())?, file))
    }
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another daemon may have put its own there by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of this name that is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        // Nobody has it open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn user_number(user: &str) -> io::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let found = User::from_name(user)?;
    found
        .map(|user| user.uid.as_raw())
        .ok_or_else(|| io::Error::other(format!("there is no user {user:?}")))
}

fn group_number(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = Group::from_name(group)?.map(|group| group.gid);
    found
        .map(Gid::as_raw)
        .ok_or_else(|| io::Error::other(format!("there is no group {group:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path) -> UnixPlace {
        UnixPlace {
            path: path.to_owned(),
            mode: 0o640,
            owner: None,
            group: None,
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        // What a daemon that was killed leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, file) = place(&path).bind().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        let error = place(&path).bind().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn no_other_file_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, "dear").unwrap();
        assert!(place(&path).bind().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"dear");
    }

    #[tokio::test]
    async fn unknown_owners_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let place = UnixPlace {
            owner: Some("no-such-user".to_owned()),
            ..place(&directory.path().join("s"))
        };
        let error = place.bind().unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
        assert!(!place.path.exists());
    }
}
