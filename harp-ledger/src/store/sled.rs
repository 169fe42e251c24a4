//! The embedded engine: sled 0.34 behind the guards that it needs.
//!
//! - Its `flush` does not reach the disk on Linux (`sync_file_range`), so [`Engine::sync`]
//!   follows it with an `fdatasync` of the data file, on a descriptor of our own.
//! - It can panic on damaged files. Every call into it turns a panic into an error.
//! - Its errors are sticky: after one on writing, the engine is of no further use for
//!   writes.
//! - It keeps entries of a page together and syncs only its main file, so entries stay
//!   small ([`layout::PIECE`](super::layout::PIECE)).
//! - Its settings are left as they are, except for the size of the cache: no compression,
//!   background flush (which also collects garbage) at its 500 ms.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::directory::Directory;
use super::frame::{self, Damage};

/// One open sled database.
pub(crate) struct Engine {
    db: sled::Db,
    data_file: File,
}

/// A value as the engine holds it. It is seen without its frame; a damaged one is seen
/// as empty.
pub(crate) struct Value {
    framed: sled::IVec,
    begin: Result<usize, Damage>,
}

/// Why the engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Damaged(String),
    /// The value of one key is not what was written.
    #[error("the value of {key:02x?}: {damage}")]
    Value { key: Vec<u8>, damage: Damage },
}

/// Writes that are applied all or none.
#[derive(Default)]
pub(crate) struct Batch {
    writes: sled::Batch,
    len: usize,
    mark: u64,
}

impl Batch {
    /// For writes that come to the disk under this mark.
    pub(crate) fn new(mark: u64) -> Batch {
        Batch {
            mark,
            ..Batch::default()
        }
    }

    /// Writes a value in its frame.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.writes.insert(key, frame::wrap(key, self.mark, value));
        self.len += 1;
    }

    /// What has been collected; this is left empty.
    pub(crate) fn take(&mut self) -> Batch {
        let mark = self.mark;
        std::mem::replace(self, Batch::new(mark))
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.writes.remove(key);
        self.len += 1;
    }

    /// How many writes are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Value {
    pub(super) fn new(key: &[u8], framed: &[u8]) -> Value {
        Value {
            begin: frame::unwrap(key, framed),
            framed: framed.into(),
        }
    }

    /// The value without a copy, for what is soon dropped: it may keep more of the engine's
    /// cache in memory than itself.
    pub(crate) fn share(&self) -> Bytes {
        let begin = self.begin.unwrap_or(self.framed.len());
        Bytes::from_owner(self.framed.clone()).slice(begin..)
    }

    /// What is wrong with it, if anything.
    pub(crate) fn damage(&self) -> Option<Damage> {
        self.begin.err()
    }
}

impl std::ops::Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.framed[self.begin.unwrap_or(self.framed.len())..]
    }
}

impl Engine {
    /// Opens the database in a directory that has been prepared, or makes one. The cache
    /// may take `cache_size` bytes.
    pub(crate) fn open(directory: &Directory, cache_size: u64) -> Result<Engine, EngineError> {
        let config = sled::Config::new()
            .path(directory.path())
            // The engine counts the bytes of pages as they are stored, and keeps them in
            // memory as two to three times that.
            .cache_capacity(cache_size / 3);
        let data_file = File::options()
            .read(true)
            .write(true)
            .open(directory.data_file())
            .map_err(EngineError::Io)?;
        let db = guarded(|| config.open())?;
        Ok(Engine { db, data_file })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = guarded(|| self.db.get(key))?;
        value.map(|value| unframed(key, &value)).transpose()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, EngineError> {
        guarded(|| self.db.contains_key(key))
    }

    /// The last entry whose key is from `from` to `to`, both included.
    pub(crate) fn last(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let last = guarded(|| self.db.range(from..=to).next_back().transpose())?;
        last.map(|(key, value)| Ok((Bytes::copy_from_slice(&key), unframed(&key, &value)?)))
            .transpose()
    }

    /// Shows the entries from key `from` up to, not including, `to` in order of their
    /// keys, until `visit` breaks off.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: impl FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        guarded(|| show(self.db.range(from..to), visit))
    }

    /// Shows the entries like [`Engine::scan`], from the last one on.
    pub(crate) fn scan_back(
        &self,
        from: &[u8],
        to: &[u8],
        visit: impl FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        guarded(|| show(self.db.range(from..to).rev(), visit))
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> Result<bool, EngineError> {
        guarded(|| self.db.iter().next().transpose()).map(|first| first.is_none())
    }

    pub(crate) fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        guarded(|| self.db.apply_batch(batch.writes))
    }

