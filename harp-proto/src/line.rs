//! Cutting lines out of what a socket delivers.

use bytes::{Buf, Bytes, BytesMut};

/// An unfinished line that is shorter than this many bytes is small.
const SMALL: usize = 4 * 1024;

/// From this length on an unfinished line gets all the room it may need.
const LARGE: usize = 64 * 1024;

/// Collects bytes and gives out whole lines, each at most a fixed number of bytes long.
///
/// The owner reads into [`LineBuffer::space`] and then takes lines until there are no
/// more. Memory is bounded: one line of the greatest length, and one read beyond it.
///
/// ```
/// use harp_proto::LineBuffer;
///
/// let mut lines = LineBuffer::new(100);
/// lines.space(64).extend_from_slice(b"one\r\ntwo\nthr");
/// assert_eq!(lines.next_line().unwrap().unwrap(), "one");
/// assert_eq!(lines.next_line().unwrap().unwrap(), "two");
/// assert_eq!(lines.next_line().unwrap(), None);
/// assert!(lines.has_partial_line());
/// ```
#[derive(Debug)]
pub struct LineBuffer {
    buffer: BytesMut,
    /// Bytes at the front of `buffer` that are known to hold no line end.
    searched: usize,
    limit: usize,
    keeps_carriage_returns: bool,
    /// True while the rest of a line that was given up is still to come.
    is_skipping: bool,
}

/// A line is longer than the buffer's limit. What follows it can be understood only by
/// the reader that gives it up, with [`LineBuffer::skip_line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line longer than {limit} bytes")]
pub struct LineTooLong {
    /// The greatest length of a line, its end not counted.
    pub limit: usize,
}

/// A whole line at the front of the buffer.
struct Found {
    /// The place of its `\n`.
    end: usize,
    /// Its length without the line's end.
    length: usize,
}

impl LineBuffer {
    /// A buffer for lines of at most `limit` bytes, the line's end not counted.
    #[must_use]
    pub fn new(limit: usize) -> LineBuffer {
        LineBuffer {
            buffer: BytesMut::new(),
            searched: 0,
            limit,
            keeps_carriage_returns: false,
            is_skipping: false,
        }
    }

    /// A buffer of lines in which a `\r` before the end is part of the line: for text that
    /// is no protocol's.
    #[must_use]
    pub fn keeping_carriage_returns(limit: usize) -> LineBuffer {
        LineBuffer {
            keeps_carriage_returns: true,
            ..LineBuffer::new(limit)
        }
    }

    /// Allows lines of up to `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The place for the next bytes from the socket, with room for at least `wanted`. There
    /// can be much more room than that: a reader that counts the bytes of large lines bounds the read.
    pub fn space(&mut self, wanted: usize) -> &mut BytesMut {
        let needed = self.buffer.len() + wanted;
        if self.buffer.len() < LARGE || needed <= self.buffer.capacity() {
            self.buffer.reserve(wanted);
            return &mut self.buffer;
        }
        // All that the line may ever need: what is not written to costs nothing, and copies
        // that grow would leave their like behind.
        let longest = self.limit.saturating_add(wanted);
        let capacity = self.buffer.len().saturating_mul(256).min(longest);
        let mut larger = BytesMut::with_capacity(capacity.max(needed));
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
        &mut self.buffer
    }

    /// How many bytes the unfinished line may come to with a read of `wanted`, in steps that
    /// double; `None` if it is small, fewer than 4 KiB before the read.
    #[must_use]
    pub fn demand(&self, wanted: usize) -> Option<usize> {
        let length = self.buffer.len();
        (length >= SMALL).then(|| (length + wanted).next_power_of_two())
    }

