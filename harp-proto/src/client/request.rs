//! Requests of a client.

use bytes::{Bytes, BytesMut};
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

use super::{List, Listed};
use crate::{Fault, JobId, Json, Password, QueueName, host};

/// One line from a client (client protocol, sections 2 to 6 and 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Submit a call.
    Call(Box<Call>),
    /// Cancel a job.
    Cancel {
        /// The job; [`JobId::NONE`] for a malformed id.
        job: JobId,
        /// Wait until the host is done, and say whether it was.
        confirm: bool,
    },
    /// Ask how a job ended.
    GetResult {
        /// The job; [`JobId::NONE`] for a malformed id.
        job: JobId,
        /// Wait for the end.
        wait: bool,
    },
    /// Ask for a job's call, times and info.
    GetStatus {
        /// The job; [`JobId::NONE`] for a malformed id.
        job: JobId,
        /// Say what a call that was cancelled had printed.
        evidence: bool,
        /// Say how far it has come and how it ended.
        snapshot: bool,
    },
    /// Receive packets until the job ends, and its outcome.
    FollowStream {
        /// The job; [`JobId::NONE`] for a malformed id.
        job: JobId,
        /// The first packet wanted.
        start: StreamStart,
        /// Say when each packet was received.
        timestamps: bool,
    },
    /// Receive the packets collected so far.
    ReadStream {
        /// The job; [`JobId::NONE`] for a malformed id.
        job: JobId,
        /// The first packet wanted.
        start: StreamStart,
        /// Say when each packet was received.
        timestamps: bool,
        /// End the page after this many packets.
        limit: Option<u64>,
    },
    /// List what there is.
    List(List),
    /// Keep the connection for further requests.
    Hello(Hello),
}

/// A call to submit (client protocol, section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the host in the dispatcher's registry.
    pub host: String,
    /// Name of the procedure.
    pub procedure: String,
    /// An array, positional, or an object, named.
    pub arguments: Json,
    /// Longest silence of the host in seconds, 1 or more.
    pub timeout: Option<u64>,
    /// Longest execution in seconds, 1 or more.
    pub max_exec_time: Option<u64>,
    /// The queue to wait in.
    pub queue: Option<Queue>,
    /// Whatever the client wants back in the status; `null` if it sent none.
    pub info: Json,
    /// Idempotency key (section 8).
    pub key: Option<String>,
    /// With `key`: a new job only if the last one is older than this many seconds.
    pub unless_since: Option<u64>,
    /// Seconds in which a queued job must have started.
    pub start_by: Option<u64>,
    /// The trace that the call is part of, as W3C's `traceparent` writes it; one that is not
    /// so written means nothing.
    pub traceparent: Option<String>,
    /// Say in the reply which limits hold.
    pub limits: bool,
}

/// The queue that a call waits in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// How many of its jobs may run at once, 1 or more; what the queue's first call
    /// says holds.
    pub concurrency: u64,
}

/// First packet of a stream (client protocol, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStart {
    /// At the packet of this number.
    Since(u64),
    /// This many before the end of the packets collected so far.
    Recent(u64),
}

/// The opening of a persistent connection (client protocol, section 8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// Name that the client gives itself, for the log.
    pub client: Option<String>,
    /// Token by which the client authenticates.
    pub token: Option<Password>,
}

/// Every key that names an operation.
const OPERATIONS: [&str; 11] = [
    "procedure",
    "cancel",
    "get_result",
    "get_status",
    "follow_stream",
    "read_stream",
    "list_jobs",
    "list_queues",
    "list_hosts",
    "list_procedures",
    "hello",
];

