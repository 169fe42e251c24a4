//! A place in the lines of a kept call, up to which somebody has read.

use bytes::BytesMut;

use super::Read;

/// How far somebody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) position: u64,
    /// Packets before it.
    pub(super) packets: u64,
    /// True in the middle of a line.
    pub(super) is_inside: bool,
    /// True behind the end's line.
    pub(super) at_end: bool,
}

impl Cursor {
    /// Packets that have been read whole.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// True in the middle of a line.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// True if the end has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Goes on by bytes that have been read; `packets` says whether they are of packets.
    pub fn advance(&mut self, bytes: &[u8], packets: bool) {
        self.position += bytes.len() as u64;
        self.is_inside = bytes.last() != Some(&b'\n');
        if packets {
            self.packets += memchr::memchr_iter(b'\n', bytes).count() as u64;
        } else {
            self.at_end = !self.is_inside;
        }
    }

    /// Goes on behind so many lines of these bytes, or to their end. Returns how many are
    /// left to pass over.
    pub fn skip(&mut self, bytes: &[u8], lines: u64) -> u64 {
        let ends = memchr::memchr_iter(b'\n', bytes);
        let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
        let end = ends.take(wanted).last().map_or(0, |end| end + 1);
        let before = self.packets;
        self.advance(&bytes[..end], true);
        let left = lines - (self.packets - before);
        if left > 0 && end < bytes.len() {
            // A line that goes on behind these bytes.
            self.advance(&bytes[end..], true);
        }
        left
    }

    pub(super) fn copy(&mut self, bytes: &[u8], packets: bool, out: &mut BytesMut) -> Read {
        out.extend_from_slice(bytes);
        self.advance(bytes, packets);
        Read::Copied
    }
}
