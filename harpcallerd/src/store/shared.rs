//! What readers and the writer of a store have in common.

use std::sync::{Arc, PoisonError, RwLock};

use super::contents::Contents;
use super::error::StoreError;
use super::sled::{Engine, EngineError};
use super::unsynced::Unsynced;

/// The engine as long as the store is open, and why it is not written to if it is not.
pub(crate) struct Shared {
    engine: RwLock<Option<Arc<Engine>>>,
    failure: RwLock<Option<Arc<str>>>,
    contents: RwLock<Contents>,
    pub(crate) unsynced: Unsynced,
}

const CLOSED: &str = "it is closed";

impl Shared {
    pub(crate) fn new(engine: Engine, contents: Contents) -> Shared {
        Shared {
            engine: RwLock::new(Some(Arc::new(engine))),
            failure: RwLock::new(None),
            contents: RwLock::new(contents),
            unsynced: Unsynced::new(),
        }
    }

    /// The engine, for one operation: kept longer, it would keep the store from closing.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        // A panic with the lock held would have left the place as it was.
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine
            .clone()
            .ok_or_else(|| StoreError::Unreadable(CLOSED.into()))
    }

    /// Takes the engine away from the readers.
    pub(crate) fn take_engine(&self) -> Option<Arc<Engine>> {
        self.fail(CLOSED);
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        engine.take()
    }

    /// Why nothing can be written, if so.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        let failure = self.failure.read().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    /// From now on nothing is written. The first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        let mut failure = self.failure.write().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| reason.into());
    }

    /// How much there is on disk.
    pub(crate) fn contents(&self) -> Contents {
        *self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the writer calls this.
    pub(crate) fn set_contents(&self, contents: Contents) {
        let mut known = self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = contents;
    }
}

impl From<EngineError> for StoreError {
    /// The form that an error takes for a reader.
    fn from(error: EngineError) -> StoreError {
        StoreError::Unreadable(error.to_string())
    }
}
