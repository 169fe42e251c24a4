//! The modes `lines` and `json-lines`: each line is a packet.

use bytes::Bytes;
use harp_proto::{Failure, Json, LineBuffer};

use super::{parse, string, too_large};

#[derive(Debug)]
pub(super) struct Lines {
    buffer: LineBuffer,
    is_json: bool,
    limit: usize,
}

impl Lines {
    /// Only `\n` ends a line here: a `\r` may be what the caller wants to see.
    pub(super) fn strings(limit: usize) -> Lines {
        Lines {
            buffer: LineBuffer::keeping_carriage_returns(limit),
            is_json: false,
            limit,
        }
    }

    pub(super) fn json(limit: usize) -> Lines {
        Lines {
            buffer: LineBuffer::new(limit),
            is_json: true,
            limit,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Json>) -> Result<(), Failure> {
        self.buffer.space(bytes.len()).extend_from_slice(bytes);
        while let Some(line) = self.next_line()? {
            packets.push(if self.is_json {
                parse(&line, self.limit)?
            } else {
                string(&line, self.limit)?
            });
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

    pub(super) fn result(&self) -> Json {
        if self.is_json {
            Json::NULL
        } else {
            Json::from_trusted(Bytes::from_static(br#"{"exit_code":0}"#))
        }
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, Failure> {
        self.buffer.next_line().map_err(|_| too_large(self.limit))
    }
}
