//! The modes `json` and `text`: everything the command writes is one result.

use bytes::Bytes;
use harp_proto::host::Message;
use harp_proto::{Failure, Json, LINE_ALLOWANCE};

use super::{long_string, parse, parse_long, string, too_large};
use crate::answer::{Answer, LONG, no_room};
use crate::stash::Stash;

#[derive(Debug)]
pub(super) struct Document {
    collected: Stash,
    is_json: bool,
    limit: usize,
}

impl Document {
    pub(super) fn json(limit: usize) -> Document {
        Document {
            collected: Stash::default(),
            is_json: true,
            limit,
        }
    }

    pub(super) fn text(limit: usize) -> Document {
        Document {
            is_json: false,
            ..Document::json(limit)
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // White space around the value, a last newline above all, is not part of it.
        if self.collected.len() + bytes.len() > self.limit.saturating_add(LINE_ALLOWANCE) {
            return Err(too_large(self.limit));
        }
        self.collected.push(bytes).map_err(no_room)
    }

    pub(super) fn result(&mut self) -> Result<Answer, Failure> {
        let collected = std::mem::take(&mut self.collected);
        let result = |result| Answer::of(Message::Result(result));
        if collected.len() >= LONG {
            if self.is_json {
                return parse_long(collected, self.limit, result);
            }
            let mut line = Answer::begin_result()?;
            long_string(collected, self.limit, &mut line)?;
            return Answer::end_result(line);
        }
        let collected = Bytes::from(collected.read_all().map_err(no_room)?);
        if !self.is_json {
            return result(string(&collected, self.limit)?);
        }
        if collected.iter().all(u8::is_ascii_whitespace) {
            return result(Json::NULL);
        }
        result(parse(&collected, self.limit)?)
    }
}
