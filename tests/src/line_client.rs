//! A client of the dispatcher over TLS or a Unix socket, that speaks plain lines.

use std::fmt::{self, Display};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::certificates::{Authority, HostCertificate};
use crate::wait::PATIENCE;

/// One connection.
pub struct LineClient {
    stream: BufReader<Box<dyn Stream>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl LineClient {
    /// Connects by plain TCP.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn plain(address: SocketAddr) -> io::Result<LineClient> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(LineClient::new(stream))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local(path: &Path) -> io::Result<LineClient> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(LineClient::new(stream))
    }

    /// Connects by TLS to a dispatcher whose certificate an authority has signed, with a
    /// certificate of its own or without.
    ///
    /// # Errors
    ///
    /// The handshake failed, as far as the client can see: that its own certificate is
    /// refused, it may only learn when it reads.
    pub fn tls(
        address: SocketAddr,
        authority: &Authority,
        own: Option<&HostCertificate>,
    ) -> io::Result<LineClient> {
        let config = authority.client(own);
        let name = ServerName::from(address.ip());
        let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(LineClient::new(stream))
    }

    fn new(stream: impl Read + Write + 'static) -> LineClient {
        LineClient {
            stream: BufReader::new(Box::new(stream)),
        }
    }

    /// Sends a line, its end added, and returns the next one that comes.
    ///
    /// # Errors
    ///
    /// The connection is closed or broken.
    pub fn ask(&mut self, line: impl Display) -> io::Result<Value> {
        self.send(line)?;
        self.line()
    }

    /// Sends a line, its end added.
    ///
    /// # Errors
    ///
    /// The connection is closed or broken.
    pub fn send(&mut self, line: impl Display) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\n").as_bytes())?;
        stream.flush()
    }

    /// The next line.
    ///
    /// # Errors
    ///
    /// The connection is closed or broken.
    pub fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}

impl fmt::Debug for LineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineClient").finish_non_exhaustive()
    }
}
