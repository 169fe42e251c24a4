//! A client of HTTP/1.1 that costs little: requests as bytes, answers by their length, and
//! streams that are read to the end.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::load::Operation;

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct HttpClient {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

/// Asks the same on one kept connection.
pub(crate) struct HttpAsk {
    client: HttpClient,
    request: String,
}

/// A request without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A request with JSON in it.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl HttpClient {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<HttpClient> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(HttpClient {
            stream: BufReader::with_capacity(BUFFER, stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self, request: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    /// Sends a request and reads its answer, which is a good one and has a length.
    pub(crate) async fn ask(&mut self, request: &str) -> anyhow::Result<&[u8]> {
        self.send(request).await?;
        let length = self.head().await?.context("an answer without a length")?;
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await?;
        Ok(&self.body)
    }

    /// Reads the head of an answer; the length of its body, if it says.
    pub(crate) async fn head(&mut self) -> anyhow::Result<Option<usize>> {
        let mut length = None;
        let mut is_first = true;
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                bail!("the connection was closed");
            }
            let line = self.line.trim_end();
            if is_first && !line.starts_with("HTTP/1.1 2") {
                bail!("answered by {line}");
            }
            is_first = false;
            if line.is_empty() {
                return Ok(length);
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
    }

    /// Reads until these bytes have come.
    pub(crate) async fn read_to(&mut self, end: &[u8]) -> anyhow::Result<()> {
        let finder = memchr::memmem::Finder::new(end);
        let mut last = Vec::new();
        loop {
            let chunk = self.stream.fill_buf().await?;
            if chunk.is_empty() {
                bail!("the connection was closed before the end");
            }
            let is_there = finder.find(chunk).is_some();
            // It may begin in the chunk before.
            last.extend_from_slice(&chunk[..chunk.len().min(end.len())]);
            let is_across = finder.find(&last).is_some();
            let from = chunk.len().saturating_sub(end.len());
            last.clear();
            last.extend_from_slice(&chunk[from..]);
            let length = chunk.len();
            self.stream.consume(length);
            if is_there || is_across {
                return Ok(());
            }
        }
    }
}

impl HttpAsk {
    /// So many clients that ask the same.
    pub(crate) async fn clients(
        address: SocketAddr,
        count: usize,
        request: &str,
    ) -> anyhow::Result<Vec<HttpAsk>> {
        let clients = try_join_all((0..count).map(|_| HttpClient::connect(address))).await?;
        let asks = clients.into_iter().map(|client| HttpAsk {
            client,
            request: request.to_owned(),
        });
        Ok(asks.collect())
    }
}

impl Operation for HttpAsk {
    async fn perform(&mut self) -> anyhow::Result<()> {
        self.client.ask(&self.request).await?;
        Ok(())
    }
}
