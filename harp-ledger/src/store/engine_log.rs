//! The engine's file, read without the engine: sled 0.34 keeps everything in one log.
//!
//! The file `db` is a row of segments of 512 KiB. A segment begins with a header of 20
//! bytes: CRC-32, its log sequence number (LSN), and how far the log was on disk. Then
//! come messages, each with CRC-32, kind, length, number of the segment and of the page,
//! up to a `Cap` or the last 32 bytes. The number of the segment times its length is its
//! LSN, so each message says itself when it was written.
//!
//! Segments that the engine does not need any more are written over, from the beginning;
//! what is behind is older then, and a message is cut where the new ones end.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use flate2::Crc;

/// Length of a segment.
pub(super) const SEGMENT: usize = 512 * 1024;

const SEGMENT_HEADER: usize = 20;

/// No message begins in so many last bytes of a segment.
const RED_ZONE: usize = 32;

/// Greatest number of a page, but for those of messages that are about none.
const MAX_PAGE: u64 = 1 << 37;

/// Greatest number of a segment that is believed: 2^50 bytes written.
const MAX_SEGMENT: u64 = 1 << 31;

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page as a whole.
    Page,
    /// A change of a page.
    Change,
    /// Nothing follows in this segment.
    Cap,
    /// Anything that is not about values.
    Other,
}

/// A message whose checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) page: u64,
    /// Position in the order of writing: greater is later.
    pub(super) lsn: u64,
    /// Offset of its content in the file.
    pub(super) at: u64,
    /// Length of its content in bytes.
    pub(super) len: usize,
}

/// A segment of the file.
#[derive(Debug, Default)]
pub(super) struct LogSegment {
    /// Its LSN and how far the log was on disk when it was begun; `None` if its header is
    /// none.
    pub(super) header: Option<(u64, u64)>,
    /// In the order of the file.
    pub(super) messages: Vec<Message>,
    /// Bytes, by their places in the file, that are no message: holes between messages, and
    /// what is behind the last one.
    pub(super) gaps: Vec<Range<u64>>,
    /// The first message that is not read, as the engine would read on from the beginning:
    /// so many of `messages` come before it. `None` if it reads to the end.
    pub(super) broken_after: Option<usize>,
}

impl LogSegment {
    /// Whether messages of a later life of the segment stand in it: it is being written
    /// over, and what it held before is nowhere needed.
    pub(super) fn is_written_over(&self) -> bool {
        let Some((lsn, _)) = self.header else {
            return false;
        };
        let end = lsn + SEGMENT as u64;
        self.messages.iter().any(|message| message.lsn >= end)
    }
}

/// Reads segment number `index` of a file of this length.
pub(super) fn segment(file: &File, index: u64, length: u64) -> io::Result<LogSegment> {
    let base = index * SEGMENT as u64;
    let len = usize::try_from((length - base).min(SEGMENT as u64)).unwrap_or(SEGMENT);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, base)?;
    Ok(decode(&bytes, base))
}

/// Reads the header of a segment alone.
pub(super) fn header(file: &File, index: u64) -> io::Result<Option<(u64, u64)>> {
    let mut bytes = [0; SEGMENT_HEADER];
    match file.read_exact_at(&mut bytes, index * SEGMENT as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(decode_header(&bytes)),
    }
}

/// How many segments a file of this length has, the last one perhaps cut short.
pub(super) fn count(length: u64) -> u64 {
    length.div_ceil(SEGMENT as u64)
}

fn decode_header(bytes: &[u8]) -> Option<(u64, u64)> {
    let (crc, rest) = bytes.get(..SEGMENT_HEADER)?.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) ^ u32::MAX != checksum(&[rest]) {
        return None;
    }
    let number = |bytes: &[u8]| {
        let bytes = bytes.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes) ^ (u64::MAX >> 1))
    };
    let (lsn, stable) = (number(rest)?, number(&rest[8..])?);
    // Of a segment that was given up.
    if lsn % SEGMENT as u64 != 0 || lsn / SEGMENT as u64 > MAX_SEGMENT {
        return None;
    }
    // Before anything was on disk it is negative.
    Some((lsn, if stable > u64::MAX >> 1 { 0 } else { stable }))
}

fn decode(bytes: &[u8], base: u64) -> LogSegment {
    let mut segment = LogSegment {
        header: decode_header(bytes),
        ..LogSegment::default()
    };
    let mut at = SEGMENT_HEADER.min(bytes.len());
    if segment.header.is_none() {
        segment.broken_after = Some(0);
    }
    let own = segment.header.map(|(lsn, _)| lsn);
    let mut gap = None;
    let end = bytes.len().min(SEGMENT - RED_ZONE + 1);
    while at < end {
        let Some((message, next)) = message(bytes, at, base) else {
            gap.get_or_insert(at);
            at += 1;
            continue;
        };
        let is_own = own.is_some_and(|lsn| message.lsn / SEGMENT as u64 == lsn / SEGMENT as u64);
        if gap.is_some() || !is_own {
            segment.broken_after.get_or_insert(segment.messages.len());
        }
        if let Some(begin) = gap.take() {
            segment.gaps.push(base + begin as u64..base + at as u64);
        }
        segment.messages.push(message);
        at = next;
        if message.kind == Kind::Cap && is_own {
            return segment;
        }
    }
    if let Some(begin) = gap {
        segment
            .gaps
            .push(base + begin as u64..base + bytes.len() as u64);
        segment.broken_after.get_or_insert(segment.messages.len());
    } else if bytes.len() < SEGMENT {
        segment.broken_after.get_or_insert(segment.messages.len());
    }
    segment
}

