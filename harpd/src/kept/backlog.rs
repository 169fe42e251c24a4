//! What a kept call has said and nobody has acknowledged: the lines of its packets, then
//! that of its end, in memory and in a [`Spool`].

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use harp_proto::host::Message;

mod cursor;

pub use cursor::Cursor;

use super::spool::{Elsewhere, Spool, Stock};
use crate::answer::{Answer, Packet, one_at_a_time};
use crate::stash::{InFile, Stash};

/// Packets are put together up to this size, in bytes, and then go from one place to
/// another together.
const SEGMENT: usize = 32 << 10;
/// What all calls together may keep in memory, in bytes; beyond it each has only
/// [`LEAST`].
const MEMORY_OF_ALL: usize = 16 << 20;
/// What each call may keep in memory whatever others do, in bytes.
const LEAST: usize = 16 << 10;

/// The lines.
#[derive(Debug)]
pub struct Backlog {
    stretches: VecDeque<Stretch>,
    /// The newest lines, which are no stretch yet, and how many they are.
    open: BytesMut,
    open_count: u64,
    /// Number of the next packet, and place of its line among all that ever were, in bytes.
    next: u64,
    position: u64,
    /// Greatest number of bytes in memory.
    limit: usize,
    memory: usize,
    /// The part of `memory` that the stock knows of.
    counted: usize,
    spool: Spool,
    /// Bytes of long lines, which stay in the files that they came in.
    elsewhere: u64,
    /// True while what is to be written is at the disk.
    is_spilling: bool,
    ended: bool,
}

/// Some lines that are kept together.
#[derive(Debug)]
struct Stretch {
    /// Place of the first, in bytes from the first of all.
    start: u64,
    length: usize,
    /// Number of the first packet, and how many there are; none in the line of the end.
    first: u64,
    count: u64,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory(Bytes),
    Spooled(u64),
    /// A long line in a file of its own.
    Own {
        line: Box<InFile>,
        _counted: Elsewhere,
    },
}

/// What a reader gets.
#[derive(Debug)]
pub enum Read {
    /// Some bytes were copied.
    Copied,
    /// There are none.
    Nothing,
    /// Some are to be read from this file.
    Spooled {
        /// The file.
        file: Arc<File>,
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
        /// True if they are of packets.
        packets: bool,
    },
}

/// Lines on their way to the disk.
#[derive(Debug)]
pub struct Spill {
    stock: Arc<Stock>,
    file: Option<Arc<File>>,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    offset: u64,
    bytes: Bytes,
}

/// Lines that are on the disk, or why not.
#[derive(Debug)]
pub struct Spilled {
    pieces: Vec<Piece>,
    written: io::Result<Arc<File>>,
}

impl Backlog {
    /// Nothing yet. Up to `limit` bytes stay in memory.
    #[must_use]
    pub fn new(limit: usize, spool: Spool) -> Backlog {
        Backlog {
            stretches: VecDeque::new(),
            open: BytesMut::new(),
            open_count: 0,
            next: 0,
            position: 0,
            limit: limit.max(1),
            memory: 0,
            counted: 0,
            spool,
            elsewhere: 0,
            is_spilling: false,
            ended: false,
        }
    }

