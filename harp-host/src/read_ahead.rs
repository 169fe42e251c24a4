//! Reads from a socket that are larger than the TLS library asks for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::line_reader::READ_SIZE;

/// A TCP connection that is read [`READ_SIZE`] at a time: rustls asks for 4 KiB, four
/// system calls for each full TLS record. Holds no memory while nothing arrives.
#[derive(Debug)]
pub struct ReadAhead {
    socket: TcpStream,
    arrived: BytesMut,
}

impl ReadAhead {
    /// The near end of the connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Nothing has been read of the connection before.
    pub fn new(socket: TcpStream) -> ReadAhead {
        ReadAhead {
            socket,
            arrived: BytesMut::new(),
        }
    }

    /// The connection itself.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// True if bytes have been taken from the socket that nobody has read.
    pub fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.arrived.is_empty() {
            ready!(self.socket.poll_read_ready(context))?;
            self.arrived.reserve(READ_SIZE);
            match self.socket.try_read_buf(&mut self.arrived) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_arrived(context))?;
        let length = this.arrived.len().min(into.remaining());
        into.put_slice(&this.arrived[..length]);
        this.arrived.advance(length);
        if this.arrived.is_empty() {
            this.arrived = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
