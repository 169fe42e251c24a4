//! Replies of the dispatcher.

use bytes::{Bytes, BytesMut};
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

use crate::{Evidence, Failure, JobId, Json, Outcome};

/// A line that answers one kind of request.
pub trait Reply: Sized {
    /// Writes the reply's line.
    fn encode(&self, out: &mut BytesMut);

    /// Takes the reply out of a line's fields; `None` if it is something else.
    #[doc(hidden)]
    fn take(line: &Bytes, fields: &mut FieldsOf<'_, '_>) -> Result<Option<Self>, Misshapen>;
}

/// The fields of a line that is being read, opaque outside this crate.
#[doc(hidden)]
pub struct FieldsOf<'f, 'a>(&'f mut Fields<'a>);

/// A shape that does not fit, opaque outside this crate.
#[doc(hidden)]
#[derive(Debug)]
pub struct Misshapen(ShapeError);

impl From<ShapeError> for Misshapen {
    fn from(error: ShapeError) -> Misshapen {
        Misshapen(error)
    }
}

/// Why a line is not the reply that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The dispatcher refused the request.
    #[error("{0}")]
    Fault(Failure),
    /// The line is no reply to this request: the peer speaks another protocol.
    #[error("not a reply of the HarpCaller client protocol: {0}")]
    Malformed(String),
}

/// Reads the line that answers a request of the kind that `R` answers. Keys that the
/// protocol does not name are passed over.
///
/// # Errors
///
/// [`ReplyError::Fault`] if the dispatcher refused the request, else
/// [`ReplyError::Malformed`].
pub fn decode<R: Reply>(line: &Bytes) -> Result<R, ReplyError> {
    let malformed = |why: String| ReplyError::Malformed(why);
    let mut fields = Fields::read(line)
        .map_err(|error| malformed(error.to_string()))?
        .ok_or_else(|| malformed("not a JSON object".to_owned()))?;
    if fields.has("harpcaller") && fields.has("error") {
        let failure = match fields.object("error") {
            Ok(Some(error)) => Failure::take(line, error),
            Ok(None) => Err(fields.error("error", "must be an object")),
            Err(error) => Err(error),
        };
        return Err(match failure {
            Ok(failure) => ReplyError::Fault(failure),
            Err(error) => malformed(error.to_string()),
        });
    }
    match R::take(line, &mut FieldsOf(&mut fields)) {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(malformed("none of the expected keys in it".to_owned())),
        Err(Misshapen(error)) => Err(malformed(error.to_string())),
    }
}

/// Answers a call (section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallReply {
    /// The job.
    pub job_id: JobId,
    /// True if an earlier call with the same idempotency key had made it (section 8).
    pub existing: bool,
    /// With `limits`: what holds for the job; `None` for one that an earlier call had made.
    pub limits: Option<TimeLimits>,
}

/// Limits of a job's time, in whole seconds, as its dispatcher sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Longest silence of the host.
    pub timeout: u64,
    /// Longest execution in all.
    pub max_exec_time: u64,
}

impl Reply for CallReply {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harpcaller\":1");
        write::key(out, "job_id");
        write::string(out, &self.job_id.to_string());
        if self.existing {
            out.extend_from_slice(b",\"existing\":true");
        }
        if let Some(limits) = self.limits {
            out.extend_from_slice(b",\"limits\":{\"timeout\":");
            write::integer(out, limits.timeout);
            write::key(out, "max_exec_time");
            write::integer(out, limits.max_exec_time);
            out.extend_from_slice(b"}");
        }
        out.extend_from_slice(b"}\n");
    }

    fn take(_: &Bytes, FieldsOf(fields): &mut FieldsOf<'_, '_>) -> Result<Option<Self>, Misshapen> {
        let Some(id) = fields.string("job_id")? else {
            return Ok(None);
        };
        let job_id = id
            .parse()
            .map_err(|_| fields.error("job_id", "not a job id"))?;
        let limits = match fields.object("limits")? {
            Some(mut limits) => limits
                .integer("timeout", 0)?
                .zip(limits.integer("max_exec_time", 0)?),
            None => None,
        };
        Ok(Some(CallReply {
            job_id,
            existing: fields.boolean("existing")?.unwrap_or(false),
            limits: limits.map(|(timeout, max_exec_time)| TimeLimits {
                timeout,
                max_exec_time,
            }),
        }))
    }
}

/// Answers a cancel (sections 3 and 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelReply {
    /// True if the job was queued or running.
    pub cancelled: bool,
    /// With `confirm`: true if the host has proved that nothing of the call is left.
    pub remote_confirmed: Option<bool>,
}

