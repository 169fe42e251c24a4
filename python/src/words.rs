//! What a client that waits has to say meanwhile, on its way to Python's `logging`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harp_client::Error;
use pyo3::prelude::*;
use tokio::sync::Notify;

/// So many are kept when nobody fetches them.
const KEPT: usize = 100;

/// Warnings of one dispatcher's client. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    warnings: Mutex<Vec<String>>,
    more: Notify,
}

impl Words {
    /// Keeps a warning that the dispatcher was lost.
    pub(crate) fn lost(&self, error: &Error, wait: Duration) {
        let mut warnings = self.warnings();
        if warnings.len() < KEPT {
            warnings.push(format!(
                "{error}; trying again in {:.1} s",
                wait.as_secs_f64()
            ));
        }
        drop(warnings);
        self.0.more.notify_waiters();
    }

    /// Waits until there is another one.
    pub(crate) async fn more(&self) {
        self.0.more.notified().await;
    }

    /// Hands them to the logger `harp`.
    pub(crate) fn log(&self, py: Python<'_>) -> PyResult<()> {
        let warnings = std::mem::take(&mut *self.warnings());
        if warnings.is_empty() {
            return Ok(());
        }
        let logger = py.import("logging")?.call_method1("getLogger", ("harp",))?;
        for warning in warnings {
            logger.call_method1("warning", ("%s", warning))?;
        }
        Ok(())
    }

    fn warnings(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // A list of strings is whole whatever has panicked.
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
