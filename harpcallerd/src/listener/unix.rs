//! Listening on a Unix socket.

use std::io;
use std::os::unix::net;
use std::path::PathBuf;

use harp_service::unix_socket::{BindError, Permissions, SocketFile};
use nix::unistd::{Gid, Group, User};
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;

/// A Unix socket as the configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPlace {
    /// Path of the socket.
    pub path: PathBuf,
    /// Permission bits, which decide which users may connect.
    pub mode: u32,
    /// The file's owner, a name or a number; the daemon's own user without it.
    pub owner: Option<String>,
    /// The file's group, likewise.
    pub group: Option<String>,
}

impl UnixPlace {
    /// Opens the socket. A file that a daemon left behind, which nobody listens on, is
    /// replaced. Nobody can connect before owner and mode are set. Dropping the future lets
    /// the opening end on its thread, and the socket is closed then.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message; also if somebody listens there,
    /// or the file is no socket.
    pub async fn bind(&self) -> io::Result<(UnixListener, SocketFile)> {
        let place = self.clone();
        let opening = spawn_blocking(move || place.open());
        let opened = opening.await.map_err(io::Error::other)?;
        opened
            .and_then(|(listener, file)| {
                listener.set_nonblocking(true)?;
                Ok((UnixListener::from_std(listener)?, file))
            })
            .map_err(|error| {
                let path = self.path.display();
                io::Error::new(error.kind(), format!("cannot listen on {path}: {error}"))
            })
    }

    fn open(&self) -> io::Result<(net::UnixListener, SocketFile)> {
        let permissions = Permissions {
            mode: self.mode,
            owner: self.owner.as_deref().map(user_number).transpose()?,
            group: self.group.as_deref().map(group_number).transpose()?,
        };
        SocketFile::bind(&self.path, permissions).map_err(|error| {
            let kind = match error {
                BindError::InUse => io::ErrorKind::AddrInUse,
                BindError::NotASocket => io::ErrorKind::AlreadyExists,
                BindError::Io(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && self.gives_away() =>
                {
                    return io::Error::new(error.kind(), self.cannot_give(&error));
                }
                BindError::Io(error) => return error,
            };
            io::Error::new(kind, error.to_string())
        })
    }

    fn gives_away(&self) -> bool {
        self.owner.is_some() || self.group.is_some()
    }

    /// The system lets only root give a file to another user, and others only to a group that
    /// they are in.
    fn cannot_give(&self, error: &io::Error) -> String {
        let Some(group) = self.group.as_ref().filter(|_| self.owner.is_none()) else {
            return format!("{error}: only a dispatcher that runs as root can set `owner`");
        };
        format!(
            "{error}: the dispatcher's user has to be in the group {group} to give it the socket; \
             under systemd: systemctl edit harpcallerd, with the lines [Service] and \
             SupplementaryGroups={group}"
        )
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
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

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
        let (_listener, file) = place(&path).bind().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        let error = place(&path).bind().await.unwrap_err();
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
        assert!(place(&path).bind().await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"dear");
    }

    #[tokio::test]
    async fn unknown_owners_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let place = UnixPlace {
            owner: Some("no-such-user".to_owned()),
            ..place(&directory.path().join("s"))
        };
        let error = place.bind().await.unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
        assert!(!place.path.exists());
    }
    #[test]
    fn who_may_not_give_it_away_is_told_what_lacks() {
        let refused = io::Error::from_raw_os_error(1);
        let of = |owner: Option<&str>, group: Option<&str>| {
            let place = UnixPlace {
                owner: owner.map(str::to_owned),
                group: group.map(str::to_owned),
                ..place(Path::new("/run/s"))
            };
            place.cannot_give(&refused)
        };
        let told = of(None, Some("www-data"));
        assert!(told.contains("SupplementaryGroups=www-data"), "{told}");
        let told = of(Some("shop"), Some("www-data"));
        assert!(told.contains("root can set `owner`"), "{told}");
    }
}