    /// Bytes that have arrived and are no line yet.
    #[must_use]
    pub fn partial_length(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole line without its `\n` and a `\r` before it, or `None` if more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`] as soon as the line is known to be over the limit, finished or
    /// not. It is repeated on every later call.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let Some(Found { end, length }) = self.find()? else {
            return Ok(None);
        };
        self.searched = 0;
        if end + 1 < self.buffer.len() {
            let mut line = self.buffer.split_to(end + 1).freeze();
            line.truncate(length);
            if length >= SMALL && self.buffer.len() < length / 4 {
                // What is behind a large line does not hold on to its memory.
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
            return Ok(Some(line));
        }
        // The last line for now: an idle connection holds no memory, and a short line
        // does not hold on to a whole read.
        let mut last = std::mem::take(&mut self.buffer);
        if length < last.capacity() / 4 {
            return Ok(Some(Bytes::copy_from_slice(&last[..length])));
        }
        last.truncate(length);
        Ok(Some(last.freeze()))
    }

    /// Lets `look` see the next whole line, if there is one, and removes the line if
    /// that returns something. For many short lines of which nothing is kept: they cost
    /// no memory of their own.
    ///
    /// # Errors
    ///
    /// As for [`LineBuffer::next_line`].
    pub fn next_line_if<T>(
        &mut self,
        look: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, LineTooLong> {
        let Some(Found { end, length }) = self.find()? else {
            return Ok(None);
        };
        let seen = look(&self.buffer[..length]);
        if seen.is_some() {
            self.searched = 0;
            if end + 1 < self.buffer.len() {
                self.buffer.advance(end + 1);
            } else {
                self.buffer = BytesMut::new();
            }
        } else {
            // Found again at once.
            self.searched = end;
        }
        Ok(seen)
    }

    /// Gives up the line at the front, also as far as it is still to come.
    pub fn skip_line(&mut self) {
        self.is_skipping = true;
    }

    /// The bytes that are held, from the front of the first line that was not taken.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.buffer
    }

    /// Drops bytes at the front; all that are held, if there are not so many.
    pub fn drop_front(&mut self, count: usize) {
        self.buffer.advance(count.min(self.buffer.len()));
        self.searched = self.searched.saturating_sub(count);
    }

    /// Finds the end of the next whole line, if it is here.
    fn find(&mut self) -> Result<Option<Found>, LineTooLong> {
        if self.is_skipping {
            let end = memchr::memchr(b'\n', &self.buffer);
            self.is_skipping = end.is_none();
            self.searched = 0;
            self.buffer
                .advance(end.map_or(self.buffer.len(), |end| end + 1));
        }
        let too_long = LineTooLong { limit: self.limit };
        let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return if self.length_up_to(self.buffer.len()) > self.limit {
                Err(too_long)
            } else {
                Ok(None)
            };
        };
        let end = self.searched + found;
        let length = self.length_up_to(end);
        if length > self.limit {
            Err(too_long)
        } else {
            Ok(Some(Found { end, length }))
        }
    }

    /// The length of a line that ends at this place. A `\r` there belongs to the line's
    /// end, or may be about to.
    fn length_up_to(&self, end: usize) -> usize {
        let stripped = !self.keeps_carriage_returns && self.buffer[..end].ends_with(b"\r");
        end - usize::from(stripped)
    }

    /// True if bytes are left that do not (yet) make a line.
    #[must_use]
    pub fn has_partial_line(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(lines: &mut LineBuffer, bytes: &[u8]) {
        lines.space(bytes.len()).extend_from_slice(bytes);
    }

    #[test]
    fn a_line_of_just_the_limit_passes_and_one_more_byte_does_not() {
        for end in ["\n", "\r\n"] {
            let mut lines = LineBuffer::new(4);
            feed(&mut lines, format!("abcd{end}").as_bytes());
            assert_eq!(lines.next_line().unwrap().unwrap(), "abcd");
            feed(&mut lines, format!("abcde{end}").as_bytes());
            assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
        }
    }

    #[test]
    fn a_line_without_end_is_refused_as_soon_as_it_is_too_long() {
        let mut lines = LineBuffer::new(4);
        feed(&mut lines, b"abcd");
        assert_eq!(lines.next_line(), Ok(None));
        feed(&mut lines, b"\r");
        assert_eq!(lines.next_line(), Ok(None));
        feed(&mut lines, b"e");
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn carriage_returns_stay_where_they_are_text() {
        let mut lines = LineBuffer::keeping_carriage_returns(4);
        feed(&mut lines, b"ab\r\nabc\r\nabcd\r");
        assert_eq!(lines.next_line().unwrap().unwrap(), "ab\r");
        assert_eq!(lines.next_line().unwrap().unwrap(), "abc\r");
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn a_line_that_is_given_up_takes_no_other_along() {
        for cut in 1..12 {
            let mut lines = LineBuffer::new(4);
            let mut got = Vec::new();
            for piece in b"abcdefgh\nijkl\n".chunks(cut) {
                feed(&mut lines, piece);
                loop {
                    match lines.next_line() {
                        Ok(Some(line)) => got.push(line),
                        Ok(None) => break,
                        Err(_) => lines.skip_line(),
                    }
                }
            }
            assert_eq!(got, ["ijkl"], "{cut}");
            assert!(!lines.has_partial_line());
        }
    }

    #[test]
    fn what_is_dropped_at_the_front_was_never_there() {
        let mut lines = LineBuffer::new(4);
        feed(&mut lines, b"abcd");
        assert_eq!(lines.next_line(), Ok(None));
        lines.drop_front(2);
        assert_eq!(lines.held(), b"cd");
        feed(&mut lines, b"ef\n");
        assert_eq!(lines.next_line().unwrap().unwrap(), "cdef");
        lines.drop_front(1);
        assert_eq!(lines.held(), b"");
    }

    proptest! {
        #[test]
        fn however_the_bytes_arrive_the_lines_are_the_same(
            lines in proptest::collection::vec("[a-z\r]{0,12}", 0..12),
            cuts in proptest::collection::vec(1_usize..9, 1..40),
        ) {
            let wire: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut rest = wire.as_bytes();
            let mut buffer = LineBuffer::new(12);
            let mut got = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                feed(&mut buffer, now);
                rest = later;
                while let Some(line) = buffer.next_line().unwrap() {
                    got.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            let want: Vec<_> = lines
                .iter()
                .map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
                .collect();
            prop_assert_eq!(got, want);
            prop_assert!(!buffer.has_partial_line());
        }
    }
}
