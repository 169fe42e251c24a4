//! The verbs of the client protocol, one connection each, as the Python client does it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw_client::{RawClient, ask};

/// Speaks to the dispatcher at one address. What is a reply of the protocol comes back
/// as it is; what a verb cannot do without, it insists on.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    address: SocketAddr,
}

/// What `read_stream` or `follow_stream` has sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The packets' data as text, by number.
    pub packets: Vec<String>,
    /// The number of the first of them.
    pub first: Option<u64>,
    /// The last line.
    pub last: Value,
}

impl Caller {
    /// One that speaks to this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Caller {
        Caller { address }
    }

    /// Opens a connection.
    #[must_use]
    pub fn connect(&self) -> RawClient {
        RawClient::connect(self.address)
    }

    /// Opens a connection and sends a line.
    #[must_use]
    pub fn send(&self, line: impl std::fmt::Display) -> RawClient {
        let mut client = self.connect();
        client.send(line);
        client
    }

    /// Sends a line; the answer is one line.
    #[must_use]
    pub fn ask(&self, line: impl std::fmt::Display) -> Value {
        ask(self.address, line)
    }

    /// Sends a line; the answer is one line, as text.
    ///
    /// # Panics
    ///
    /// If the answer is not one line.
    #[must_use]
    pub fn ask_raw(&self, line: impl std::fmt::Display) -> String {
        let mut lines = self.send(line).rest();
        assert_eq!(lines.len(), 1, "one line answers one request: {lines:?}");
        lines.remove(0)
    }

    /// Submits a call and returns its job's id. `arguments` is JSON text.
    #[must_use]
    pub fn call(&self, host: &str, procedure: &str, arguments: &str) -> String {
        self.call_with(host, procedure, arguments, "")
    }

    /// Submits a call with further keys, JSON text such as `"timeout": 1`; its job's id.
    ///
    /// # Panics
    ///
    /// If the call is refused.
    #[must_use]
    pub fn call_with(&self, host: &str, procedure: &str, arguments: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        let answer = self.ask(format!(
            r#"{{"harpcaller": 1, "host": {}, "procedure": {}, "arguments": {arguments}{comma}{more}}}"#,
            json!(host),
            json!(procedure),
        ));
        let id = answer["job_id"]
            .as_str()
            .unwrap_or_else(|| panic!("the call was refused: {answer}"));
        assert_eq!(answer["harpcaller"], 1, "{answer}");
        id.to_owned()
    }

    /// How a job ended, once it has.
    #[must_use]
    pub fn result(&self, job: &str) -> Value {
        self.ask(json!({"harpcaller": 1, "get_result": job, "wait": true}))
    }

    /// How a job ended, once it has, as text.
    #[must_use]
    pub fn raw_result(&self, job: &str) -> String {
        self.ask_raw(json!({"harpcaller": 1, "get_result": job, "wait": true}))
    }

    /// How a job ended, or that it has not.
    #[must_use]
    pub fn result_now(&self, job: &str) -> Value {
        self.ask(json!({"harpcaller": 1, "get_result": job, "wait": false}))
    }

    /// A job's status.
    #[must_use]
    pub fn status(&self, job: &str) -> Value {
        self.ask(json!({"harpcaller": 1, "get_status": job}))
    }

    /// True if a job has left its queue.
    #[must_use]
    pub fn has_started(&self, job: &str) -> bool {
        let status = self.status(job);
        assert!(status["time"].is_object(), "{status}");
        !status["time"]["start"].is_null()
    }

    /// Cancels a job; true if that is its end.
    ///
    /// # Panics
    ///
    /// If the answer is an error.
    #[must_use]
    pub fn cancel(&self, job: &str) -> bool {
        let answer = self.ask(json!({"harpcaller": 1, "cancel": job}));
        answer["cancelled"]
            .as_bool()
            .unwrap_or_else(|| panic!("no answer to a cancel: {answer}"))
    }

    /// Reads a page. `more` are further keys, JSON text such as `"since": 3`.
    #[must_use]
    pub fn read(&self, job: &str, more: &str) -> Page {
        let mut client = self.send(stream_request("read_stream", job, more));
        let page = Page::read(&mut client);
        assert!(client.at_end(), "more after the end of a page");
        page
    }

    /// Follows a job; the packets are in what comes on the connection.
    #[must_use]
    pub fn follow(&self, job: &str, more: &str) -> RawClient {
        self.send(stream_request("follow_stream", job, more))
    }
}

impl Page {
    /// Takes packets up to the line that is none.
    ///
    /// # Panics
    ///
    /// If a packet is missing, comes twice or has other keys than it may.
    #[must_use]
    pub fn read(client: &mut RawClient) -> Page {
        let mut packets = Vec::new();
        let mut first = None;
        loop {
            let line = client.raw_line();
            let Some((number, data)) = packet(&line) else {
                let last = serde_json::from_str(&line);
                let last = last.unwrap_or_else(|error| panic!("not JSON: {line:?}: {error}"));
                return Page {
                    packets,
                    first,
                    last,
                };
            };
            let first = *first.get_or_insert(number);
            assert_eq!(
                number,
                first + packets.len() as u64,
                "packets in order, none missing"
            );
            packets.push(data.to_owned());
        }
    }
}

/// The number and the data of a packet's line, if it is one without a time.
#[must_use]
pub fn packet(line: &str) -> Option<(u64, &str)> {
    let (number, data) = line
        .strip_prefix("{\"packet\":")?
        .split_once(",\"data\":")?;
    Some((number.parse().ok()?, data.strip_suffix('}')?))
}

fn stream_request(operation: &str, job: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(
        r#"{{"harpcaller": 1, "{operation}": {}{comma}{more}}}"#,
        json!(job)
    )
}
