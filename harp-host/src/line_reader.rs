//! Lines from a socket, with memory for them only while there are any.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes};
use harp_budget::Share;
use harp_proto::{LineBuffer, LineTooLong};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// How much one read takes from a socket, in bytes.
pub const READ_SIZE: usize = 64 * 1024;

/// How often the bytes of a large line are in memory while it is made use of: the line, what
/// is made of it, and that on its way to where it is kept.
const COPIES: usize = 3;

/// A connection that bytes can be taken from into a buffer, which is not touched while
/// there are none.
pub trait Source {
    /// Waits for bytes and appends what there are; 0 is the end of the connection.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        lines: &mut LineBuffer,
    ) -> Poll<io::Result<usize>>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        lines: &mut LineBuffer,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_fill(context, lines)
    }
}

/// The system's sockets have the same functions and no trait for them.
macro_rules! source {
    ($($socket:ty),*) => {$(
        impl Source for $socket {
            fn poll_fill(
                &mut self,
                context: &mut Context<'_>,
                lines: &mut LineBuffer,
            ) -> Poll<io::Result<usize>> {
                loop {
                    ready!(self.poll_read_ready(context))?;
                    match self.try_read_buf(&mut lines.space(READ_SIZE).limit(READ_SIZE)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                }
            }
        }
    )*};
}

source!(TcpStream, UnixStream);

impl<S: AsyncRead + AsyncWrite + Unpin> Source for TlsStream<S> {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        lines: &mut LineBuffer,
    ) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(self);
        if stream.as_mut().poll_fill_buf(context)?.is_pending() {
            // What TLS answers by itself, such as that it does not renegotiate, has to reach
            // the peer though nothing else is written. If it cannot, a read will tell why.
            if stream.get_ref().1.wants_write() {
                let _ = stream.as_mut().poll_flush(context);
            }
            return Poll::Pending;
        }
        let arrived = ready!(stream.as_mut().poll_fill_buf(context))?;
        let length = arrived.len();
        lines.space(length).extend_from_slice(arrived);
        stream.consume(length);
        Poll::Ready(Ok(length))
    }
}

/// Reads whole lines from a connection. Holds at most one line of the greatest length
/// and one read beyond it.
#[derive(Debug)]
pub struct LineReader<S> {
    source: S,
    lines: LineBuffer,
    heard: Instant,
    /// What large lines hold of a budget, if there is one.
    share: Option<Share>,
    /// A large line that waits for the memory of what is made of it.
    whole: Option<Bytes>,
}

/// Why there is no next line.
#[derive(Debug)]
pub enum LineError {
    /// The peer ended the connection, perhaps in the middle of a line.
    Closed,
    /// The line is over the limit. Nothing behind it can be read.
    TooLong(LineTooLong),
    /// The line is large, and its memory went to another that waited: the peer was too slow
    /// with it.
    GaveWay,
    /// The connection broke.
    Io(io::Error),
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> LineError {
        LineError::Io(error)
    }
}

impl<S: Source> LineReader<S> {
    /// Reads lines of at most `limit` bytes.
    pub fn new(source: S, limit: usize) -> LineReader<S> {
        LineReader {
            source,
            lines: LineBuffer::new(limit),
            heard: Instant::now(),
            share: None,
            whole: None,
        }
    }

    /// When bytes came last, before that when it was made; now, while it is not the peer that
    /// is waited for but memory.
    #[must_use]
    pub fn heard(&self) -> Instant {
        if self.share.as_ref().is_some_and(Share::is_waiting) {
            Instant::now()
        } else {
            self.heard
        }
    }

    /// Has large lines hold their bytes of a budget from now on: those beyond one read. While
    /// there are none to be had, nothing is read. A line holds them until the next one is
    /// asked for.
    pub fn set_share(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// What the last line holds, if it is large.
    pub fn take_share(&mut self) -> Option<Share> {
        self.share.take().filter(Share::is_held)
    }

    /// The connection, to look at.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// True if bytes have arrived that are not taken yet.
    pub fn has_partial_line(&self) -> bool {
        self.lines.has_partial_line()
    }

    /// The bytes that have arrived and are not taken yet.
    pub fn held(&self) -> &[u8] {
        self.lines.held()
    }

    /// The connection, to write to.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The connection, without what has arrived of it and was not taken.
    pub fn into_source(self) -> S {
        self.source
    }

    /// Drops what has been read and is no whole line. Only the connection itself is of use
    /// afterwards.
    pub fn forget_lines(&mut self) {
        self.lines = LineBuffer::new(0);
        self.share = None;
    }

    /// The next line. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`LineError`], also for every later line.
    pub async fn next(&mut self) -> Result<Bytes, LineError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next line if it has arrived, without waiting.
    pub fn next_arrived(&mut self) -> Option<Result<Bytes, LineError>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.poll_next(&mut context) {
            Poll::Ready(line) => Some(line),
            Poll::Pending => None,
        }
    }

    /// Lets `look` see the lines that have been read already, one after the other, and
    /// removes each for which it is true, up to the first for which it is not.
    pub fn take_read(&mut self, mut look: impl FnMut(&[u8]) -> bool) {
        // A line over the limit is found again by `next`.
        while let Ok(Some(())) = self.lines.next_line_if(|line| look(line).then_some(())) {}
    }

    /// Polls for what [`LineReader::next`] waits for.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, LineError>> {
        if let Some(share) = &mut self.share
            && share.is_whole()
        {
            share.release();
        }
        loop {
            if let Some(share) = &mut self.share
                && let Some(line) = &self.whole
            {
                if ready!(share.poll_hold(context, COPIES * line.len())).is_err() {
                    return Poll::Ready(Err(LineError::GaveWay));
                }
                share.settle();
            }
            if let Some(line) = self.whole.take() {
                return Poll::Ready(Ok(line));
            }
            match self.lines.next_line() {
                Ok(Some(line)) if self.share.as_ref().is_some_and(Share::is_held) => {
                    self.whole = Some(line);
                    continue;
                }
                Ok(Some(line)) => return Poll::Ready(Ok(line)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(LineError::TooLong(error))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => return Poll::Ready(Err(LineError::Closed)),
                Ok(_) => self.heard = Instant::now(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once, as soon as there is memory for it.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, LineError>> {
        let Some(share) = &mut self.share else {
            return self
                .source
                .poll_fill(context, &mut self.lines)
                .map_err(LineError::Io);
        };
        if let Some(bytes) = self.lines.demand(READ_SIZE) {
            let has_waited = share.is_waiting();
            if ready!(share.poll_hold(context, bytes)).is_err() {
                return Poll::Ready(Err(LineError::GaveWay));
            }
            if has_waited {
                self.heard = Instant::now();
            }
        }
        let read = self.source.poll_fill(context, &mut self.lines);
        match &read {
            Poll::Ready(Ok(count)) => share.moved(*count),
            Poll::Pending if share.poll_gave_way(context).is_ready() => {
                return Poll::Ready(Err(LineError::GaveWay));
            }
            _ => {}
        }
        read.map_err(LineError::Io)
    }
}
