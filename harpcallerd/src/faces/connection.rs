//! A client's socket with its line buffer.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use harp_budget::{GaveWay, Share};
use harp_proto::LineBuffer;
use harp_time::{Limit, within};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::ioctl_fionread;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;

/// Bytes asked of the socket at once. Most requests are shorter.
const READ: usize = 4 * 1024;

/// How often the bytes of a large request are in memory while it is made use of: the line,
/// the call that is made of it, its record, and that on its way to the disk.
pub const COPIES: usize = 4;

/// How long input is discarded after the last line, so that a reset does not overtake it
/// (client protocol, section 1).
const LINGER: Duration = Duration::from_secs(1);

/// Does input or output within so much time in which this process ran.
async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let done = within(Instant::now() + patience, work).await;
    done.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// A connected client, whatever the transport.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Completes when the connection is found broken, which a peer that has only shut
    /// its sending side is not. Cancel safe.
    fn broken(&self) -> impl Future<Output = ()> + Send;

    /// True if closing it now loses nothing that has been written, and ends the output as
    /// it has to be ended. Unread input makes the system answer with a reset instead.
    fn may_be_dropped(&self) -> bool;
}

impl Socket for TcpStream {
    async fn broken(&self) {
        // An error here means that the socket cannot even be watched any more.
        let _ = self.ready(Interest::ERROR).await;
    }

    fn may_be_dropped(&self) -> bool {
        ioctl_fionread(self).is_ok_and(|unread| unread == 0)
    }
}

/// In a box, since it is larger than all the rest of a session.
impl Socket for Box<TlsStream<TcpStream>> {
    async fn broken(&self) {
        self.get_ref().0.broken().await;
    }

    fn may_be_dropped(&self) -> bool {
        // The client is told that this is the end, and not a connection that was cut.
        false
    }
}

impl Socket for UnixStream {
    /// Looked at once a second: the runtime tells of no hang-up alone.
    async fn broken(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            let mut looked = [PollFd::new(self, PollFlags::empty())];
            let found = poll(&mut looked, Some(&rustix::event::Timespec::default()));
            let gone = PollFlags::HUP | PollFlags::ERR;
            if found.is_ok() && looked[0].revents().intersects(gone) {
                return;
            }
            sleep(EVERY).await;
        }
    }

    fn may_be_dropped(&self) -> bool {
        ioctl_fionread(self).is_ok_and(|unread| unread == 0)
    }
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection<S> {
    socket: S,
    lines: LineBuffer,
    /// What a large line holds of a budget; `None` for a client that needs to ask nobody.
    share: Option<Share>,
    /// A large line that waits for the memory of what is made of it.
    whole: Option<Bytes>,
}

/// Why there is no next line.
#[derive(Debug)]
pub enum ReadError {
    /// It is longer than allowed.
    TooLong,
    /// It was begun and not ended in time.
    TooSlow,
    /// It is large, and was too slow while others waited for its memory.
    GaveWay,
    /// None was begun in time.
    Idle,
    /// The connection broke.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl From<GaveWay> for ReadError {
    fn from(_: GaveWay) -> ReadError {
        ReadError::GaveWay
    }
}

/// How long a client may take for a line.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until its first byte.
    pub begin: Duration,
    /// From its first byte to its last.
    pub end: Duration,
}

impl<S: Socket> Connection<S> {
    /// A connection whose lines are at most `longest_line` bytes.
    pub fn new(socket: S, longest_line: usize) -> Connection<S> {
        Connection {
            socket,
            lines: LineBuffer::new(longest_line),
            share: None,
            whole: None,
        }
    }

    /// Has large lines hold their bytes of a budget from now on, each until
    /// [`Connection::release`] or the next line is asked for. While there are none to be had
    /// nothing is read, and the client's time stands still.
    pub fn set_share(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// Gives back what the last line holds of the budget.
    pub fn release(&mut self) {
        if let Some(share) = &mut self.share {
            share.release();
        }
    }

    /// The next line, or `None` at the end of the input; a last line without its end is
    /// no line. Cancel safe.
    pub async fn next_line(&mut self, patience: Patience) -> Result<Option<Bytes>, ReadError> {
        if self.whole.is_none() {
            self.release();
        }
        let mut limit = Limit::until(Instant::now() + patience.begin);
        let mut is_begun = false;
        loop {
            if let Some(share) = &mut self.share
                && let Some(line) = &self.whole
            {
                share.hold(COPIES * line.len()).await?;
                share.settle();
            }
            if let Some(line) = self.whole.take() {
                return Ok(Some(line));
            }
            match self.lines.next_line() {
                Ok(Some(line)) if self.share.as_ref().is_some_and(Share::is_held) => {
                    self.whole = Some(line);
                    continue;
                }
                Ok(Some(line)) => return Ok(Some(line)),
                Ok(None) => {}
                Err(_) => return Err(ReadError::TooLong),
            }
            if !is_begun && self.lines.has_partial_line() {
                is_begun = true;
                limit = Limit::until(Instant::now() + patience.end);
            }
            if let Some(bytes) = self.lines.demand(READ)
                && let Some(share) = &mut self.share
            {
                let asked = Instant::now();
                share.hold(bytes).await?;
                if is_begun {
                    limit = Limit::until(limit.end() + asked.elapsed());
                }
            }
            match limit.keep(self.read()).await {
                Some(Ok(0)) => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None if is_begun => return Err(ReadError::TooSlow),
                None => return Err(ReadError::Idle),
            }
        }
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self) -> Result<usize, ReadError> {
        let Some(share) = self.share.as_mut().filter(|share| share.is_held()) else {
            let mut space = self.lines.space(READ).limit(READ);
            return Ok(self.socket.read_buf(&mut space).await?);
        };
        // No more than is held.
        let room = share.held().saturating_sub(self.lines.partial_length());
        let mut space = self.lines.space(READ).limit(room.max(READ));
        let count = tokio::select! {
            biased;
            count = self.socket.read_buf(&mut space) => count?,
            () = share.gave_way() => return Err(ReadError::GaveWay),
        };
        share.moved(count);
        Ok(count)
    }

    /// Allows lines of another length from now on.
    pub fn set_longest_line(&mut self, longest_line: usize) {
        self.lines.set_limit(longest_line);
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the client takes nothing for so long; one that takes a little now and
    /// then may be as slow as it likes.
    pub async fn write(&mut self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = in_time(patience, self.socket.write(bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        in_time(patience, self.socket.flush()).await
    }

    /// Completes when the connection is found broken. Cancel safe.
    pub async fn broken(&self) {
        self.socket.broken().await;
    }

    /// Ends the connection after a reply or at the end of the input: at once, unless the
    /// client has sent more than was asked of it.
    pub async fn finish(&mut self) {
        if self.lines.has_partial_line() || !self.socket.may_be_dropped() {
            self.close().await;
        }
    }

    /// Says that nothing follows, and discards what the client may still be sending.
    pub async fn close(&mut self) {
        if self.socket.shutdown().await.is_ok() {
            let rest = async {
                let mut dropped = [0; 512];
                while self
                    .socket
                    .read(&mut dropped)
                    .await
                    .is_ok_and(|length| length > 0)
                {}
            };
            // Enough has been done for a client that goes on sending.
            let _ = timeout(LINGER, rest).await;
        }
    }
}
