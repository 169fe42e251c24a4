//! The file of a call whose packets are more than its memory is for. Private, and gone with
//! harpd however that ends, since it has no name.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

/// Bytes that a call keeps in files of other parts' making.
#[derive(Debug)]
pub struct Elsewhere {
    stock: Arc<Stock>,
    length: u64,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.stock.files.fetch_sub(self.length, Ordering::Relaxed);
    }
}

/// What all calls together keep, and where.
#[derive(Debug)]
pub struct Stock {
    /// Bytes in memory.
    pub(super) memory: AtomicUsize,
    /// Bytes that files take.
    files: AtomicU64,
    /// The directory of the files.
    directory: PathBuf,
}

/// A call's file, and what of it is in use. It is a ring: what is kept first goes first.
#[derive(Debug)]
pub struct Spool {
    stock: Arc<Stock>,
    /// Greatest length of the file, in bytes.
    limit: u64,
    /// Greatest length of all files together, in bytes.
    limit_of_all: u64,
    file: Option<Arc<File>>,
    /// Length of the file.
    length: u64,
    /// Where the next one goes.
    head: u64,
    /// Places in use, oldest first: offset and length.
    used: VecDeque<(u64, u64)>,
}

impl Stock {
    /// Nothing yet; files are to be made in this directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Arc<Stock> {
        Arc::new(Stock {
            memory: AtomicUsize::new(0),
            files: AtomicU64::new(0),
            directory,
        })
    }

    /// Makes a file without a name, that only this process can read. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn make_file(&self) -> io::Result<Arc<File>> {
        tempfile::tempfile_in(&self.directory).map(Arc::new)
    }

    fn grow(&self, by: u64, limit: u64) -> bool {
        let grown = |files: u64| files.checked_add(by).filter(|files| *files <= limit);
        self.files
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok()
    }
}

impl Spool {
    /// No file yet, and one of `limit` bytes at most if that leaves those of all calls
    /// under `limit_of_all`.
    #[must_use]
    pub fn new(stock: Arc<Stock>, limit: u64, limit_of_all: u64) -> Spool {
        Spool {
            stock,
            limit,
            limit_of_all,
            file: None,
            length: 0,
            head: 0,
            used: VecDeque::new(),
        }
    }

    /// What all calls keep.
    #[must_use]
    pub fn stock(&self) -> &Arc<Stock> {
        &self.stock
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// Takes a file that was made for it, if it has none.
    pub fn set_file(&mut self, file: Arc<File>) {
        self.file.get_or_insert(file);
    }

    /// Counts so many bytes that are in another file: one packet is always taken.
    #[must_use]
    pub fn count_elsewhere(&self, length: u64) -> Elsewhere {
        self.stock.files.fetch_add(length, Ordering::Relaxed);
        Elsewhere {
            stock: Arc::clone(&self.stock),
            length,
        }
    }

    /// True if no more should come, with so many bytes of the call in other files.
    #[must_use]
    pub fn is_over(&self, elsewhere: u64) -> bool {
        let of_all = self.stock.files.load(Ordering::Relaxed);
        elsewhere > 0 && (self.length + elsewhere >= self.limit || of_all >= self.limit_of_all)
    }

    /// A place for so many bytes; `None` if a limit is reached.
    pub fn reserve(&mut self, length: usize) -> Option<u64> {
        let length = length as u64;
        let offset = match self.used.front() {
            None => 0,
            Some((oldest, _)) if self.head <= *oldest => {
                let fits = self.head + length <= *oldest;
                fits.then_some(self.head)?
            }
            Some(_) if self.head + length <= self.limit => self.head,
            // At the beginning only then: what is there is all that could follow.
            Some((oldest, _)) if length <= *oldest => 0,
            Some(_) => return None,
        };
        let end = offset + length;
        if end > self.limit {
            return None;
        }
        if end > self.length {
            if !self.stock.grow(end - self.length, self.limit_of_all) {
                return None;
            }
            self.length = end;
        }
        self.head = end;
        self.used.push_back((offset, length));
        Some(offset)
    }

    /// Gives a place back.
    pub fn release(&mut self, offset: u64) {
        if let Some(at) = self.used.iter().position(|(used, _)| *used == offset) {
            self.used.remove(at);
        }
        if self.used.is_empty() {
            self.clear();
        }
    }

    /// Gives up the file, and the disk's room with it.
    fn clear(&mut self) {
        self.used.clear();
        self.head = 0;
        self.stock.files.fetch_sub(self.length, Ordering::Relaxed);
        self.length = 0;
        let Some(file) = self.file.take() else { return };
        // To free many blocks takes a disk its time.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(file))),
            Err(_) => drop(file),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Reads from a file. Blocks.
///
/// # Errors
///
/// What the system says.
pub fn read(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spool(limit: u64, limit_of_all: u64) -> Spool {
        Spool::new(Stock::new(PathBuf::from("/nowhere")), limit, limit_of_all)
    }

    #[test]
    fn a_file_stays_under_its_limit_and_all_under_theirs() {
        let mut first = spool(100, 150);
        let mut second = Spool::new(Arc::clone(first.stock()), 100, 150);
        assert_eq!(first.reserve(60), Some(0));
        assert_eq!(first.reserve(50), None);
        assert_eq!(first.reserve(40), Some(60));
        assert_eq!(second.reserve(60), None);
        assert_eq!(second.reserve(50), Some(0));
        first.release(0);
        assert_eq!(first.reserve(61), None);
        assert_eq!(first.reserve(60), Some(0));
        first.release(60);
        first.release(0);
        assert_eq!(second.reserve(50), Some(50));
        drop(second);
        assert_eq!(first.stock().files.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Each step keeps more, or gives back the oldest.
        #[test]
        fn no_two_share_a_byte(steps in proptest::collection::vec(0_usize..40, 0..200)) {
            let mut spool = spool(100, 1000);
            let mut model: VecDeque<(u64, u64)> = VecDeque::new();
            for step in steps {
                if step < 12 {
                    if let Some((oldest, _)) = model.pop_front() {
                        spool.release(oldest);
                    }
                } else if let Some(offset) = spool.reserve(step) {
                    let end = offset + step as u64;
                    prop_assert!(end <= 100);
                    for (other, length) in &model {
                        prop_assert!(end <= *other || other + length <= offset);
                    }
                    model.push_back((offset, step as u64));
                } else {
                    prop_assert!(!model.is_empty());
                }
            }
            model.into_iter().for_each(|(offset, _)| spool.release(offset));
            prop_assert_eq!(spool.stock().files.load(Ordering::Relaxed), 0);
        }
    }
}