/// The message at this place of a segment that begins at `base`, and where the next one
/// would be.
fn message(bytes: &[u8], at: usize, base: u64) -> Option<(Message, usize)> {
    let header = bytes.get(at..)?;
    let kind = match header.get(4)? {
        8 => Kind::Page,
        10 => Kind::Change,
        2 => Kind::Cap,
        1..=11 => Kind::Other,
        _ => return None,
    };
    let mut rest = &header[5..];
    let len = usize::try_from(number(&mut rest)?).ok()?;
    let segment = number(&mut rest)?;
    let page = number(&mut rest)?;
    let is_page = page <= MAX_PAGE || page >= u64::MAX - 666;
    if len > rest.len() || segment > MAX_SEGMENT || !is_page {
        return None;
    }
    let begin = header.len() - rest.len();
    let crc = u32::from_le_bytes(*header.first_chunk()?);
    if checksum(&[&rest[..len], &header[4..begin]]) ^ u32::MAX != crc {
        return None;
    }
    let message = Message {
        kind,
        page,
        lsn: segment * SEGMENT as u64 + at as u64,
        at: base + (at + begin) as u64,
        len,
    };
    Some((message, at + begin + len))
}

/// Values that pages, and changes of pages, have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// All entries with keys from `low` up to, not including, `high` (no bound if that is
    /// empty): what their keys have in common, then each one's rest and value.
    Page {
        low: &'a [u8],
        high: &'a [u8],
        prefix: &'a [u8],
        entries: Vec<(&'a [u8], &'a [u8])>,
    },
    /// An entry: the rest of its key, and its value.
    Set(&'a [u8], &'a [u8]),
    /// No entry of this key, of which this is the rest.
    Remove(&'a [u8]),
}

/// The content of a message; `None` if it is not about values.
pub(super) fn content(kind: Kind, bytes: &[u8]) -> Option<Content<'_>> {
    let mut rest = bytes;
    match kind {
        Kind::Change => match take(&mut rest)? {
            0 => Some(Content::Set(text(&mut rest)?, text(&mut rest)?)),
            1 => Some(Content::Remove(text(&mut rest)?)),
            _ => None,
        },
        Kind::Page => {
            let (_next, _merging_child) = (number(&mut rest)?, number(&mut rest)?);
            let (_merging, prefix) = (take(&mut rest)?, take(&mut rest)?);
            let (low, high) = (text(&mut rest)?, text(&mut rest)?);
            let prefix = low.get(..usize::from(prefix))?;
            // Else it is a page of other pages.
            if take(&mut rest)? != 0 {
                return None;
            }
            let count = usize::try_from(number(&mut rest)?).ok()?;
            let mut texts =
                |count| -> Option<Vec<_>> { (0..count).map(|_| text(&mut rest)).collect() };
            let (keys, values) = (texts(count)?, texts(count)?);
            Some(Content::Page {
                low,
                high,
                prefix,
                entries: keys.into_iter().zip(values).collect(),
            })
        }
        Kind::Cap | Kind::Other => None,
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(rest)?).ok()?;
    let (text, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(text)
}

/// A number in the engine's own form.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let first = take(rest)?;
    match first {
        0..=240 => Some(u64::from(first)),
        241..=248 => Some(240 + 256 * (u64::from(first) - 241) + u64::from(take(rest)?)),
        249 => Some(2288 + 256 * u64::from(take(rest)?) + u64::from(take(rest)?)),
        _ => {
            let (bytes, behind) = rest.split_at_checked(usize::from(first) - 247)?;
            *rest = behind;
            let bytes = bytes.iter().rev();
            Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
        }
    }
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part);
    }
    crc.sum()
}

/// What a snapshot of the engine knows.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Up to which LSN it knows the log.
    pub(super) known: u64,
    /// The numbers of pages, each with every offset in the file at which a part of it is.
    pub(super) pages: Vec<(u64, u64)>,
}

/// Reads a snapshot of the engine; `None` if it is damaged.
pub(super) fn snapshot(bytes: &[u8]) -> Option<Places> {
    let (body, end) = bytes.split_at_checked(bytes.len().checked_sub(12)?)?;
    let (length, crc) = end.split_first_chunk::<8>()?;
    let crc = u32::from_le_bytes(*crc.first_chunk()?);
    if u64::from_le_bytes(*length) != body.len() as u64 || checksum(&[body]) != crc {
        return None;
    }
    let mut rest = body;
    let known = signed(&mut rest)?.checked_sub(1)?;
    let _active_segment = number(&mut rest)?;
    let mut pages = Vec::new();
    for page in 0.. {
        if rest.is_empty() {
            break;
        }
        match take(&mut rest)? {
            0 => {
                signed(&mut rest)?;
                place(&mut rest)?;
            }
            parts => {
                for _ in 0..parts {
                    signed(&mut rest)?;
                    pages.push((page, place(&mut rest)?));
                    number(&mut rest)?;
                }
            }
        }
    }
    let known = u64::try_from(known).ok()?;
    Some(Places { known, pages })
}

/// Reads the position of a message of the log, in a snapshot.
fn place(rest: &mut &[u8]) -> Option<u64> {
    let is_outside = take(rest)? == 1;
    let at = number(rest)?;
    if is_outside {
        signed(rest)?;
    }
    Some(at)
}

fn signed(rest: &mut &[u8]) -> Option<i64> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(i64::from_le_bytes(*bytes))
}
