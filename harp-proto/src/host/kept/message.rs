//! Lines from a host to a caller.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

use super::Uptime;
use super::order::{boot, take_keep};
use crate::host::{self, NotAMessage};

/// A line of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The request or the attach is accepted.
    Acknowledged(Acknowledgement),
    /// The host is there.
    Beat {
        /// How long its harpd has lasted.
        up: Uptime,
        /// True if the call of the connection waits until fewer run there.
        waits: bool,
    },
    /// A packet or the end, as under `harp/1`. The acknowledgement of `harp/1` is none of
    /// `harp/2`, and is refused.
    Plain(host::Message),
}

/// A host's statement that it has a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// True if packets may follow.
    pub stream_result: bool,
    /// How long the call goes on alone, in whole seconds: at most what was asked for.
    pub keep: Duration,
    /// The life of this harpd.
    pub boot: String,
    /// How long that has lasted.
    pub up: Uptime,
    /// In the answer to an attach.
    pub attached: Option<Attached>,
}

/// Further keys of the answer to an attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The number of the first packet that follows.
    pub since: u64,
    /// True if the end is there already.
    pub ended: bool,
}

impl Message {
    /// Writes the line.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Acknowledged(acknowledgement) => acknowledgement.encode(out),
            Message::Beat { up, waits } => {
                out.extend_from_slice(b"{\"up\":");
                up.write(out);
                if *waits {
                    out.extend_from_slice(b",\"waits\":true");
                }
                out.extend_from_slice(b"}\n");
            }
            Message::Plain(message) => message.encode(out),
        }
    }

    /// Reads a line. Keys that the protocol does not name are passed over.
    ///
    /// # Errors
    ///
    /// [`NotAMessage`], which says what is wrong with the line.
    pub fn decode(line: &Bytes) -> Result<Message, NotAMessage> {
        let mut fields = Fields::read(line)
            .map_err(|error| NotAMessage(format!("not JSON: {error}")))?
            .ok_or_else(|| NotAMessage("not a JSON object".to_owned()))?;
        let shape = |error: ShapeError| NotAMessage(error.to_string());
        if fields.has("stream_result") {
            // One message a line, as everywhere.
            host::Message::decode(line)?;
            let acknowledgement = Acknowledgement::take(&mut fields).map_err(shape)?;
            return Ok(Message::Acknowledged(acknowledgement));
        }
        let is_plain = host::KINDS.iter().any(|kind| fields.has(kind));
        if fields.has("up") && !is_plain {
            fields.none_repeated().map_err(shape)?;
            let up = Uptime::required(&mut fields).map_err(shape)?;
            let waits = fields.boolean("waits").map_err(shape)?.unwrap_or(false);
            return Ok(Message::Beat { up, waits });
        }
        Ok(Message::Plain(host::Message::decode(line)?))
    }
}

impl Acknowledgement {
    fn encode(&self, out: &mut BytesMut) {
        let boolean = |value: bool| if value { &b"true"[..] } else { b"false" };
        out.extend_from_slice(b"{\"harp\":1,\"stream_result\":");
        out.extend_from_slice(boolean(self.stream_result));
        write::key(out, "keep");
        write::integer(out, self.keep.as_secs());
        write::key(out, "boot");
        write::string(out, &self.boot);
        write::key(out, "up");
        self.up.write(out);
        if let Some(Attached { since, ended }) = self.attached {
            write::key(out, "since");
            write::integer(out, since);
            write::key(out, "ended");
            out.extend_from_slice(boolean(ended));
        }
        out.extend_from_slice(b"}\n");
    }

    fn take(fields: &mut Fields<'_>) -> Result<Acknowledgement, ShapeError> {
        let stream_result = fields.boolean("stream_result")?.unwrap_or(false);
        let keep = take_keep(fields)?;
        let boot = boot(fields, "boot")?
            .ok_or_else(|| fields.error("boot", "missing, must be a string"))?;
        let up = Uptime::required(fields)?;
        let since = fields.integer("since", 0)?;
        let ended = fields.boolean("ended")?;
        let attached = match (since, ended) {
            (Some(since), Some(_)) if since >= 1 << 53 => {
                return Err(fields.error("since", "no call has had so many packets"));
            }
            (Some(since), Some(ended)) => Some(Attached { since, ended }),
            (None, None) => None,
            (None, Some(_)) => return Err(fields.error("since", "missing beside ended")),
            (Some(_), None) => return Err(fields.error("ended", "missing beside since")),
        };
        Ok(Acknowledgement {
            stream_result,
            keep,
            boot,
            up,
            attached,
        })
    }
}