    /// Number of the next packet: how many there were.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.next
    }

    /// True if the end is there.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// False if no more should come before something has gone.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let of_all = self.spool.stock().memory.load(Ordering::Relaxed);
        let has_memory =
            self.memory < self.limit && (of_all < MEMORY_OF_ALL || self.memory < LEAST);
        has_memory && !self.spool.is_over(self.elsewhere)
    }

    /// Puts packets behind the others.
    pub fn push(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            let before = self.open.len();
            match packet {
                Packet::Short(value) => Message::Stream(value).encode(&mut self.open),
                Packet::Long(line) => match line.into_file() {
                    Ok(line) => {
                        self.close_segment();
                        self.push_own(line, 1);
                        continue;
                    }
                    Err(line) => one_at_a_time(|| put(line, &mut self.open)),
                },
            }
            let length = self.open.len() - before;
            self.memory += length;
            self.position += length as u64;
            self.next += 1;
            self.open_count += 1;
            if self.open.len() >= SEGMENT.min(self.limit / 4) {
                self.close_segment();
            }
        }
        self.count();
    }

    /// Puts the end behind all.
    pub fn end(&mut self, answer: Answer) {
        self.close_segment();
        let mut line = BytesMut::new();
        match answer {
            Answer::Short(message) => message.encode(&mut line),
            Answer::Long { line: long, .. } => match long.into_file() {
                Ok(long) => {
                    self.push_own(long, 0);
                    self.ended = true;
                    return self.count();
                }
                Err(long) => one_at_a_time(|| put(long, &mut line)),
            },
        }
        let start = self.position;
        self.memory += line.len();
        self.position += line.len() as u64;
        self.stretches.push_back(Stretch {
            start,
            length: line.len(),
            first: self.next,
            count: 0,
            held: Held::Memory(line.freeze()),
        });
        self.ended = true;
        self.count();
    }

    /// Puts a long line behind the others: that of `packets` packets, or of the end.
    fn push_own(&mut self, line: InFile, packets: u64) {
        let length = line.length;
        self.stretches.push_back(Stretch {
            start: self.position,
            length: usize::try_from(length).unwrap_or(usize::MAX),
            first: self.next,
            count: packets,
            held: Held::Own {
                line: Box::new(line),
                _counted: self.spool.count_elsewhere(length),
            },
        });
        self.elsewhere += length;
        self.position += length;
        self.next += packets;
    }

    /// Packets below `packets` are needed no longer.
    pub fn acknowledge(&mut self, packets: u64) {
        while let Some(stretch) = self.stretches.front() {
            if stretch.count == 0 || stretch.first + stretch.count > packets {
                break;
            }
            match &stretch.held {
                Held::Memory(bytes) => self.memory -= bytes.len(),
                Held::Spooled(offset) => self.spool.release(*offset),
                Held::Own { line, .. } => self.elsewhere -= line.length,
            }
            self.stretches.pop_front();
        }
        if self.open_count > 0 && self.next <= packets {
            self.memory -= self.open.len();
            // A connection that has read less than this has been displaced by the one that has read it.
            self.open = BytesMut::new();
            self.open_count = 0;
        }
        self.count();
    }

    /// Copies what comes next, `most` bytes at most, or says where it is.
    pub fn read(&self, cursor: &mut Cursor, out: &mut BytesMut, most: usize) -> Read {
        let open_start = self.position - self.open.len() as u64;
        if !self.open.is_empty() && cursor.position >= open_start {
            let from = usize::try_from(cursor.position - open_start).unwrap_or(usize::MAX);
            return match self.open.get(from..) {
                Some([]) | None => Read::Nothing,
                Some(left) => cursor.copy(&left[..left.len().min(most)], true, out),
            };
        }
        let after = self
            .stretches
            .partition_point(|stretch| stretch.start <= cursor.position);
        let Some(stretch) = after.checked_sub(1).and_then(|at| self.stretches.get(at)) else {
            return Read::Nothing;
        };
        let from = usize::try_from(cursor.position - stretch.start).unwrap_or(usize::MAX);
        let length = stretch.length.saturating_sub(from).min(most);
        if length == 0 {
            return Read::Nothing;
        }
        let packets = stretch.count > 0;
        match (&stretch.held, self.spool.file()) {
            (Held::Memory(bytes), _) => cursor.copy(&bytes[from..from + length], packets, out),
            (Held::Spooled(offset), Some(file)) => Read::Spooled {
                file: Arc::clone(file),
                offset: offset + from as u64,
                length,
                packets,
            },
            (Held::Own { line, .. }, _) => {
                let (offset, left) = line.find(from as u64);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                Read::Spooled {
                    file: Arc::clone(&line.file),
                    offset,
                    length: length.min(left),
                    packets,
                }
            }
            // What is spooled has a file.
            (Held::Spooled(_), None) => Read::Nothing,
        }
    }

    /// Where the stretch of a packet begins, and how many packets of it are before that
    /// one.
    #[must_use]
    pub fn find(&self, packet: u64) -> (Cursor, u64) {
        let at = |position, packets| Cursor {
            position,
            packets,
            is_inside: false,
            at_end: false,
        };
        let open_first = self.next - self.open_count;
        if self.open_count > 0 && packet >= open_first {
            let open_start = self.position - self.open.len() as u64;
            return (at(open_start, open_first), packet - open_first);
        }
        let of_packet = |stretch: &&Stretch| packet < stretch.first + stretch.count;
        match self.stretches.iter().find(of_packet) {
            Some(stretch) => {
                let before = packet.saturating_sub(stretch.first);
                (at(stretch.start, stretch.first), before)
            }
            // Only the end is left, if that is there.
            None => {
                let end = self.stretches.back().filter(|stretch| stretch.count == 0);
                let position = end.map_or(self.position, |stretch| stretch.start);
                (at(position, self.next), 0)
            }
        }
    }

    /// Takes what should go to the disk now, if anything. It is to be written with
    /// [`Spill::write`] and then given to [`Backlog::spilled`].
    pub fn take_spill(&mut self) -> Option<Spill> {
        let of_all = self.spool.stock().memory.load(Ordering::Relaxed);
        let is_much = self.memory > self.limit / 2 || (self.ended && self.memory > LEAST);
        let is_scarce = of_all > MEMORY_OF_ALL / 2 && self.memory > LEAST;
        if self.is_spilling || !(is_much || is_scarce) {
            return None;
        }
        let goal = (self.limit / 4).min(LEAST);
        let mut stays = self.memory;
        let mut pieces = Vec::new();
        for stretch in &self.stretches {
            let Held::Memory(bytes) = &stretch.held else {
                continue;
            };
            if stays <= goal {
                break;
            }
            let Some(offset) = self.spool.reserve(bytes.len()) else {
                break;
            };
            stays -= bytes.len();
            pieces.push(Piece {
                start: stretch.start,
                offset,
                bytes: bytes.clone(),
            });
        }
        if pieces.is_empty() {
            return None;
        }
        self.is_spilling = true;
        Some(Spill {
            stock: Arc::clone(self.spool.stock()),
            file: self.spool.file().cloned(),
            pieces,
        })
    }

    /// Takes in what has been written.
    ///
    /// # Errors
    ///
    /// What the system said, if it was not: all of it has stayed in memory.
    pub fn spilled(&mut self, spilled: Spilled) -> io::Result<()> {
        self.is_spilling = false;
        let result = match spilled.written {
            Ok(file) => {
                self.spool.set_file(file);
                Ok(())
            }
            Err(error) => Err(error),
        };
        for piece in spilled.pieces {
            let at = self
                .stretches
                .binary_search_by_key(&piece.start, |stretch| stretch.start);
            let stretch = at.ok().and_then(|at| self.stretches.get_mut(at));
            match stretch {
                Some(stretch) if result.is_ok() => {
                    stretch.held = Held::Spooled(piece.offset);
                    self.memory -= stretch.length;
                }
                // It has been acknowledged meanwhile, or is not on the disk.
                _ => self.spool.release(piece.offset),
            }
        }
        self.count();
        result
    }

    fn close_segment(&mut self) {
        if self.open_count == 0 {
            return;
        }
        // In a buffer of its own size, so that what is counted is what is held.
        let bytes = if self.open.capacity() > 2 * SEGMENT {
            let large = std::mem::take(&mut self.open);
            if large.len() > large.capacity() / 2 {
                large.freeze()
            } else {
                Bytes::copy_from_slice(&large)
            }
        } else {
            let bytes = Bytes::copy_from_slice(&self.open);
            self.open.clear();
            bytes
        };
        self.stretches.push_back(Stretch {
            start: self.position - bytes.len() as u64,
            length: bytes.len(),
            first: self.next - self.open_count,
            count: self.open_count,
            held: Held::Memory(bytes),
        });
        self.open_count = 0;
    }

    /// Tells the stock what is in memory.
    fn count(&mut self) {
        let memory = &self.spool.stock().memory;
        if self.memory >= self.counted {
            memory.fetch_add(self.memory - self.counted, Ordering::Relaxed);
        } else {
            memory.fetch_sub(self.counted - self.memory, Ordering::Relaxed);
        }
        self.counted = self.memory;
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.memory = 0;
        self.count();
    }
}

impl Spill {
    /// Writes. Blocks.
    #[must_use]
    pub fn write(self) -> Spilled {
        let write = || {
            let file = match self.file {
                Some(file) => file,
                None => self.stock.make_file()?,
            };
            for piece in &self.pieces {
                file.write_all_at(&piece.bytes, piece.offset)?;
            }
            Ok(file)
        };
        Spilled {
            written: write(),
            pieces: self.pieces,
        }
    }
}
/// Puts a line behind others. One of which the file cannot be read any more ends in the
/// middle, which its caller takes for no line.
fn put(mut line: Stash, into: &mut BytesMut) {
    while let Ok(bytes) = line.front()
        && !bytes.is_empty()
    {
        let count = bytes.len();
        into.extend_from_slice(bytes);
        line.advance(count);
    }
    if !into.ends_with(b"\n") {
        into.extend_from_slice(b"\n");
    }
}

#[cfg(test)]
mod tests;
