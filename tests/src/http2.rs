//! A client of HTTP/2 that sends frames as they are, in any order, over TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::certificates::Authority;
use crate::raw_client::connected;

/// The kinds of frames that tests send and look for.
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// A head, or its beginning.
    pub const HEADERS: u8 = 1;
    /// A stream is given up.
    pub const RST_STREAM: u8 = 3;
    /// Settings.
    pub const SETTINGS: u8 = 4;
    /// A sign of life, to be answered.
    pub const PING: u8 = 6;
    /// The connection is given up.
    pub const GOAWAY: u8 = 7;
    /// More of a head.
    pub const CONTINUATION: u8 = 9;
}

/// The flag of a frame that ends its stream.
pub const END_STREAM: u8 = 1;
/// The flag of a frame that ends a head.
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it is of; 0 for the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Http2Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Http2Client {
    /// Connects, and sends what every client begins with.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[must_use]
    pub fn connect(address: SocketAddr, authority: &Authority) -> Http2Client {
        let mut tls = authority.client(None);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::from(address.ip());
        let tls = ClientConnection::new(Arc::new(tls), name).expect("a good configuration");
        let mut client = Http2Client {
            stream: StreamOwned::new(tls, connected(address)),
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        client.stream.write_all(preface).expect("a connection");
        assert!(client.send(kind::SETTINGS, 0, 0, &[]));
        client
    }

    /// Sends a frame; false if the connection is broken.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).is_ok()
    }

    /// Sends a request's head, and that nothing follows if `flags` say so; false if the
    /// connection is broken.
    pub fn request(&mut self, flags: u8, stream: u32, method: &str, path: &str) -> bool {
        let block = head(&[
            (":method", method),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            ("content-type", "application/json"),
        ]);
        self.send(kind::HEADERS, flags | END_HEADERS, stream, &block)
    }

    /// The next frame; `None` if the connection is closed.
    ///
    /// # Panics
    ///
    /// If neither comes within [`PATIENCE`](crate::PATIENCE).
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, s, t, u, v] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read(&mut payload)?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff,
            payload,
        })
    }

    /// The first frame from here on that is wanted; `None` if the connection is closed before.
    ///
    /// # Panics
    ///
    /// As for [`Http2Client::frame`].
    pub fn find(&mut self, mut is_wanted: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if is_wanted(&frame) {
                return Some(frame);
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("neither a frame nor the end of the connection")
            }
            Err(_) => None,
        }
    }
}

/// The headers of a head, none of them compressed. Names and values are below 127 bytes, or
/// their length is written in as many bytes as it takes.
#[must_use]
pub fn head(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A length with seven bits in its first byte (RFC 7541, 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(length as u8);
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
