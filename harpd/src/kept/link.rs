//! The bytes of one connection of `harp/2`: lines in, and what is to be sent out. It reads
//! while it cannot write.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use harp_proto::host::kept::Message;
use harp_proto::{LineBuffer, LineTooLong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

/// Read from the socket at once, in bytes.
const READ_SIZE: usize = 8192;

/// A connection.
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    lines: LineBuffer,
    out: BytesMut,
    unflushed: bool,
    /// Time at which something was sent last, or began to wait to be.
    moved_at: Instant,
}

/// What happens on it.
#[derive(Debug)]
pub enum LinkEvent {
    /// A line has come.
    Line(Bytes),
    /// A line that is too long.
    TooLong(LineTooLong),
    /// Bytes have come that are no whole line yet.
    Part,
    /// Something was sent.
    Sent,
    /// The other end has closed its side, or the connection is dead.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A connection on which nothing was read yet.
    pub fn new(stream: S, line_limit: usize) -> Link<S> {
        Link {
            stream,
            lines: LineBuffer::new(line_limit),
            out: BytesMut::new(),
            unflushed: false,
            moved_at: Instant::now(),
        }
    }

    /// Lines may be so long from now on.
    pub fn set_line_limit(&mut self, limit: usize) {
        self.lines.set_limit(limit);
    }

    /// Bytes of a line that is not whole yet.
    pub fn partial_length(&self) -> usize {
        self.lines.partial_length()
    }

    /// Bytes that wait to be sent.
    pub fn unsent(&self) -> usize {
        self.out.len()
    }

    /// True if nothing waits to be sent.
    pub fn is_quiet(&self) -> bool {
        !self.unflushed
    }

    /// For how long what waits to be sent has not moved; zero if nothing waits.
    pub fn stuck_for(&self) -> Duration {
        if self.unflushed {
            self.moved_at.elapsed()
        } else {
            Duration::ZERO
        }
    }

    /// Puts a message behind what waits. Between two lines only.
    pub fn send(&mut self, message: &Message) {
        self.add(|out| message.encode(out));
    }

    /// Lets `add` put bytes behind what waits.
    pub fn add<T>(&mut self, add: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.out.len();
        let added = add(&mut self.out);
        if self.out.len() > before {
            if !self.unflushed {
                self.moved_at = Instant::now();
            }
            self.unflushed = true;
        }
        added
    }

    /// Nothing more is to be read here: the connection, and what waits to be sent.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.out)
    }

    /// The connection, to look at.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends, reads if it `reads`, and returns what happens next. Cancel safe.
    pub async fn event(&mut self, reads: bool) -> LinkEvent {
        poll_fn(|context| self.poll_event(context, reads)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<LinkEvent> {
        let mut has_sent = false;
        while self.unflushed {
            match self.poll_send(context) {
                Poll::Ready(Ok(())) => has_sent = true,
                Poll::Ready(Err(_)) => return Poll::Ready(LinkEvent::Closed),
                Poll::Pending => break,
            }
        }
        if reads {
            match self.lines.next_line() {
                Ok(Some(line)) => return Poll::Ready(LinkEvent::Line(line)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(LinkEvent::TooLong(error)),
            }
            let mut space = [0; READ_SIZE];
            let mut space = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut space) {
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                    let count = space.filled().len();
                    self.lines.space(count).extend_from_slice(space.filled());
                    return match self.lines.next_line() {
                        Ok(Some(line)) => Poll::Ready(LinkEvent::Line(line)),
                        Ok(None) => Poll::Ready(LinkEvent::Part),
                        Err(error) => Poll::Ready(LinkEvent::TooLong(error)),
                    };
                }
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(LinkEvent::Closed),
                Poll::Pending => {}
            }
        }
        if has_sent {
            Poll::Ready(LinkEvent::Sent)
        } else {
            Poll::Pending
        }
    }

    /// One step of sending.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        if self.out.is_empty() {
            let flushed = std::task::ready!(stream.poll_flush(context));
            self.unflushed = false;
            if self.out.capacity() > 4 * READ_SIZE {
                self.out = BytesMut::new();
            }
            return Poll::Ready(flushed);
        }
        let sent = std::task::ready!(stream.poll_write(context, &self.out))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.out.advance(sent);
        self.moved_at = Instant::now();
        Poll::Ready(Ok(()))
    }
}
