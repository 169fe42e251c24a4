//! Socket of a connection to the dispatcher: plain or TLS.

use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use harp_host::line_reader::Source;
use harp_host::read_ahead::ReadAhead;
use harp_proto::LineBuffer;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
#[cfg(feature = "worker")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::{Encrypted, Protection};

/// Plain TCP, TLS over it, or a Unix socket. Dropping it closes it.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<ReadAhead>>),
    Unix(UnixStream),
}

/// Bytes both ways.
#[cfg(feature = "worker")]
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

#[cfg(feature = "worker")]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Socket {
    /// The bytes that go over it, for those who do not read lines.
    #[cfg(feature = "worker")]
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        match self {
            Socket::Plain(tcp) => Box::new(tcp),
            Socket::Tls(stream) => stream,
            Socket::Unix(socket) => Box::new(socket),
        }
    }

    /// Does the TLS handshake, where there is to be one. Dropping the future closes the
    /// connection.
    pub(super) async fn open(tcp: TcpStream, transport: &Protection) -> io::Result<Socket> {
        match transport {
            Protection::Plain => Ok(Socket::Plain(tcp)),
            Protection::Tls(encrypted) => {
                let stream = encrypted.handshake(tcp).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// Dropping the future leaves the line half written: the connection is of no use then.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Plain(tcp) => tcp.write_all(bytes).await,
            Socket::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Socket::Unix(socket) => socket.write_all(bytes).await,
        }
    }

    /// True if nothing has come, not even the end: asks the system, whose answer is newer
    /// than what the runtime has seen.
    pub(super) fn is_quiet(&self) -> bool {
        let socket = match self {
            Socket::Plain(tcp) => SockRef::from(tcp),
            Socket::Unix(socket) => SockRef::from(socket),
            Socket::Tls(stream) => {
                let (below, session) = stream.get_ref();
                // What the session has decrypted has been read: a task that waits for a line
                // reads all there is.
                if below.has_arrived() || session.is_handshaking() {
                    return false;
                }
                SockRef::from(below.socket())
            }
        };
        let peeked = socket.peek(&mut [MaybeUninit::uninit(); 1]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Encrypted {
    async fn handshake(&self, tcp: TcpStream) -> io::Result<TlsStream<ReadAhead>> {
        let peer = tcp.peer_addr()?;
        // Looked at when the client was set up.
        let name = self
            .endpoint
            .server_name(peer.ip())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // As late as can be, so that it is the trust of now that decides.
        let config = self
            .trust
            .client_config(&self.endpoint)
            .await
            .map_err(io::Error::other)?;
        TlsConnector::from(config)
            .connect(name, ReadAhead::new(tcp))
            .await
    }
}

impl Source for Socket {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        lines: &mut LineBuffer,
    ) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(tcp) => tcp.poll_fill(context, lines),
            Socket::Tls(stream) => stream.poll_fill(context, lines),
            Socket::Unix(socket) => socket.poll_fill(context, lines),
        }
    }
}