impl Reply for CancelReply {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"cancelled\":");
        out.extend_from_slice(if self.cancelled { b"true" } else { b"false" });
        if let Some(confirmed) = self.remote_confirmed {
            write::key(out, "remote");
            write::string(
                out,
                if confirmed {
                    "confirmed"
                } else {
                    "unconfirmed"
                },
            );
        }
        out.extend_from_slice(b"}\n");
    }

    fn take(_: &Bytes, FieldsOf(fields): &mut FieldsOf<'_, '_>) -> Result<Option<Self>, Misshapen> {
        let Some(cancelled) = fields.boolean("cancelled")? else {
            return Ok(None);
        };
        let remote_confirmed = fields.string("remote")?.map(|remote| remote == "confirmed");
        Ok(Some(CancelReply {
            cancelled,
            remote_confirmed,
        }))
    }
}

/// Answers `get_result` (section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultReply {
    /// Not ended.
    NoResult,
    /// How the job ended.
    Ended(Outcome),
}

impl Reply for ResultReply {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            ResultReply::NoResult => out.extend_from_slice(b"{\"no_result\":true}\n"),
            ResultReply::Ended(outcome) => {
                outcome.write(out);
                out.extend_from_slice(b"\n");
            }
        }
    }

    fn take(
        line: &Bytes,
        FieldsOf(fields): &mut FieldsOf<'_, '_>,
    ) -> Result<Option<Self>, Misshapen> {
        if fields.boolean("no_result")? == Some(true) {
            return Ok(Some(ResultReply::NoResult));
        }
        Ok(Outcome::take(line, fields)?.map(ResultReply::Ended))
    }
}

/// Answers `get_status` (section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReply {
    /// The call's host.
    pub host: String,
    /// The call's procedure.
    pub procedure: String,
    /// The call's arguments.
    pub arguments: Json,
    /// Times of its submission, start and end.
    pub time: JobTimes,
    /// Info that the submitter attached.
    pub info: Json,
    /// With `evidence`: what a call that was cancelled had printed, if there is any.
    pub evidence: Option<Evidence>,
    /// With `snapshot`: how far the job has come, at the same moment as all else.
    pub snapshot: Option<Snapshot>,
}

/// How far a job has come. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Time of its submission.
    pub submitted: u64,
    /// Time when it left its queue; `None` if it has not, or was cancelled before.
    pub started: Option<u64>,
    /// Time of its end, `None` if it has not ended.
    pub ended: Option<u64>,
    /// Packets collected so far.
    pub packets: u64,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

impl Snapshot {
    fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b",\"snapshot\":{\"submitted\":");
        write::integer(out, self.submitted);
        write::key(out, "started");
        write::integer_or_null(out, self.started);
        write::key(out, "ended");
        write::integer_or_null(out, self.ended);
        write::key(out, "packets");
        write::integer(out, self.packets);
        write::key(out, "end");
        match &self.outcome {
            Some(outcome) => outcome.write(out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}");
    }

    fn take(line: &Bytes, mut fields: Fields<'_>) -> Result<Snapshot, ShapeError> {
        let outcome = match fields.object("end")? {
            Some(mut end) => Outcome::take(line, &mut end)?,
            None => None,
        };
        Ok(Snapshot {
            submitted: fields.integer("submitted", 0)?.unwrap_or_default(),
            started: fields.integer("started", 0)?,
            ended: fields.integer("ended", 0)?,
            packets: fields.integer("packets", 0)?.unwrap_or_default(),
            outcome,
        })
    }
}

/// A job's times in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTimes {
    /// Time of its submission.
    pub submit: u64,
    /// Time when it left its queue; `None` if it has not, or was cancelled before.
    pub start: Option<u64>,
    /// Time of its end, `None` if it has not ended.
    pub end: Option<u64>,
}

