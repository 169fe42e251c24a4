//! Which moment of the host's clock a caller says that it was there. Pure.
//!
//! As a rule that is the newest `up` that came. While a message takes longer than beats do, none
//! can come; the caller's own clock tells then how far the host's must be by now.

use harp_proto::host::kept::Uptime;
use tokio::time::{Duration, Instant};

/// Of the time that passes here, one part in so many is not counted: the host's clock may be
/// slower than this one, and nothing is to be said of a moment that has not come there.
const SLOWER: u32 = 1000;

/// What has come, and when something was said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vouching {
    /// The newest `up`, and when that came.
    newest: Option<(Uptime, Instant)>,
    /// When it was said last that the caller is there.
    said: Instant,
}

impl Vouching {
    /// Nothing has come.
    pub(super) fn new(now: Instant) -> Vouching {
        Vouching {
            newest: None,
            said: now,
        }
    }

    /// An `up` has come.
    pub(super) fn came(&mut self, up: Uptime, now: Instant) {
        self.newest = Some((up, now));
    }

    /// The newest `up`, and when it came.
    pub(super) fn newest(&self) -> Option<(Uptime, Instant)> {
        self.newest
    }

    /// The newest `up`, which is said now.
    pub(super) fn say(&mut self, now: Instant) -> Option<Uptime> {
        let (up, _) = self.newest?;
        self.said = now;
        Some(up)
    }

    /// When the next has to be said at the latest if no beat comes; `None` if none ever came.
    pub(super) fn due(&self, beat: Duration) -> Option<Instant> {
        let (_, came) = self.newest?;
        Some(self.said.max(came) + beat)
    }

    /// What is said without a beat: the host's clock shows as much by now.
    pub(super) fn estimate(&mut self, now: Instant) -> Option<Uptime> {
        let (up, came) = self.newest?;
        self.said = now;
        let since = now.saturating_duration_since(came);
        Some(Uptime::after(up.since_start() + since - since / SLOWER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_said_without_a_beat_is_never_of_the_future() {
        let begun = Instant::now();
        let mut vouching = Vouching::new(begun);
        assert_eq!(vouching.due(BEAT), None);
        assert_eq!(
            vouching.estimate(begun),
            None,
            "nothing is known of its clock"
        );
        let up = Uptime::after(Duration::from_secs(500));
        vouching.came(up, begun);
        assert_eq!(vouching.say(begun), Some(up));
        for seconds in [10, 1000, 100_000] {
            let passed = Duration::from_secs(seconds);
            let now = begun + passed;
            assert!(vouching.due(BEAT) <= Some(now));
            let said = vouching.estimate(now).unwrap().since_start();
            // By a clock that is slower by half of what is left out.
            assert!(said < up.since_start() + passed - passed / 2000);
            assert!(said >= up.since_start() + passed - passed / 900);
            assert_eq!(vouching.due(BEAT), Some(now + BEAT));
        }
    }
}
