//! A socket whose peer may be as slow as it likes, but not take nothing at all for long; and
//! which is closed so that the last answer is not overtaken by a reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::Pace;

/// How long input is discarded behind the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// The socket.
#[derive(Debug)]
pub(super) struct Stalling<S> {
    socket: S,
    /// How long the peer may take nothing of what is sent.
    write_timeout: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while input is discarded.
    lingering: Option<Pin<Box<Sleep>>>,
    pace: Arc<Pace>,
}

impl<S> Stalling<S> {
    pub(super) fn new(socket: S, write_timeout: Duration, pace: Arc<Pace>) -> Stalling<S> {
        Stalling {
            socket,
            write_timeout,
            stalled: None,
            lingering: None,
            pace,
        }
    }

    /// Passes on what a write came to; an error if it has come to nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let until = || Box::pin(sleep_until(Instant::now() + self.write_timeout));
        let stalled = self.stalled.get_or_insert_with(until);
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.pace.has_come();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.unless_stalled(context, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_write_vectored(context, parts);
        this.unless_stalled(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_flush(context);
        this.unless_stalled(context, done)
    }

    /// Says that nothing follows, and discards what the peer still sends for a while: input
    /// that nobody reads makes the system answer with a reset, which can take the answer away.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let done = Pin::new(&mut this.socket).poll_shutdown(context);
            ready!(this.unless_stalled(context, done))?;
        }
        let until = || Box::pin(sleep_until(Instant::now() + LINGER));
        let lingering = this.lingering.get_or_insert_with(until);
        let mut dropped = [0; 4096];
        while lingering.as_mut().poll(context).is_pending() {
            let mut dropped = ReadBuf::new(&mut dropped);
            match ready!(Pin::new(&mut this.socket).poll_read(context, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
