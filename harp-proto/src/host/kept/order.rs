//! Lines from a caller to a host.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

use super::{CallId, EPOCH_LIMIT, MAX_BOOT, MAX_KEEP, Uptime};
use crate::host::{self, open, take_auth, write_auth};
use crate::{Failure, Fault, Password, Traceparent};

/// A line of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Run this.
    Call(Request),
    /// Go on with a call that runs, or give its end.
    Attach(Attach),
    /// Packets below `packets` are durable.
    Ack {
        /// The number of packets from the first on that may be forgotten.
        packets: u64,
        /// The newest `up` that came from the host.
        up: Uptime,
        /// True if the end is durable too: the call may be forgotten.
        end: bool,
    },
    /// End the call, and say so.
    Cancel,
}

/// A request under `harp/2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The call to run.
    pub call: host::Request,
    /// How it outlives its connection.
    pub keep: Keep,
}

/// Keys that make a request one that can be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The name of the call.
    pub call: CallId,
    /// How long the host goes on alone, in whole seconds.
    pub keep: Duration,
    /// Rises with each request and attach for a job; below [`EPOCH_LIMIT`].
    pub epoch: u64,
    /// The life of harpd that the call is meant for; `None` if the caller knows none.
    pub boot: Option<String>,
    /// On a connection that has had a call: the newest `up` that came on it.
    pub up: Option<Uptime>,
    /// The place of the call in a trace. To be said only to a life of harpd that takes it
    /// ([`super::Denial::WrongBoot`]).
    pub traceparent: Option<Traceparent>,
}

/// Takes up a call again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The name of the call.
    pub call: CallId,
    /// Packets from this one on are wanted.
    pub since: u64,
    /// As in [`Keep::epoch`].
    pub epoch: u64,
    /// As in [`Keep::up`].
    pub up: Option<Uptime>,
    /// The user who has called, and attaches.
    pub user: String,
    /// That user's password.
    pub password: Password,
}

impl Order {
    /// Writes the line.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Order::Call(request) => request.write_keys(out),
            Order::Attach(attach) => attach.write_keys(out),
            Order::Ack { packets, up, end } => {
                out.extend_from_slice(b"{\"ack\":");
                write::integer(out, *packets);
                write::key(out, "up");
                up.write(out);
                if *end {
                    write::key(out, "end");
                    out.extend_from_slice(b"true");
                }
            }
            Order::Cancel => out.extend_from_slice(b"{\"cancel\":true"),
        }
        out.extend_from_slice(b"}\n");
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// The failure to answer with: `parse_error`, `invalid_protocol` or
    /// `invalid_request`, the last with the `field` in its data.
    pub fn decode(line: &Bytes) -> Result<Order, Failure> {
        Order::read(line).map_err(|fault| fault.0)
    }

    fn read(line: &Bytes) -> Result<Order, Fault> {
        let mut fields = Fields::read(line)
            .map_err(Fault::parse_error)?
            .ok_or_else(|| Fault::invalid_protocol("a line is a JSON object"))?;
        let order = if fields.has("ack") {
            fields.none_repeated()?;
            let packets = fields
                .integer("ack", 0)?
                .ok_or_else(|| fields.error("ack", "must be a whole number, 0 or more"))?;
            let up = Uptime::required(&mut fields)?;
            let end = fields.boolean("end")?.unwrap_or(false);
            Order::Ack { packets, up, end }
        } else if fields.has("cancel") {
            fields.none_repeated()?;
            if fields.boolean("cancel")? != Some(true) {
                return Err(fields.error("cancel", "must be true").into());
            }
            Order::Cancel
        } else {
            fields = open(line)?;
            if fields.has("attach") {
                Order::Attach(Attach::take(&mut fields)?)
            } else {
                Order::Call(Request::take(line, &mut fields)?)
            }
        };
        fields.none_left()?;
        Ok(order)
    }
}

