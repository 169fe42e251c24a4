//! The mode `harp`: the command writes lines of the host protocol, `{"stream": ANY}` for
//! packets and at the end one `{"result": ANY}` or `{"exception": {...}}`.

use bytes::Bytes;
use harp_proto::host::Message;
use harp_proto::{Failure, Json, LINE_ALLOWANCE, LineBuffer};

use super::{invalid, too_large, within};

#[derive(Debug)]
pub(super) struct Harp {
    buffer: LineBuffer,
    streams: bool,
    /// Whether the procedure's side may also end the call with an error.
    may_err: bool,
    limit: usize,
    end: Option<Message>,
}

impl Harp {
    pub(super) fn new(streams: bool, limit: usize) -> Harp {
        Harp {
            buffer: LineBuffer::new(limit.saturating_add(LINE_ALLOWANCE)),
            streams,
            may_err: false,
            limit,
            end: None,
        }
    }

    pub(super) fn with_errors(streams: bool, limit: usize) -> Harp {
        Harp {
            may_err: true,
            ..Harp::new(streams, limit)
        }
    }

    /// After an error, the next call goes on behind the line that was at fault.
    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Json>) -> Result<(), Failure> {
        self.buffer.space(bytes.len()).extend_from_slice(bytes);
        while let Some(line) = self.next_line()? {
            self.take(&line, packets)?;
        }
        Ok(())
    }

    pub(super) fn last_line(&mut self, packets: &mut Vec<Json>) -> Result<(), Failure> {
        if self.buffer.has_partial_line() {
            self.feed(b"\n", packets)
        } else {
            Ok(())
        }
    }

    pub(super) fn end(&mut self) -> Result<Message, Failure> {
        let end = self.end.clone();
        end.ok_or_else(|| invalid(b"", "it ended without a result or exception line"))
    }

    pub(super) fn exception(&self) -> Option<Failure> {
        match &self.end {
            Some(Message::Exception(failure)) => Some(failure.clone()),
            _ => None,
        }
    }

    fn take(&mut self, line: &Bytes, packets: &mut Vec<Json>) -> Result<(), Failure> {
        if self.end.is_some() {
            return Err(invalid(line, "a line after the result or exception line"));
        }
        match Message::decode(line).map_err(|error| invalid(line, error))? {
            Message::Stream(data) if self.streams => packets.push(within(self.limit, data)?),
            Message::Stream(_) => {
                return Err(invalid(
                    line,
                    "a stream line from a procedure configured without stream = true",
                ));
            }
            Message::Result(result) => {
                self.end = Some(Message::Result(within(self.limit, result)?));
            }
            Message::Exception(failure) => self.end = Some(Message::Exception(failure)),
            Message::Error(failure) if self.may_err => self.end = Some(Message::Error(failure)),
            Message::Acknowledged { .. } | Message::Error(_) => {
                return Err(invalid(
                    line,
                    "only stream, result and exception lines may be in it",
                ));
            }
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, Failure> {
        self.buffer.next_line().map_err(|_| {
            self.buffer.skip_line();
            too_large(self.limit)
        })
    }
}
