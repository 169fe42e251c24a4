//! Entries by key: those of the open engine, or those that were found in its file without
//! it. What reads them need not know which.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::sled::{Engine, EngineError, Value};

/// Entries in the order of their keys. Values are given without their frames.
pub(crate) trait Entries {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Whether there is this key.
    fn contains(&self, key: &[u8]) -> Result<bool, EngineError>;

    /// The last entry whose key is from `from` to `to`, both included.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError>;

    /// Shows the entries from key `from` up to, not including, `to`, until `visit` breaks
    /// off.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), EngineError>;
}

impl Entries for Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Engine::get(self, key)
    }

    fn contains(&self, key: &[u8]) -> Result<bool, EngineError> {
        Engine::contains(self, key)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        Engine::last(self, from, to)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        Engine::scan(self, from, to, visit)
    }
}