impl Request {
    /// The operation's key on the wire: `call` for a call, which has none.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Request::Call(_) => "call",
            Request::Cancel { .. } => "cancel",
            Request::GetResult { .. } => "get_result",
            Request::GetStatus { .. } => "get_status",
            Request::FollowStream { .. } => "follow_stream",
            Request::ReadStream { .. } => "read_stream",
            Request::List(list) => list.what.key(),
            Request::Hello(_) => "hello",
        }
    }

    /// Reads a request's line.
    ///
    /// # Errors
    ///
    /// The fault to answer with (section 7): `parse_error`, `invalid_protocol` or
    /// `invalid_request`.
    pub fn decode(line: &Bytes) -> Result<Request, Fault> {
        let mut fields = Fields::read(line)
            .map_err(Fault::parse_error)?
            .ok_or_else(|| Fault::invalid_protocol("a request is a JSON object"))?;
        if fields
            .raw("harpcaller")
            .is_none_or(|version| version.get() != "1")
        {
            return Err(Fault::invalid_protocol(
                "the key \"harpcaller\" must be there and be 1",
            ));
        }
        if fields.has("harpcaller") {
            return Err(Fault::invalid_request(
                "harpcaller",
                "stands here more than once",
            ));
        }
        fields.none_repeated()?;

        let mut operations = OPERATIONS
            .into_iter()
            .filter(|operation| fields.has(operation));
        let operation = operations.next().ok_or_else(|| {
            Fault::invalid_request(
                "procedure",
                format!("missing; a request has one of {}", OPERATIONS.join(", ")),
            )
        })?;
        if let Some(second) = operations.next() {
            return Err(Fault::invalid_request(
                second,
                format!("cannot stand beside {operation}"),
            ));
        }
        let request = match operation {
            "procedure" => Request::Call(Box::new(Call::take(line, &mut fields)?)),
            "cancel" => Request::Cancel {
                job: job(&mut fields, operation)?,
                confirm: fields.boolean("confirm")?.unwrap_or(false),
            },
            "get_result" => Request::GetResult {
                job: job(&mut fields, operation)?,
                wait: fields.boolean("wait")?.unwrap_or(true),
            },
            "get_status" => Request::GetStatus {
                job: job(&mut fields, operation)?,
                evidence: fields.boolean("evidence")?.unwrap_or(false),
                snapshot: fields.boolean("snapshot")?.unwrap_or(false),
            },
            "follow_stream" => Request::FollowStream {
                job: job(&mut fields, operation)?,
                start: start(&mut fields, StreamStart::Recent(0))?,
                timestamps: fields.boolean("timestamps")?.unwrap_or(false),
            },
            "read_stream" => Request::ReadStream {
                job: job(&mut fields, operation)?,
                start: start(&mut fields, StreamStart::Since(0))?,
                timestamps: fields.boolean("timestamps")?.unwrap_or(false),
                limit: fields.integer("limit", 1)?,
            },
            _ => match Listed::ALL.into_iter().find(|what| what.key() == operation) {
                Some(what) => Request::List(List::take(what, &mut fields)?),
                None => Request::Hello(Hello::take(&mut fields)?),
            },
        };
        fields.none_left()?;
        Ok(request)
    }

    /// Writes the request's line.
    pub fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harpcaller\":1");
        match self {
            Request::Call(call) => call.write(out),
            Request::Cancel { job, confirm } => {
                write_job(out, "cancel", *job);
                if *confirm {
                    out.extend_from_slice(b",\"confirm\":true");
                }
            }
            Request::GetResult { job, wait } => {
                write_job(out, "get_result", *job);
                write::key(out, "wait");
                out.extend_from_slice(if *wait { b"true" } else { b"false" });
            }
            Request::GetStatus {
                job,
                evidence,
                snapshot,
            } => {
                write_job(out, "get_status", *job);
                if *evidence {
                    out.extend_from_slice(b",\"evidence\":true");
                }
                if *snapshot {
                    out.extend_from_slice(b",\"snapshot\":true");
                }
            }
            Request::FollowStream {
                job,
                start,
                timestamps,
            } => {
                write_job(out, "follow_stream", *job);
                write_start(out, *start, *timestamps);
            }
            Request::ReadStream {
                job,
                start,
                timestamps,
                limit,
            } => {
                write_job(out, "read_stream", *job);
                write_start(out, *start, *timestamps);
                write_integer(out, "limit", *limit);
            }
            Request::List(list) => list.write(out),
            Request::Hello(hello) => hello.write(out),
        }
        out.extend_from_slice(b"}\n");
    }
}

impl Call {
    fn take(line: &Bytes, fields: &mut Fields<'_>) -> Result<Call, ShapeError> {
        let procedure = fields.required_string("procedure")?;
        let host = fields.required_string("host")?;
        let arguments = host::arguments(line, fields)?;
        let mut call = Call::take_rest(line, fields, host, procedure, arguments)?;
        call.limits = fields.boolean("limits")?.unwrap_or(false);
        call.check(fields)?;
        Ok(call)
    }

    /// Takes a call out of the body of an HTTP request, whose head may have the key.
    pub(super) fn take_body(
        text: &Bytes,
        fields: &mut Fields<'_>,
        key: Option<String>,
    ) -> Result<Call, ShapeError> {
        let procedure = fields.required_string("procedure")?;
        let host = fields.required_string("host")?;
        let arguments = host::optional_arguments(text, fields)?;
        let mut call = Call::take_rest(text, fields, host, procedure, arguments)?;
        if key.is_some() {
            if call.key.is_some() && call.key != key {
                return Err(fields.error("key", "differs from that of Idempotency-Key"));
            }
            call.key = key;
        }
        call.limits = fields.boolean("limits")?.unwrap_or(false);
        call.check(fields)?;
        Ok(call)
    }

