//! One connection to a peer that listens.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::SocketType;
use crate::command::{Command, Ready};
use crate::decoder::{Decoder, Item};
use crate::greeting::Greeting;
use crate::message::{write_command, write_message};
use crate::violation::Violation;

/// Bytes for which there is room before each read.
const READ: usize = 16 * 1024;

/// Bytes of answers to a peer that asks whether we are there and takes none of them.
const MAX_PONGS: usize = 64 * 1024;

/// Why a connection cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer has closed it.
    #[error("it closed the connection")]
    Closed,
    /// It sent what it must not.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// It refuses the connection.
    #[error("it refused the connection: {0}")]
    Refused(String),
    /// Its socket is of a type that is not meant.
    #[error("a {peer} socket listens there; {wanted} cannot talk to it")]
    WrongPeer {
        /// The type of its socket.
        peer: String,
        /// The type of ours.
        wanted: &'static str,
    },
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    decoder: Decoder,
    /// What waits to be written.
    out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Does the handshake. A message of the peer may have `limit` bytes at most. Bounded in
    /// time by whoever waits: dropping the future gives the connection up.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn open(stream: S, socket: SocketType, limit: usize) -> Result<Self, Error> {
        let mut connection = Connection {
            stream,
            decoder: Decoder::new(limit),
            out: BytesMut::new(),
        };
        connection.out.extend_from_slice(&Greeting::ours());
        loop {
            match connection.item().await? {
                Item::Greeting(_) => {
                    write_command("READY", &Ready::ours(socket), &mut connection.out);
                }
                Item::Command(Command::Ready(ready)) => {
                    if !socket.fits(&ready.socket_type) {
                        return Err(Error::WrongPeer {
                            peer: printable(&ready.socket_type),
                            wanted: socket.as_str(),
                        });
                    }
                    connection.flush().await?;
                    return Ok(connection);
                }
                Item::Command(Command::Error(why)) => return Err(Error::Refused(printable(&why))),
                Item::Command(_) => {}
                Item::Message(_) => return Err(Violation::Frame.into()),
            }
        }
    }

    /// Wants messages whose first frame begins with this; all of them if it is empty. For a
    /// SUB socket. Cancel safe, as [`Connection::send`] is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let message = [&[1], prefix].concat();
        self.send(&[&message]).await
    }

    /// Sends a message of these parts. Completes when the system has it all. Cancel safe: what
    /// is left goes out with whatever is done next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        write_message(parts, &mut self.out);
        self.flush().await
    }

    /// The next message: its frames. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn receive(&mut self) -> Result<Vec<Bytes>, Error> {
        loop {
            if let Some(parts) = self.arrived()? {
                return Ok(parts);
            }
            self.read().await?;
        }
    }

    /// The next message, if it has been read whole.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn arrived(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        while let Some(item) = self.decoder.next()? {
            match item {
                Item::Message(parts) => return Ok(Some(parts)),
                Item::Command(Command::Ping(context)) => {
                    if self.out.len() > MAX_PONGS {
                        return Err(Violation::Command.into());
                    }
                    write_command("PONG", &context, &mut self.out);
                }
                Item::Command(Command::Error(why)) => return Err(Error::Refused(printable(&why))),
                Item::Command(_) | Item::Greeting(_) => {}
            }
        }
        Ok(None)
    }

    /// Bytes that have been read and are no whole message yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.decoder.unfinished()
    }

    /// Reads once: how many bytes, at least one. Writes what waits meanwhile. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Closed`].
    pub async fn read(&mut self) -> Result<usize, Error> {
        let bytes = self.decoder.bytes();
        loop {
            bytes.reserve(READ);
            let read = if self.out.is_empty() {
                self.stream.read_buf(bytes).await?
            } else {
                let (mut reading, mut writing) = tokio::io::split(&mut self.stream);
                tokio::select! {
                    read = reading.read_buf(bytes) => read?,
                    written = writing.write_buf(&mut self.out) => {
                        written?;
                        continue;
                    }
                }
            };
            return if read == 0 {
                Err(Error::Closed)
            } else {
                Ok(read)
            };
        }
    }

    /// The next item. Cancel safe.
    async fn item(&mut self) -> Result<Item, Error> {
        loop {
            if let Some(item) = self.decoder.next()? {
                return Ok(item);
            }
            self.read().await?;
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while !self.out.is_empty() {
            if self.stream.write_buf(&mut self.out).await? == 0 {
                return Err(Error::Closed);
            }
        }
        Ok(self.stream.flush().await?)
    }
}

/// The beginning of a peer's word, for people.
fn printable(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(&word[..word.len().min(200)]);
    word.chars().filter(|char| !char.is_control()).collect()
}
