//! Time limits as points in time.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never, and still a time that the clock can count to.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The end of a time limit that begins now, however long it is.
pub(crate) fn after(limit: Duration) -> Instant {
    from(Instant::now(), limit)
}

/// The end of a time limit that began then, however long it is.
pub(crate) fn from(begun: Instant, limit: Duration) -> Instant {
    begun.checked_add(limit).unwrap_or_else(|| begun + NEVER)
}
