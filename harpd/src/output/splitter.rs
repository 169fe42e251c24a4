//! Lines of an output. A long one does not stay in memory while it comes.

use bytes::Bytes;
use harp_proto::{Failure, LineBuffer};

use crate::answer::{LONG, no_room};
use crate::stash::Stash;

/// Cuts an output into lines.
#[derive(Debug)]
pub(super) struct Splitter {
    /// The line that is coming, as long as it is short; what is behind a long one.
    buffer: LineBuffer,
    /// The beginning of a long line.
    long: Option<Stash>,
    /// The long line is whole, without its end.
    is_whole: bool,
    limit: usize,
    keeps_carriage_returns: bool,
}

/// A line without its end.
#[derive(Debug)]
pub(super) enum Line {
    Short(Bytes),
    Long(Stash),
}

/// The line at the front is longer than it may be.
#[derive(Debug)]
pub(super) struct TooLong;

impl Splitter {
    pub(super) fn new(limit: usize) -> Splitter {
        Splitter {
            buffer: LineBuffer::new(limit),
            long: None,
            is_whole: false,
            limit,
            keeps_carriage_returns: false,
        }
    }

    /// A `\r` before the end belongs to the line.
    pub(super) fn keeping_carriage_returns(limit: usize) -> Splitter {
        Splitter {
            buffer: LineBuffer::keeping_carriage_returns(limit),
            keeps_carriage_returns: true,
            ..Splitter::new(limit)
        }
    }

    /// Takes bytes in. All lines before them have been taken out.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let rest = match &mut self.long {
            Some(long) => {
                let end = memchr::memchr(b'\n', bytes);
                self.is_whole = end.is_some();
                let end = end.unwrap_or(bytes.len());
                long.push(&bytes[..end]).map_err(no_room)?;
                bytes.get(end + 1..).unwrap_or_default()
            }
            None => bytes,
        };
        self.buffer.space(rest.len()).extend_from_slice(rest);
        Ok(())
    }

    /// The next line, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Line>, TooLong> {
        if let Some(long) = &self.long {
            // A `\r` at the end may be part of the line's.
            let slack = usize::from(!self.keeps_carriage_returns);
            if long.len() > self.limit.saturating_add(slack) {
                return Err(TooLong);
            }
            if !self.is_whole {
                return Ok(None);
            }
            self.is_whole = false;
            return Ok(self.long.take().map(Line::Long));
        }
        let line = self.buffer.next_line().map_err(|_| TooLong)?;
        Ok(line.map(Line::Short))
    }

    /// Keeps a line that has become long where long ones are kept. To be called when there
    /// is no whole line.
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        if self.long.is_none() && self.buffer.partial_length() >= LONG {
            let mut long = Stash::default();
            long.push(self.buffer.held()).map_err(no_room)?;
            self.buffer.drop_front(self.buffer.partial_length());
            self.long = Some(long);
        }
        Ok(())
    }

    /// Gives the line at the front up, as far as it is still to come too.
    pub(super) fn skip_line(&mut self) {
        if self.long.take().is_none() || !self.is_whole {
            self.buffer.skip_line();
        }
        self.is_whole = false;
    }

    /// The beginning of the line that is coming, where that is short.
    pub(super) fn held(&self) -> &[u8] {
        self.buffer.held()
    }

    /// True if the line that is coming is long.
    pub(super) fn is_long(&self) -> bool {
        self.long.is_some()
    }

    /// Drops bytes at the front of the line that is coming; of a long one all.
    pub(super) fn drop_front(&mut self, count: usize) {
        if self.long.take().is_none() {
            self.buffer.drop_front(count);
        }
    }

    /// True if bytes are left that make no line yet.
    pub(super) fn has_partial_line(&self) -> bool {
        self.long.is_some() || self.buffer.has_partial_line()
    }
}
