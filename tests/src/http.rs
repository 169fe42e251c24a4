//! A client of HTTP/1.1 that sees every byte: what a browser, curl or a proxy would send, and
//! what none of them would.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::raw_client::connected;

/// A request, to be sent.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHead {
    /// Its status.
    pub status: u16,
    /// Its headers, names in small letters; the values of one name with commas between them.
    pub headers: BTreeMap<String, String>,
}

/// An answer, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its head.
    pub head: HttpHead,
    /// Its body.
    pub body: Vec<u8>,
}

/// A connection that is kept.
#[derive(Debug)]
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub struct HttpStream {
    /// The answer's head.
    pub head: HttpHead,
    client: HttpClient,
    left: Left,
    /// What has come and was not read.
    come: VecDeque<u8>,
}

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// So many bytes.
    Bytes(usize),
    /// Chunks; of the present one, so many bytes.
    Chunks(usize),
    /// Nothing.
    None,
}

/// How a body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpEnd {
    /// As it should: all of it has come.
    Whole,
    /// The connection was cut before.
    Cut,
}

impl HttpRequest {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> HttpRequest {
        HttpRequest {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// `GET`.
    #[must_use]
    pub fn get(target: &str) -> HttpRequest {
        HttpRequest::new("GET", target)
    }

    /// `POST` of a JSON text.
    #[must_use]
    pub fn post(target: &str, body: impl ToString) -> HttpRequest {
        let request = HttpRequest::new("POST", target).body(body.to_string());
        request.header("Content-Type", "application/json")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> HttpRequest {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a token.
    #[must_use]
    pub fn token(self, token: &str) -> HttpRequest {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Gives it a body, with its length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> HttpRequest {
        self.body = Some(body.into());
        self
    }

    /// Sends it on a connection of its own, and returns the answer.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn ask(&self, address: SocketAddr) -> HttpAnswer {
        HttpClient::connect(address).ask(self)
    }

    /// Sends it on a connection of its own, and returns the answer as it comes.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn stream(&self, address: SocketAddr) -> HttpStream {
        let mut client = HttpClient::connect(address);
        client.send(self);
        client.stream(&self.method)
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has_host = self.headers.iter().any(|(name, _)| name == "Host");
        if !has_host {
            let _ = write!(head, "Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

impl HttpClient {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[must_use]
    pub fn connect(address: SocketAddr) -> HttpClient {
        HttpClient {
            stream: BufReader::new(connected(address)),
        }
    }

    /// Connects, if somebody listens.
    #[must_use]
    pub fn try_connect(address: SocketAddr) -> Option<HttpClient> {
        TcpStream::connect(address).ok()?;
        Some(HttpClient::connect(address))
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub fn send(&mut self, request: &HttpRequest) {
        let host = self
            .stream
            .get_ref()
            .peer_addr()
            .expect("a connected socket");
        self.send_bytes(&request.bytes(&host.to_string()));
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

    /// Sends a request and returns its answer.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn ask(&mut self, request: &HttpRequest) -> HttpAnswer {
        self.send(request);
        self.answer(&request.method)
    }

    /// Sends a request and returns its answer; `None` if the connection is broken before that
    /// is whole.
    pub fn try_ask(&mut self, request: &HttpRequest) -> Option<HttpAnswer> {
        let host = self.stream.get_ref().peer_addr().ok()?;
        let bytes = request.bytes(&host.to_string());
        self.stream.get_mut().write_all(&bytes).ok()?;
        // A head that is cut is none.
        if !matches!(self.stream.fill_buf(), Ok(bytes) if !bytes.is_empty()) {
            return None;
        }
        let head = self.head()?;
        let mut left = left_of(&head, &request.method);
        let mut body = Vec::new();
        let end = self.read_body(&mut left, |bytes| body.extend_from_slice(bytes));
        (end == HttpEnd::Whole).then_some(HttpAnswer { head, body })
    }

    /// The answer to a request of this method.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn answer(&mut self, method: &str) -> HttpAnswer {
        let head = self
            .head()
            .expect("an answer, but the connection was closed");
        let mut left = left_of(&head, method);
        let mut body = Vec::new();
        let end = self.read_body(&mut left, |bytes| body.extend_from_slice(bytes));
        assert_eq!(end, HttpEnd::Whole, "{head:?}: cut in the middle");
        HttpAnswer { head, body }
    }

    /// The answer to a request of this method, as it comes.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn stream(mut self, method: &str) -> HttpStream {
        let head = self
            .head()
            .expect("an answer, but the connection was closed");
        let left = left_of(&head, method);
        HttpStream {
            head,
            client: self,
            left,
            come: VecDeque::new(),
        }
    }

    /// True if the connection is closed, and nothing came before that.
    ///
    /// # Panics
    ///
    /// If neither happens within [`PATIENCE`](crate::PATIENCE).
    pub fn at_end(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
            Err(error) => panic!("neither an answer nor the end of the connection: {error}"),
        }
    }

    fn head(&mut self) -> Option<HttpHead> {
        let line = self.head_line()?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
        let mut headers = BTreeMap::<String, String>::new();
        loop {
            let line = self.head_line().expect("a whole head");
            let Some((name, value)) = line.split_once(':') else {
                return Some(HttpHead { status, headers });
            };
            let there = headers.entry(name.to_ascii_lowercase()).or_default();
            if !there.is_empty() {
                there.push_str(", ");
            }
            there.push_str(value.trim());
        }
    }

    fn head_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line);
        match length {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => panic!("no line of an answer's head: {error}"),
        }
    }

    fn read_body(&mut self, left: &mut Left, mut take: impl FnMut(&[u8])) -> HttpEnd {
        while let Some(end) = self.read_part(left, &mut take) {
            if let Some(end) = end {
                return end;
            }
        }
        HttpEnd::Cut
    }

    /// Reads a part of a body; `None` if it is cut, and how it ended if it has.
    fn read_part(
        &mut self,
        left: &mut Left,
        take: &mut impl FnMut(&[u8]),
    ) -> Option<Option<HttpEnd>> {
        let most = match left {
            Left::None | Left::Bytes(0) => return Some(Some(HttpEnd::Whole)),
            Left::Bytes(bytes) => *bytes,
            Left::Chunks(0) => {
                let line = self.chunk_line()?;
                let length = usize::from_str_radix(line.trim(), 16).ok()?;
                if length == 0 {
                    self.chunk_line()?;
                    *left = Left::None;
                    return Some(Some(HttpEnd::Whole));
                }
                *left = Left::Chunks(length);
                length
            }
            Left::Chunks(bytes) => *bytes,
        };
        let bytes = match self.stream.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => &[],
            Err(error) => panic!("no more of a body: {error}"),
        };
        if bytes.is_empty() {
            return None;
        }
        let length = bytes.len().min(most);
        take(&bytes[..length]);
        self.stream.consume(length);
        match left {
            Left::Bytes(bytes) => *bytes -= length,
            Left::Chunks(bytes) => {
                *bytes -= length;
                if *bytes == 0 {
                    self.chunk_line()?;
                }
            }
            Left::None => {}
        }
        Some(None)
    }

    fn chunk_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).unwrap_or(0);
        (length > 0).then_some(line)
    }
}

