//! A client's socket with its line buffer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::LineBuffer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes asked of the socket at once. Most requests are shorter.
const READ: usize = 4 * 1024;

/// How long input is discarded after the last line, so that a reset does not overtake it
/// (client protocol, section 1).
const LINGER: Duration = Duration::from_secs(1);

/// A connected client, whatever the transport.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Completes when the connection is found broken, which a peer that has only shut
    /// its sending side is not. Cancel safe.
    fn broken(&self) -> impl Future<Output = ()> + Send;
}

impl Socket for TcpStream {
    async fn broken(&self) {
        // An error here means that the socket cannot even be watched any more.
        let _ = self.ready(Interest::ERROR).await;
    }
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection<S> {
    socket: S,
    lines: LineBuffer,
}

/// Why there is no next line.
#[derive(Debug)]
pub enum ReadError {
    /// It is longer than allowed.
    TooLong,
    /// The connection broke.
    Io(io::Error),
}

impl<S: Socket> Connection<S> {
    /// A connection whose lines are at most `longest_line` bytes.
    pub fn new(socket: S, longest_line: usize) -> Connection<S> {
        Connection {
            socket,
            lines: LineBuffer::new(longest_line),
        }
    }

    /// The next line, or `None` at the end of the input; a last line without its end is
    /// no line. Cancel safe.
    pub async fn next_line(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => return Ok(Some(line)),
                Ok(None) => {}
                Err(_) => return Err(ReadError::TooLong),
            }
            let read = self.socket.read_buf(self.lines.space(READ)).await;
            if read.map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Completes when the connection is found broken. Cancel safe.
    pub async fn broken(&self) {
        self.socket.broken().await;
    }

    /// Says that nothing follows, and discards what the client may still be sending.
    pub async fn close(mut self) {
        if self.socket.shutdown().await.is_ok() {
            let mut nowhere = tokio::io::sink();
            let rest = tokio::io::copy(&mut self.socket, &mut nowhere);
            // Enough has been done for a client that goes on sending.
            let _ = timeout(LINGER, rest).await;
        }
    }
}
