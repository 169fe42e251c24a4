//! The program's function that is told when the dispatcher was lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;

/// A function of the program that uses this crate.
#[derive(Clone)]
pub(crate) struct OnLost(Arc<Told>);

type Told = dyn Fn(&Error, Duration) + Send + Sync;

impl OnLost {
    pub(crate) fn new(told: impl Fn(&Error, Duration) + Send + Sync + 'static) -> OnLost {
        OnLost(Arc::new(told))
    }

    /// Tells what went wrong, and after which time it is tried again.
    pub(super) fn tell(&self, error: &Error, wait: Duration) {
        (self.0)(error, wait);
    }
}

impl fmt::Debug for OnLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnLost")
    }
}