impl Reply for StatusReply {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"call\":{\"host\":");
        write::string(out, &self.host);
        write::key(out, "procedure");
        write::string(out, &self.procedure);
        write::key(out, "arguments");
        self.arguments.write(out);
        out.extend_from_slice(b"},\"time\":{\"submit\":");
        write::integer(out, self.time.submit);
        write::key(out, "start");
        write::integer_or_null(out, self.time.start);
        write::key(out, "end");
        write::integer_or_null(out, self.time.end);
        out.extend_from_slice(b"},\"info\":");
        self.info.write(out);
        if let Some(Evidence { stdout, stderr }) = &self.evidence {
            out.extend_from_slice(b",\"evidence\":{\"stdout\":");
            write::string(out, stdout);
            write::key(out, "stderr");
            write::string(out, stderr);
            out.extend_from_slice(b"}");
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.write(out);
        }
        out.extend_from_slice(b"}\n");
    }

    fn take(
        line: &Bytes,
        FieldsOf(fields): &mut FieldsOf<'_, '_>,
    ) -> Result<Option<Self>, Misshapen> {
        let evidence = match fields.object("evidence")? {
            Some(mut evidence) => Some(Evidence {
                stdout: evidence.required_string("stdout")?,
                stderr: evidence.required_string("stderr")?,
            }),
            None => None,
        };
        let snapshot = match fields.object("snapshot")? {
            Some(snapshot) => Some(Snapshot::take(line, snapshot)?),
            None => None,
        };
        let (Some(mut call), Some(mut time)) = (fields.object("call")?, fields.object("time")?)
        else {
            return Ok(None);
        };
        Ok(Some(StatusReply {
            host: call.required_string("host")?,
            procedure: call.required_string("procedure")?,
            arguments: call.required_json(line, "arguments")?,
            time: JobTimes {
                submit: time.integer("submit", 0)?.unwrap_or_default(),
                start: time.integer("start", 0)?,
                end: time.integer("end", 0)?,
            },
            info: fields.json(line, "info")?.unwrap_or(Json::NULL),
            evidence,
            snapshot,
        }))
    }
}

/// A packet of a job's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its number, from 0, without holes.
    pub number: u64,
    /// The packet that the procedure sent.
    pub data: Json,
    /// With `timestamps`: when the dispatcher received it, in milliseconds since 1970.
    pub time: Option<u64>,
}

impl Packet {
    /// Writes the line of this packet; for many, there is
    /// [`PacketLines`](super::PacketLines).
    fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"packet\":");
        write::integer(out, self.number);
        write::key(out, "data");
        self.data.write(out);
        if let Some(time) = self.time {
            write::key(out, "time");
            write::integer(out, time);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// A line of `follow_stream` or `read_stream` (section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamReply {
    /// The next packet.
    Packet(Packet),
    /// The page ends here, the job (or at least its packets) may go on.
    Continue,
    /// How the job ended.
    Ended(Outcome),
}

impl Reply for StreamReply {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            StreamReply::Packet(packet) => packet.write(out),
            StreamReply::Continue => out.extend_from_slice(b"{\"continue\":true}\n"),
            StreamReply::Ended(outcome) => {
                outcome.write(out);
                out.extend_from_slice(b"\n");
            }
        }
    }

    fn take(
        line: &Bytes,
        FieldsOf(fields): &mut FieldsOf<'_, '_>,
    ) -> Result<Option<Self>, Misshapen> {
        if let Some(number) = fields.integer("packet", 0)? {
            return Ok(Some(StreamReply::Packet(Packet {
                number,
                data: fields.required_json(line, "data")?,
                time: fields.integer("time", 0)?,
            })));
        }
        if fields.boolean("continue")? == Some(true) {
            return Ok(Some(StreamReply::Continue));
        }
        Ok(Outcome::take(line, fields)?.map(StreamReply::Ended))
    }
}

/// Answers `list_jobs` (section 15 of the HTTP contract), as far as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsReply {
    /// The jobs, an array of objects.
    pub jobs: Json,
    /// The cursor of the page behind this one, if there is one.
    pub next: Option<String>,
}

impl Reply for JobsReply {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"jobs\":");
        self.jobs.write(out);
        if let Some(next) = &self.next {
            write::key(out, "next");
            write::string(out, next);
        }
        out.extend_from_slice(b"}\n");
    }

    fn take(
        line: &Bytes,
        FieldsOf(fields): &mut FieldsOf<'_, '_>,
    ) -> Result<Option<Self>, Misshapen> {
        let Some(jobs) = fields.json(line, "jobs")? else {
            return Ok(None);
        };
        let next = fields.string("next")?;
        Ok(Some(JobsReply { jobs, next }))
    }
}

/// Answers `hello` (section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloReply {
    /// Name and version of the dispatcher, as `harpcallerd/0.1.0`.
    pub server: String,
    /// Every extension in force.
    pub features: Vec<String>,
}

impl Reply for HelloReply {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harpcaller\":1,\"server\":");
        write::string(out, &self.server);
        out.extend_from_slice(b",\"features\":[");
        for (index, feature) in self.features.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b",");
            }
            write::string(out, feature);
        }
        out.extend_from_slice(b"]}\n");
    }

    fn take(_: &Bytes, FieldsOf(fields): &mut FieldsOf<'_, '_>) -> Result<Option<Self>, Misshapen> {
        let Some(server) = fields.string("server")? else {
            return Ok(None);
        };
        let features = match fields.raw("features") {
            None => Vec::new(),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| fields.error("features", "must be an array of strings"))?,
        };
        Ok(Some(HelloReply { server, features }))
    }
}

#[cfg(test)]
mod tests;