    fn take_rest(
        line: &Bytes,
        fields: &mut Fields<'_>,
        host: String,
        procedure: String,
        arguments: Json,
    ) -> Result<Call, ShapeError> {
        Ok(Call {
            host,
            procedure,
            arguments,
            timeout: fields.integer("timeout", 1)?,
            max_exec_time: fields.integer("max_exec_time", 1)?,
            queue: fields
                .object("queue")?
                .map(|queue| Queue::take(line, queue))
                .transpose()?,
            info: fields.json(line, "info")?.unwrap_or(Json::NULL),
            key: fields.string("key")?,
            unless_since: fields.integer("unless_since", 1)?,
            start_by: fields.integer("start_by", 1)?,
            traceparent: fields.string("traceparent")?,
            limits: false,
        })
    }

    fn check(&self, fields: &Fields<'_>) -> Result<(), ShapeError> {
        if self.unless_since.is_some() && self.key.is_none() {
            return Err(fields.error("unless_since", "means nothing without key"));
        }
        Ok(())
    }

    fn write(&self, out: &mut BytesMut) {
        write::key(out, "host");
        write::string(out, &self.host);
        write::key(out, "procedure");
        write::string(out, &self.procedure);
        write::key(out, "arguments");
        self.arguments.write(out);
        write_integer(out, "timeout", self.timeout);
        write_integer(out, "max_exec_time", self.max_exec_time);
        if let Some(queue) = &self.queue {
            write::key(out, "queue");
            out.extend_from_slice(b"{\"name\":");
            out.extend_from_slice(queue.name.as_str().as_bytes());
            write_integer(out, "concurrency", Some(queue.concurrency));
            out.extend_from_slice(b"}");
        }
        write::key(out, "info");
        self.info.write(out);
        if let Some(key) = &self.key {
            write::key(out, "key");
            write::string(out, key);
        }
        write_integer(out, "unless_since", self.unless_since);
        write_integer(out, "start_by", self.start_by);
        if let Some(traceparent) = &self.traceparent {
            write::key(out, "traceparent");
            write::string(out, traceparent);
        }
        if self.limits {
            out.extend_from_slice(b",\"limits\":true");
        }
    }
}

impl Queue {
    fn take(line: &Bytes, mut fields: Fields<'_>) -> Result<Queue, ShapeError> {
        fields.none_repeated()?;
        let name = fields.required_json(line, "name")?;
        let name =
            QueueName::from_json(&name).map_err(|error| fields.error("name", error.to_string()))?;
        let concurrency = fields.integer("concurrency", 1)?.unwrap_or(1);
        fields.none_left()?;
        Ok(Queue { name, concurrency })
    }
}

impl Hello {
    fn take(fields: &mut Fields<'_>) -> Result<Hello, ShapeError> {
        let missing = fields.error("hello", "must be an object");
        let mut hello = fields.object("hello")?.ok_or(missing)?;
        hello.none_repeated()?;
        Ok(Hello {
            client: hello.string("client")?,
            token: hello.string("token")?.map(Password::new),
        })
    }

    fn write(&self, out: &mut BytesMut) {
        write::key(out, "hello");
        out.extend_from_slice(b"{");
        if let Some(client) = &self.client {
            out.extend_from_slice(b"\"client\":");
            write::string(out, client);
        }
        if let Some(token) = &self.token {
            if self.client.is_some() {
                out.extend_from_slice(b",");
            }
            out.extend_from_slice(b"\"token\":");
            write::string(out, token.reveal());
        }
        out.extend_from_slice(b"}");
    }
}

/// A job's id; malformed text is read as the id that names no job.
fn job(fields: &mut Fields<'_>, key: &str) -> Result<JobId, ShapeError> {
    Ok(fields.required_string(key)?.parse().unwrap_or(JobId::NONE))
}

fn start(fields: &mut Fields<'_>, default: StreamStart) -> Result<StreamStart, ShapeError> {
    match (fields.integer("since", 0)?, fields.integer("recent", 0)?) {
        (None, None) => Ok(default),
        (Some(number), None) => Ok(StreamStart::Since(number)),
        (None, Some(number)) => Ok(StreamStart::Recent(number)),
        (Some(_), Some(_)) => Err(fields.error("recent", "cannot stand beside since")),
    }
}

fn write_job(out: &mut BytesMut, operation: &str, job: JobId) {
    write::key(out, operation);
    write::string(out, &job.to_string());
}

fn write_start(out: &mut BytesMut, start: StreamStart, timestamps: bool) {
    match start {
        StreamStart::Since(number) => write_integer(out, "since", Some(number)),
        StreamStart::Recent(number) => write_integer(out, "recent", Some(number)),
    }
    if timestamps {
        out.extend_from_slice(b",\"timestamps\":true");
    }
}

fn write_integer(out: &mut BytesMut, key: &str, number: Option<u64>) {
    if let Some(number) = number {
        write::key(out, key);
        write::integer(out, number);
    }
}

#[cfg(test)]
mod tests;