    /// Returns when all that has been applied is on the disk.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        guarded(|| self.db.flush())?;
        self.data_file.sync_data().map_err(EngineError::Io)
    }

    /// Stops it. Returns whether it let go of its file within `patience`: it has threads
    /// of its own, which keep the file locked and may go on for a moment.
    pub(crate) fn close(self, patience: Duration) -> bool {
        let Engine { db, data_file } = self;
        let asked = Instant::now();
        // A flusher that died of a damaged file never answers, so a thread waits for it.
        let dropping = std::thread::Builder::new()
            .name("store closing".into())
            .spawn(move || {
                guarded(|| {
                    drop(db);
                    Ok(())
                })
            });
        if dropping.is_err() {
            return false;
        }
        while data_file.try_lock().is_err() {
            if asked.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        data_file.sync_all().is_ok()
    }
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> EngineError {
        match error {
            // A file that ends too soon is no failure of the disk.
            sled::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                EngineError::Damaged("a page of the file db is missing".into())
            }
            sled::Error::Io(error) => EngineError::Io(readable(error)),
            sled::Error::Corruption { .. } => {
                EngineError::Damaged("a checksum of the engine's files does not fit".into())
            }
            other => EngineError::Damaged(other.to_string()),
        }
    }
}

/// The engine keeps its first error on writing and gives out copies, in which the system's words
/// are what `Debug` makes of an error. The error as the system has told it.
fn readable(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let words = error.to_string();
    match within(&words) {
        Some(system) => system,
        None if ["Kind(", "Custom {", "Error {"]
            .iter()
            .any(|begin| words.starts_with(begin)) =>
        {
            error.kind().into()
        }
        None => error,
    }
}

/// The system's error of which words like those of `Debug` tell, however often they were copied.
fn within(words: &str) -> Option<io::Error> {
    let (_, rest) = words.split_once("Os { code: ")?;
    let (number, _) = rest.split_once(|character: char| !character.is_ascii_digit())?;
    number.parse().ok().map(io::Error::from_raw_os_error)
}

fn show(
    entries: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    mut visit: impl FnMut(&[u8], &Value) -> ControlFlow<()>,
) -> sled::Result<()> {
    for entry in entries {
        let (key, framed) = entry?;
        let begin = frame::unwrap(&key, &framed);
        if visit(&key, &Value { framed, begin }).is_break() {
            break;
        }
    }
    Ok(())
}

/// A value without its frame. Copied, because the engine's value would keep its whole page
/// in memory.
pub(super) fn unframed(key: &[u8], framed: &[u8]) -> Result<Bytes, EngineError> {
    match frame::unwrap(key, framed) {
        Ok(begin) => Ok(Bytes::copy_from_slice(&framed[begin..])),
        Err(damage) => Err(EngineError::Value {
            key: key.to_vec(),
            damage,
        }),
    }
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, EngineError> {
    // Whatever the panic left half done stays inside the engine, which is not written to
    // any more after an error.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Ok(result?),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            let system = within(message).map(|error| error.to_string());
            let message = system.as_deref().unwrap_or(message);
            Err(EngineError::Damaged(format!(
                "the engine gave up: {message}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_the_systems_words_however_often_the_engine_has_copied_it() {
        let told = |error: sled::Error| match EngineError::from(error) {
            EngineError::Io(error) => error.to_string(),
            other => panic!("{other}"),
        };
        let full = sled::Error::Io(io::Error::from_raw_os_error(27));
        let words = io::Error::from_raw_os_error(27).to_string();
        for error in [full.clone().clone(), full.clone(), full] {
            assert_eq!(told(error), words);
        }
        let kind = io::ErrorKind::StorageFull;
        let error = sled::Error::Io(kind.into());
        assert_eq!(
            told(error.clone().clone()),
            io::Error::from(kind).to_string()
        );
        let own = sled::Error::Io(io::Error::new(kind, "own words"));
        assert_eq!(told(own.clone()), io::Error::from(kind).to_string());
        assert_eq!(told(own), "own words");
        let failed = io::Error::from_raw_os_error(27);
        let panic = guarded::<()>(|| panic!("it was {failed:?}"));
        assert!(panic.unwrap_err().to_string().ends_with(&words));
    }
}
