//! A time in which nothing can be written: how long it has lasted, and when it is to be tried
//! whether it is over.

use std::time::{Duration, Instant};

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A time in which nothing can be written.
pub(super) struct Outage {
    begun: Instant,
    reason: String,
    pause: Duration,
    next: Instant,
}

impl Outage {
    pub(super) fn begin(reason: &str) -> Outage {
        tracing::error!(
            reason,
            "writing to the job store failed; calls are refused until it succeeds again"
        );
        let now = Instant::now();
        Outage {
            begun: now,
            reason: reason.into(),
            pause: PAUSES.0,
            next: now + PAUSES.0,
        }
    }

    /// After an attempt that failed.
    pub(super) fn goes_on(&mut self, reason: &str) {
        if self.reason != reason {
            tracing::error!(reason, "the job store still cannot be written");
            self.reason = reason.into();
        }
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.next = Instant::now() + self.pause;
    }

    pub(super) fn pause_left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    pub(super) fn lasted(&self) -> Duration {
        self.begun.elapsed()
    }
}
