//! An administrator's end of the socket. Nobody is hurried: whoever may connect here may
//! end the daemon anyway.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::client::{Client, Identity, Peer, Via};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::faces::connection::{Connection, Patience, ReadError};
use crate::identity::user;

/// Longest line of a request: far more than the longest name of a queue.
pub(super) const LONGEST_REQUEST: usize = 64 * 1024;

/// As good as for ever: a list may stand in a pager over night.
const ENDLESS: Duration = Duration::from_secs(365 * 86400);

/// How long the user's name is waited for: a name service that hangs keeps no administrator
/// from stopping the daemon.
const NAMING: Duration = Duration::from_secs(1);

/// The connection, and who is at its other end.
#[derive(Debug)]
pub(super) struct Administrator {
    connection: Connection<UnixStream>,
    client: Client,
}

impl Administrator {
    /// # Errors
    ///
    /// If the system does not know the peer any more.
    pub(super) fn new(socket: UnixStream) -> io::Result<Administrator> {
        let peer = user::peer(&socket)?;
        Ok(Administrator {
            connection: Connection::new(socket, LONGEST_REQUEST),
            client: Client::unknown(peer, Via::Administration, true),
        })
    }

    /// The administrator, with the user's name, or its number if the name cannot be found out in time.
    pub(super) async fn client(&mut self) -> Client {
        if self.client.identity.is_none() {
            let found = timeout(NAMING, user::identity(self.client.peer)).await;
            self.client.identity = match (found, self.client.peer) {
                (Ok(Ok(identity)), _) => identity,
                (_, Peer::Local { uid, .. }) => Some(Identity::of_nameless_user(uid)),
                (_, Peer::Network(_)) => None,
            };
        }
        self.client.clone()
    }

    /// The next request; `None` at the end of the input.
    pub(super) async fn next_line(&mut self) -> Result<Option<Bytes>, ReadError> {
        let patience = Patience {
            begin: ENDLESS,
            end: ENDLESS,
        };
        self.connection.next_line(patience).await
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.write(bytes, ENDLESS).await
    }

    /// Says that nothing follows.
    pub(super) async fn close(mut self) {
        self.connection.close().await;
    }
}
