//! How much the store holds, kept as numbers in it, so that nobody has to count.

use std::ops::ControlFlow;

use super::entries::Entries;
use super::layout::{self, Table};
use super::live_sum::LiveSum;
use super::sled::EngineError;

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Jobs that have ended.
    pub ended: u64,
    /// Bytes of calls, ends and packets, those of live jobs included: what was asked to
    /// be kept. The files are larger, and do not become smaller by pruning: what
    /// becomes free in them is used for new jobs.
    pub bytes: u64,
    /// The live jobs; `None` if the store does not say, or the state of one cannot be read.
    pub live: Option<LiveSum>,
}

impl Contents {
    /// Reads the totals; counts them if the store has noted none.
    pub(crate) fn read(engine: &dyn Entries) -> Result<Contents, EngineError> {
        match Contents::noted(engine)? {
            Some(contents) => Ok(contents),
            None => Contents::count(engine),
        }
    }

    /// Reads the totals that the store has noted.
    pub(crate) fn noted(engine: &dyn Entries) -> Result<Option<Contents>, EngineError> {
        let noted = match engine.get(layout::CONTENTS_KEY) {
            Err(EngineError::Value { .. }) => None,
            noted => noted?,
        };
        Ok(noted.as_deref().and_then(Contents::decode))
    }

    /// Reads the whole store.
    pub(crate) fn count(engine: &dyn Entries) -> Result<Contents, EngineError> {
        let mut contents = Contents {
            live: LiveSum::count(engine)?,
            ..Contents::default()
        };
        for table in layout::CONTENT_TABLES {
            engine.scan(&[table], &[table + 1], &mut |key, value| {
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
        let Contents { ended, bytes, live } = self;
        match live {
            Some(LiveSum { jobs, sum }) => format!("{ended} {bytes} {jobs} {sum}"),
            None => format!("{ended} {bytes}"),
        }
    }

    /// Decodes what [`Contents::encode`] has written; `None` for anything else.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Contents> {
        let mut numbers = std::str::from_utf8(text).ok()?.split(' ').map(str::parse);
        let mut next = || numbers.next().map(Result::ok);
        let (ended, bytes) = (next()??, next()??);
        let live = match next() {
            None => None,
            Some(jobs) => Some(LiveSum {
                jobs: jobs?,
                sum: next()??,
            }),
        };
        let is_all = next().is_none();
        is_all.then_some(Contents { ended, bytes, live })
    }
}

/// Bytes of an entry, as [`Contents::bytes`] counts them.
pub(crate) fn entry_size(key: &[u8], value: usize) -> u64 {
    (key.len() + value) as u64
}
