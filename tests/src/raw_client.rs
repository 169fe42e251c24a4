//! A client that sends and receives lines as they are.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait::PATIENCE;

/// One TCP connection to a dispatcher.
#[derive(Debug)]
pub struct RawClient {
    stream: BufReader<TcpStream>,
}

/// Sends one line on a connection of its own and returns the only line of the answer.
///
/// # Panics
///
/// If anything else comes, or nothing.
#[must_use]
pub fn ask(address: SocketAddr, line: impl Display) -> Value {
    let mut client = RawClient::connect(address);
    client.send(line);
    let answer = client.line();
    assert!(client.at_end(), "more than one line for one request");
    answer
}

/// A connection over which nothing is waited for longer than a test has patience.
///
/// # Panics
///
/// If that fails.
pub(crate) fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).expect("an option of every socket");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time above zero");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a time above zero");
    stream
}

impl RawClient {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[must_use]
    pub fn connect(address: SocketAddr) -> RawClient {
        let stream = connected(address);
        RawClient {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a line, its end added.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub fn send(&mut self, line: impl Display) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("an unbroken connection to the dispatcher");
    }

    /// Sends bytes, and says if the connection still took them.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// The next line as JSON.
    ///
    /// # Panics
    ///
    /// If there is none, or it is no JSON.
    pub fn line(&mut self) -> Value {
        let line = self.raw_line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON: {line:?}: {error}"))
    }

    /// The next line without its end.
    ///
    /// # Panics
    ///
    /// If there is none within [`PATIENCE`].
    pub fn raw_line(&mut self) -> String {
        self.next_line()
            .expect("a line, but the connection was closed")
    }

    /// The next line without its end, `None` if the connection is closed instead.
    ///
    /// # Panics
    ///
    /// If neither happens within [`PATIENCE`], or the connection breaks.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .expect("a line from the dispatcher");
        if line.is_empty() {
            return None;
        }
        let mut line = String::from_utf8(line).expect("a line of UTF-8");
        assert_eq!(
            line.pop(),
            Some('\n'),
            "closed in the middle of a line: {line:?}"
        );
        Some(line)
    }

    /// All lines up to the end of the connection.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }

    /// How many whole lines still come, to whatever end the connection comes.
    pub fn count_lines(&mut self) -> usize {
        let mut count = 0;
        let mut line = Vec::new();
        while let Ok(1..) = self.stream.read_until(b'\n', &mut line) {
            count += usize::from(line.ends_with(b"\n"));
            line.clear();
        }
        count
    }

    /// True if the dispatcher closed the connection, false if it sends something more.
    ///
    /// # Panics
    ///
    /// If neither happens within [`PATIENCE`], or the connection breaks.
    pub fn at_end(&mut self) -> bool {
        self.stream
            .fill_buf()
            .expect("the end of the connection")
            .is_empty()
    }

    /// True if something has come that was not read; nothing is taken of it.
    ///
    /// # Panics
    ///
    /// If the socket has no modes.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        let socket = self.stream.get_ref();
        socket
            .set_nonblocking(true)
            .expect("a mode of every socket");
        let peeked = socket.peek(&mut [0; 1]);
        socket
            .set_nonblocking(false)
            .expect("a mode of every socket");
        !self.stream.buffer().is_empty() || peeked.is_ok()
    }

    /// True if nothing has come that was not read, and the connection is open, as far as
    /// can be seen from here and now.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        if !self.stream.buffer().is_empty() {
            return false;
        }
        let socket = self.stream.get_mut();
        socket
            .set_nonblocking(true)
            .expect("a mode of every socket");
        let read = socket.read(&mut [0; 1]);
        socket
            .set_nonblocking(false)
            .expect("a mode of every socket");
        match read {
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
            Err(error) => panic!("the connection to the dispatcher is broken: {error}"),
        }
    }

    /// Says that no more requests come, and goes on listening.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub fn half_close(&mut self) {
        self.stream
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("an unbroken connection");
    }
}
