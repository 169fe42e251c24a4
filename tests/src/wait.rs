//! Waiting for conditions.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must come before it gives up: long enough for a busy
/// machine, so that only a fault uses it up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to return.
///
/// # Panics
///
/// With `what` if that takes longer than [`PATIENCE`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}