impl Request {
    fn write_keys(&self, out: &mut BytesMut) {
        let Keep {
            call,
            keep,
            epoch,
            boot,
            up,
            traceparent,
        } = &self.keep;
        self.call.write_keys(out);
        write::key(out, "call");
        write::string(out, &call.to_string());
        write::key(out, "keep");
        write::integer(out, keep.as_secs());
        write_epoch(out, *epoch, *up);
        write::key(out, "boot");
        match boot {
            Some(boot) => write::string(out, boot),
            None => out.extend_from_slice(b"null"),
        }
        if let Some(traceparent) = traceparent {
            write::key(out, "traceparent");
            write::string(out, &traceparent.to_string());
        }
    }

    fn take(line: &Bytes, fields: &mut Fields<'_>) -> Result<Request, Fault> {
        Ok(Request {
            call: host::Request::take(line, fields)?,
            keep: Keep {
                call: call_id(fields, "call")?,
                keep: take_keep(fields)?,
                epoch: epoch(fields)?,
                boot: boot(fields, "boot")?,
                up: Uptime::take(fields)?,
                // One that is not so written is as good as none.
                traceparent: fields
                    .string("traceparent")?
                    .and_then(|text| text.parse().ok()),
            },
        })
    }
}

impl Attach {
    fn write_keys(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harp\":1");
        write::key(out, "attach");
        write::string(out, &self.call.to_string());
        write::key(out, "since");
        write::integer(out, self.since);
        write_epoch(out, self.epoch, self.up);
        write_auth(out, &self.user, &self.password);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Attach, ShapeError> {
        let call = call_id(fields, "attach")?;
        let since = fields
            .integer("since", 0)?
            .ok_or_else(|| fields.error("since", "missing, must be a whole number"))?;
        let epoch = epoch(fields)?;
        let up = Uptime::take(fields)?;
        let (user, password) = take_auth(fields)?;
        Ok(Attach {
            call,
            since,
            epoch,
            up,
            user,
            password,
        })
    }
}

fn write_epoch(out: &mut BytesMut, epoch: u64, up: Option<Uptime>) {
    write::key(out, "epoch");
    write::integer(out, epoch);
    if let Some(up) = up {
        write::key(out, "up");
        up.write(out);
    }
}

fn call_id(fields: &mut Fields<'_>, key: &str) -> Result<CallId, ShapeError> {
    let text = fields.required_string(key)?;
    text.parse()
        .map_err(|error: super::NotACallId| fields.error(key, error.to_string()))
}

fn epoch(fields: &mut Fields<'_>) -> Result<u64, ShapeError> {
    match fields.integer("epoch", 0)? {
        Some(epoch) if epoch < EPOCH_LIMIT => Ok(epoch),
        Some(_) => Err(fields.error("epoch", "must be below 2^53")),
        None => Err(fields.error("epoch", "missing, must be a whole number")),
    }
}

/// Takes `keep`, of a request or an acknowledgement.
pub(super) fn take_keep(fields: &mut Fields<'_>) -> Result<Duration, ShapeError> {
    match fields.integer("keep", 1)? {
        Some(seconds) => Ok(Duration::from_secs(seconds.min(MAX_KEEP))),
        None => Err(fields.error("keep", "missing, must be a number of seconds")),
    }
}

/// True for what can be the name of a life of harpd.
pub(super) fn is_boot(boot: &str) -> bool {
    let is_text = boot.bytes().all(|byte| byte.is_ascii_graphic());
    !boot.is_empty() && boot.len() <= MAX_BOOT && is_text
}

/// Takes the name of a life of harpd, or null.
pub(super) fn boot(fields: &mut Fields<'_>, key: &str) -> Result<Option<String>, ShapeError> {
    let boot = fields.string(key)?;
    if boot.as_deref().is_some_and(|boot| !is_boot(boot)) {
        let problem = format!("must be 1 to {MAX_BOOT} printable ASCII characters");
        return Err(fields.error(key, problem));
    }
    Ok(boot)
}
