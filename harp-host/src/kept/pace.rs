//! Whether a host sends beats more often than any host has to. Pure.

use tokio::time::{Duration, Instant};

/// Beats that may come within [`SPAN`]: the shortest `keep` makes one in 0.17 s, and some may
/// have waited while this process stood still.
const MOST: u32 = 64;

/// The time for which beats are counted.
const SPAN: Duration = Duration::from_secs(1);

/// The beats of a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    since: Instant,
    beats: u32,
}

impl Pace {
    /// None yet.
    pub(super) fn new(now: Instant) -> Pace {
        Pace {
            since: now,
            beats: 0,
        }
    }

    /// Counts a beat; true if there have been too many.
    pub(super) fn is_flood(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= SPAN {
            *self = Pace::new(now);
        }
        self.beats += 1;
        self.beats > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_of_the_shortest_keep_are_no_flood() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        for number in 0..1000 {
            assert!(!pace.is_flood(begun + number * Duration::from_millis(166)));
        }
        let now = begun + Duration::from_secs(1000);
        assert!((0..MOST).all(|_| !pace.is_flood(now)));
        assert!(pace.is_flood(now));
    }
}
