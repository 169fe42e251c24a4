//! A fake host's side of one connection, before and inside TLS.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use super::Closing;
use crate::wait::PATIENCE;

/// One connection.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(BufReader<TcpStream>),
    Tls(BufReader<Box<StreamOwned<ServerConnection, TcpStream>>>),
    /// A handshake has failed.
    Nothing,
}

/// What a handshake has come to.
pub(super) struct Handshake {
    /// The version of TLS, as `TLSv1_3`.
    pub(super) version: String,
    /// Whether it resumed an earlier session.
    pub(super) resumed: bool,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Wire {
        // Longer than any test waits, so that no thread stays for ever.
        let patience: Duration = 2 * PATIENCE;
        socket
            .set_read_timeout(Some(patience))
            .expect("a time above zero");
        socket
            .set_write_timeout(Some(patience))
            .expect("a time above zero");
        socket.set_nodelay(true).expect("an option of every socket");
        Wire::Plain(BufReader::new(socket))
    }

    /// Does the handshake.
    pub(super) fn handshake(&mut self, config: &Arc<ServerConfig>) -> io::Result<Handshake> {
        let Wire::Plain(plain) = std::mem::replace(self, Wire::Nothing) else {
            panic!("a script does one handshake");
        };
        let mut socket = plain.into_inner();
        let mut tls = ServerConnection::new(Arc::clone(config)).expect("a good configuration");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let version = tls
            .protocol_version()
            .map_or(String::new(), |version| format!("{version:?}"));
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        *self = Wire::Tls(BufReader::new(Box::new(StreamOwned::new(tls, socket))));
        Ok(Handshake { version, resumed })
    }

    /// Waits for the first byte that has not been taken yet.
    pub(super) fn any_byte(&mut self) -> Result<(), Closing> {
        let read = self.reader().fill_buf().map(<[u8]>::is_empty);
        match read {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.end_of_file()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// A whole line without its end.
    pub(super) fn line(&mut self) -> Result<String, Closing> {
        let mut line = String::new();
        let read = self.reader().read_line(&mut line);
        match read {
            Ok(_) if line.ends_with('\n') => {
                line.pop();
                Ok(line)
            }
            Ok(_) => Err(self.end_of_file()),
            Err(error) => Err(broken(&error)),
        }
    }

    pub(super) fn send(&mut self, text: &str) -> Result<(), Closing> {
        let writer: &mut dyn Write = match self {
            Wire::Plain(plain) => plain.get_mut(),
            Wire::Tls(tls) => tls.get_mut(),
            Wire::Nothing => return Err(Closing::Broken),
        };
        let sent = writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush());
        sent.map_err(|_| Closing::Broken)
    }

    /// Reads to the end.
    pub(super) fn drain(&mut self) -> Closing {
        let read = io::copy(&mut self.reader(), &mut io::sink());
        match read {
            Ok(_) => self.end_of_file(),
            Err(error) => broken(&error),
        }
    }

    /// Closes and waits until the peer has closed, too: closing with unread input would
    /// be a reset.
    pub(super) fn close(&mut self, goodbye: bool) -> Closing {
        let socket = match self {
            Wire::Plain(plain) => plain.get_mut(),
            Wire::Tls(tls) => {
                let tls = tls.get_mut();
                if goodbye {
                    tls.conn.send_close_notify();
                    // A peer that is gone needs no goodbye.
                    let _ = tls.flush();
                }
                &mut tls.sock
            }
            Wire::Nothing => return Closing::Broken,
        };
        if socket.shutdown(Shutdown::Write).is_err() {
            return Closing::Broken;
        }
        self.drain()
    }

    /// Makes the system send a reset.
    pub(super) fn reset(self) {
        let socket = match &self {
            Wire::Plain(plain) => plain.get_ref(),
            Wire::Tls(tls) => &tls.get_ref().sock,
            Wire::Nothing => return,
        };
        let lingering = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        lingering.expect("an option of every socket");
    }

    fn reader(&mut self) -> Box<dyn BufRead + '_> {
        match self {
            Wire::Plain(plain) => Box::new(plain),
            Wire::Tls(tls) => Box::new(tls),
            Wire::Nothing => Box::new(BufReader::new(io::empty())),
        }
    }

    /// What an orderly end of the input means.
    fn end_of_file(&self) -> Closing {
        match self {
            // rustls makes an error of an end without close_notify.
            Wire::Tls(_) => Closing::Notified,
            _ => Closing::EndOfFile,
        }
    }
}

fn broken(error: &io::Error) -> Closing {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Closing::EndOfFile,
        _ => Closing::Broken,
    }
}
