//! Bytes of calls that wait to be moved on: in memory as far as there is room, the rest in a
//! file without a name.
//!
//! Whoever has arguments, a line or a result to be kept puts them into a [`Stash`]. Each one
//! may keep a little in memory whatever the others have, and more as long as all of them
//! together keep no more than [`MOST_OF_ALL`]. So the memory of harpd does not grow with what
//! procedures print or how slowly callers take it, and nobody waits for anybody's memory.
//!
//! The file is in `TMPDIR`, else in `/var/tmp`, where there is a disk as a rule, else where
//! the system keeps temporary files. It goes with its last descriptor, so a harpd that is
//! killed leaves nothing.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BytesMut};

/// Bytes that each may keep in memory whatever others have.
const SMALL: usize = 4 << 10;
/// Bytes that one may keep in memory as long as there is room.
const MOST_OF_ONE: usize = 64 << 10;
/// Bytes that all may keep in memory together, those that keep no more than [`SMALL`] not
/// counted.
const MOST_OF_ALL: usize = 4 << 20;
/// Bytes that are counted and read at once.
const STEP: usize = 16 << 10;

/// Bytes that are counted towards [`MOST_OF_ALL`].
static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// Bytes in their order: put in at the end, taken out at the front.
#[derive(Debug, Default)]
pub struct Stash {
    /// The first ones.
    front: BytesMut,
    /// Bytes of memory that are counted for it.
    counted: usize,
    /// Those behind them.
    behind: Option<Behind>,
}

/// All bytes of a stash in its file, from which they can be read again and again.
#[derive(Debug)]
pub struct InFile {
    /// The file.
    pub file: Arc<File>,
    /// Where those behind the first ones begin.
    begins: u64,
    /// Where these end, and the first ones begin.
    turn: u64,
    /// How many they are in all.
    pub length: u64,
}

impl InFile {
    /// Where the byte of this number is, and how many follow there, itself included.
    #[must_use]
    pub fn find(&self, at: u64) -> (u64, u64) {
        let behind = self.turn - self.begins;
        let first = self.length - behind;
        if at < first {
            (self.turn + at, first - at)
        } else {
            (self.begins + at - first, self.length - at)
        }
    }
}

/// Bytes in a file.
#[derive(Debug)]
struct Behind {
    file: File,
    read: u64,
    written: u64,
}

impl Stash {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let behind = self.behind.as_ref().map_or(0, Behind::left);
        self.front.len() + usize::try_from(behind).unwrap_or(usize::MAX)
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.behind.is_none()
    }

    /// Puts bytes behind the others. Blocks, if they come into a file.
    ///
    /// # Errors
    ///
    /// If no file can be made, or it cannot be written. Then what there is may be cut short.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.behind.is_none() && self.may_keep(self.front.len() + bytes.len()) {
            self.front.extend_from_slice(bytes);
            return Ok(());
        }
        blocking(|| {
            let behind = match &mut self.behind {
                Some(behind) => behind,
                none => none.insert(Behind::new()?),
            };
            behind.write(bytes)
        })
    }

    /// The bytes at the front: some, if there are any at all. Blocks for a moment, if they
    /// come out of a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn front(&mut self) -> io::Result<&[u8]> {
        if self.front.is_empty()
            && let Some(behind) = &mut self.behind
        {
            blocking(|| behind.read(&mut self.front))?;
            if behind.left() == 0 {
                self.behind = None;
            }
        }
        Ok(&self.front)
    }

    /// Takes so many of the bytes of [`Stash::front`] out.
    pub fn advance(&mut self, count: usize) {
        self.front.advance(count);
        if self.front.is_empty() {
            self.front = BytesMut::new();
            self.keep_no_more();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Stash::default();
    }

    /// Puts all that is in another one behind the others. Blocks, if it is in files.
    ///
    /// # Errors
    ///
    /// As for [`Stash::push`].
    pub fn append(&mut self, mut other: Stash) -> io::Result<()> {
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        while !other.is_empty() {
            let bytes = other.front()?;
            let count = bytes.len();
            self.push(bytes)?;
            other.advance(count);
        }
        Ok(())
    }

    /// All of it, in memory. Blocks. Whoever asks has to see to it that not many do at once.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::with_capacity(self.len());
        while !self.is_empty() {
            let bytes = self.front()?;
            let count = bytes.len();
            all.extend_from_slice(bytes);
            self.advance(count);
        }
        Ok(all)
    }

    /// All of it in one file, and where its bytes are there: those behind the first ones, then
    /// these. `Err` gives it back where all of it is in memory, or the file does not take
    /// the first bytes. Blocks.
    pub fn into_file(mut self) -> Result<InFile, Stash> {
        let Some(Behind {
            file,
            read,
            written,
        }) = &self.behind
        else {
            return Err(self);
        };
        let file_is = blocking(|| {
            file.write_all_at(&self.front, *written)
                .and(file.try_clone())
        });
        let Ok(file) = file_is else {
            return Err(self);
        };
        let in_file = InFile {
            file: Arc::new(file),
            begins: *read,
            turn: *written,
            length: self.len() as u64,
        };
        self.clear();
        Ok(in_file)
    }

    /// Takes room in memory for so many bytes in all, if there is any.
    fn may_keep(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL.max(self.counted) {
            return true;
        }
        if bytes > MOST_OF_ONE {
            return false;
        }
        let more = bytes.next_multiple_of(STEP) - self.counted;
        let counted = COUNTED.fetch_add(more, Ordering::Relaxed);
        if counted + more > MOST_OF_ALL {
            COUNTED.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.counted += more;
        true
    }

    fn keep_no_more(&mut self) {
        COUNTED.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = 0;
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        self.keep_no_more();
    }
}

