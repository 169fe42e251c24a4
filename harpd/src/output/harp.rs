//! The mode `harp`: the command writes lines of the host protocol, `{"stream": ANY}` for
//! packets and at the end one `{"result": ANY}` or `{"exception": {...}}`.

use bytes::Bytes;
use harp_proto::host::Message;
use harp_proto::{Failure, LINE_ALLOWANCE};

use super::splitter::{Line, Splitter};
use super::{invalid, too_large, within};
use crate::answer::{Answer, Packet, Said, no_room, one_at_a_time};

#[derive(Debug)]
pub(super) struct Harp {
    lines: Splitter,
    streams: bool,
    /// Whether the procedure's side may also end the call with an error.
    may_err: bool,
    limit: usize,
    end: Option<Answer>,
}

impl Harp {
    pub(super) fn new(streams: bool, limit: usize) -> Harp {
        Harp {
            lines: Splitter::new(limit.saturating_add(LINE_ALLOWANCE)),
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
    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Result<(), Failure> {
        self.lines.feed(bytes)?;
        while let Some(line) = self.next_line()? {
            match line {
                Line::Short(line) => self.take(&line, packets)?,
                Line::Long(line) => one_at_a_time(|| {
                    let line = Bytes::from(line.read_all().map_err(no_room)?);
                    self.take(&line, packets)
                })?,
            }
        }
        self.lines.settle()
    }

    pub(super) fn last_line(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        if self.lines.has_partial_line() {
            self.feed(b"\n", packets)
        } else {
            Ok(())
        }
    }

    /// To be asked once.
    pub(super) fn end(&mut self) -> Result<Answer, Failure> {
        let end = self.end.take();
        end.ok_or_else(|| invalid(b"", "it ended without a result or exception line"))
    }

    /// To be asked once.
    pub(super) fn exception(&mut self) -> Option<Answer> {
        let is_exception = |end: &mut Answer| matches!(end.said(), Said::Exception(_));
        self.end.take_if(is_exception)
    }

    fn take(&mut self, line: &Bytes, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        if self.end.is_some() {
            return Err(invalid(line, "a line after the result or exception line"));
        }
        let end = match Message::decode(line).map_err(|error| invalid(line, error))? {
            Message::Stream(data) if self.streams => {
                packets.push(Packet::of(within(self.limit, data)?)?);
                return Ok(());
            }
            Message::Stream(_) => {
                return Err(invalid(
                    line,
                    "a stream line from a procedure configured without stream = true",
                ));
            }
            Message::Result(result) => Message::Result(within(self.limit, result)?),
            exception @ Message::Exception(_) => exception,
            error @ Message::Error(_) if self.may_err => error,
            Message::Acknowledged { .. } | Message::Error(_) => {
                return Err(invalid(
                    line,
                    "only stream, result and exception lines may be in it",
                ));
            }
        };
        self.end = Some(Answer::of(end)?);
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Line>, Failure> {
        self.lines.next().map_err(|_| {
            self.lines.skip_line();
            too_large(self.limit)
        })
    }
}
