//! The user at the other end of a Unix socket, as the system knows it.

use std::io;

use harp_jobs::client::{Identity, Peer};
use nix::errno::Errno;
use nix::unistd::{Uid, User};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Names of users that are being looked up at once, each in a thread that blocks.
static LOOK_UPS: Semaphore = Semaphore::const_new(16);

/// The user at the other end, as the system knows it.
///
/// # Errors
///
/// If the system does not know the peer any more.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let peer = stream.peer_cred()?;
    Ok(Peer::Local {
        uid: peer.uid(),
        pid: peer.pid(),
    })
}

/// The identity of the user behind a Unix socket; `None` for a peer of the network. Looking
/// up the name can mean asking a server: it takes as long as that does, or as those before
/// it. Cancel safe.
///
/// # Errors
///
/// If it cannot be found out at present whether the user has a name.
pub async fn identity(peer: Peer) -> io::Result<Option<Identity>> {
    let Peer::Local { uid, .. } = peer else {
        return Ok(None);
    };
    let place = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let looking = tokio::task::spawn_blocking(move || {
        let found = User::from_uid(Uid::from_raw(uid));
        let identity = named(uid, found.map(|user| user.map(|user| user.name)));
        // Not before: a thread that hangs goes on when nobody waits for it any more.
        drop(place);
        identity
    });
    looking.await.map_err(io::Error::other)?.map(Some)
}

fn named(uid: u32, found: Result<Option<String>, Errno>) -> io::Result<Identity> {
    Ok(match found? {
        Some(name) => Identity::of_user(&name),
        None => Identity::of_nameless_user(uid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_look_up_makes_no_other_identity() {
        let name = |found| named(7, found).map(|identity| identity.as_str().to_owned());
        assert_eq!(name(Ok(Some("alice".to_owned()))).unwrap(), "uid:alice");
        // A user may have a number for a name.
        assert_eq!(name(Ok(Some("7".to_owned()))).unwrap(), "uid:7");
        assert_eq!(name(Ok(None)).unwrap(), "uid:#7");
        assert!(name(Err(Errno::EMFILE)).is_err());
    }
}