impl Behind {
    fn new() -> io::Result<Behind> {
        Ok(Behind {
            file: file()?,
            read: 0,
            written: 0,
        })
    }

    fn left(&self) -> u64 {
        self.written - self.read
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Where the file stands is the end of what was written: it is read elsewhere.
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn read(&mut self, into: &mut BytesMut) -> io::Result<()> {
        let count = usize::try_from(self.left()).map_or(STEP, |left| left.min(STEP));
        into.resize(count, 0);
        self.file.read_exact_at(into, self.read)?;
        self.read += count as u64;
        Ok(())
    }
}

fn file() -> io::Result<File> {
    let temporary = std::env::temp_dir();
    if std::env::var_os("TMPDIR").is_none()
        && let Ok(file) = tempfile::tempfile_in(Path::new("/var/tmp"))
    {
        return Ok(file);
    }
    tempfile::tempfile_in(&temporary).map_err(|error| {
        let why = format!("cannot make a file in {}: {error}", temporary.display());
        io::Error::new(error.kind(), why)
    })
}

/// Does what takes a while, such as reading and writing files, without keeping other calls
/// waiting.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        for step in [1, 1000, MOST_OF_ONE, 300_000] {
            let mut stash = Stash::default();
            let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
            let (mut put, mut got) = (0, Vec::new());
            // Taken out more slowly than they are put in, then to the end.
            while put < bytes.len() || !stash.is_empty() {
                let end = (put + step).min(bytes.len());
                stash.push(&bytes[put..end]).unwrap();
                put = end;
                let count = stash.front().unwrap().len().div_ceil(2);
                got.extend_from_slice(&stash.front().unwrap()[..count]);
                stash.advance(count);
                assert_eq!(stash.len(), put - got.len());
            }
            assert!(got == bytes, "{step}");
        }
    }

    #[test]
    fn one_keeps_little_in_memory_and_all_of_them_no_more_than_there_is_room() {
        let mut many = Vec::new();
        for _ in 0..2 * MOST_OF_ALL / MOST_OF_ONE {
            let mut stash = Stash::default();
            stash.push(&[0; MOST_OF_ONE]).unwrap();
            stash.push(&[0; MOST_OF_ONE]).unwrap();
            assert!(stash.behind.is_some());
            many.push(stash);
        }
        let kept: usize = many.iter().map(|stash| stash.front.len()).sum();
        assert!(kept <= MOST_OF_ALL, "{kept}");
        let mut small = Stash::default();
        small.push(&[0; SMALL]).unwrap();
        assert!(small.behind.is_none());
        for mut stash in many {
            let mut other = Stash::default();
            other.push(b"x").unwrap();
            stash.append(other).unwrap();
            let all = stash.read_all().unwrap();
            assert_eq!((all.len(), all.last()), (2 * MOST_OF_ONE + 1, Some(&b'x')));
        }
    }
}