impl HttpStream {
    /// The rest of the body, and how it ended.
    #[must_use]
    pub fn rest(mut self) -> (Vec<u8>, HttpEnd) {
        let mut body = Vec::from(std::mem::take(&mut self.come));
        let end = self
            .client
            .read_body(&mut self.left, |bytes| body.extend_from_slice(bytes));
        (body, end)
    }
}

impl Read for HttpStream {
    /// The next bytes of the body; none at its end, and an error where it is cut.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.come.is_empty() {
            let come = &mut self.come;
            let take = &mut |bytes: &[u8]| come.extend(bytes);
            match self.client.read_part(&mut self.left, take) {
                None => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Some(Some(_)) => return Ok(0),
                Some(None) => {}
            }
        }
        self.come.read(buffer)
    }
}

impl HttpAnswer {
    /// Its body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON: {:?}: {error}", self.text()))
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header of it; empty if it has none of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", String::as_str)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }
}

fn left_of(head: &HttpHead, method: &str) -> Left {
    if method == "HEAD" || [204, 304].contains(&head.status) {
        return Left::None;
    }
    let header = |name: &str| head.headers.get(name);
    if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        return Left::Chunks(0);
    }
    let length = header("content-length").and_then(|length| length.parse().ok());
    length.map_or(Left::None, Left::Bytes)
}
