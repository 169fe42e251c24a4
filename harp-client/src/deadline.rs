//! Time limits as points in time.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never, and still a time that the clock can count to.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The end of a time limit that begins now, however long it is.
pub(crate) fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + NEVER)
}
