//! The modes `json` and `text`: everything the command writes is one result.

use bytes::BytesMut;
use harp_proto::{Failure, Json, LINE_ALLOWANCE};

use super::{parse, string, too_large};

#[derive(Debug)]
pub(super) struct Document {
    collected: BytesMut,
    is_json: bool,
    limit: usize,
}

impl Document {
    pub(super) fn json(limit: usize) -> Document {
        Document {
            collected: BytesMut::new(),
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
        self.collected.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn result(&mut self) -> Result<Json, Failure> {
        let collected = self.collected.split().freeze();
        if !self.is_json {
            return string(&collected, self.limit);
        }
        if collected.iter().all(u8::is_ascii_whitespace) {
            return Ok(Json::NULL);
        }
        parse(&collected, self.limit)
    }
}
