//! How much the store holds, kept as numbers in it, so that nobody has to count.

use std::ops::ControlFlow;

use super::layout::{self, Table};
use super::sled::{Engine, EngineError};

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Jobs that have ended.
    pub ended: u64,
    /// Bytes of calls, ends and packets, those of live jobs included: what was asked to
    /// be kept. The file is larger, see [`Store::prune`](super::Store::prune).
    pub bytes: u64,
}

impl Contents {
    /// What the store says of itself; counted if it says nothing.
    pub(crate) fn read(engine: &Engine) -> Result<Contents, EngineError> {
        let noted = engine.get(layout::CONTENTS_KEY)?;
        match noted.as_deref().and_then(Contents::decode) {
            Some(contents) => Ok(contents),
            None => Contents::count(engine),
        }
    }

    /// Reads the whole store.
    pub(crate) fn count(engine: &Engine) -> Result<Contents, EngineError> {
        let mut contents = Contents::default();
        for table in layout::CONTENT_TABLES {
            engine.scan(&[table], &[table + 1], |key, value| {
                contents.bytes += entry_size(key, value.len());
                contents.ended += u64::from(table == Table::Ends as u8);
                ControlFlow::Continue(())
            })?;
        }
        Ok(contents)
    }

    /// As it is kept in the store.
    #[must_use]
    pub fn encode(self) -> String {
        format!("{} {}", self.ended, self.bytes)
    }

    /// What [`Contents::encode`] has written; `None` for anything else.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Contents> {
        let (ended, bytes) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Contents {
            ended: ended.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }
}

/// What an entry counts in [`Contents::bytes`].
pub(crate) fn entry_size(key: &[u8], value: usize) -> u64 {
    (key.len() + value) as u64
}
