//! An administrator's end of the socket. Nobody is hurried: whoever may connect here may
//! end the daemon anyway.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UnixStream;

use crate::session::{Connection, Patience, ReadError};

/// Longest line of a request: far more than the longest name of a queue.
pub(super) const LONGEST_REQUEST: usize = 64 * 1024;

/// As good as for ever: a list may stand in a pager over night.
const ENDLESS: Duration = Duration::from_secs(365 * 86400);

/// The connection.
#[derive(Debug)]
pub(super) struct Administrator(Connection<UnixStream>);

impl Administrator {
    pub(super) fn new(socket: UnixStream) -> Administrator {
        Administrator(Connection::new(socket, LONGEST_REQUEST))
    }

    /// The next request; `None` at the end of the input.
    pub(super) async fn next_line(&mut self) -> Result<Option<Bytes>, ReadError> {
        let patience = Patience {
            begin: ENDLESS,
            end: ENDLESS,
        };
        self.0.next_line(patience).await
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes, ENDLESS).await
    }

    /// Says that nothing follows.
    pub(super) async fn close(mut self) {
        self.0.close().await;
    }
}
