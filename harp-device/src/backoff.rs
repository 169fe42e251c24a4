//! How long to wait before a device is connected to again.

use std::time::Duration;

use harp_jobs::world::Moment;

/// The shortest pause.
pub(crate) const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses between attempts to connect: they double, from half a second to half a minute.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    began: Option<Moment>,
}

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff {
            next: SHORTEST,
            began: None,
        }
    }

    /// A connection is there.
    pub(crate) fn connected(&mut self, now: Moment) {
        self.began = Some(now);
    }

    /// There is none: the pause. One that has lasted is no reason to wait longer.
    pub(crate) fn pause(&mut self, now: Moment) -> Duration {
        let lasted = self.began.take().map(|began| now.since(began));
        if lasted.is_some_and(|lasted| lasted >= self.next) {
            self.next = SHORTEST;
        }
        let pause = self.next;
        self.next = (2 * self.next).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_connection_lasts() {
        let mut backoff = Backoff::new();
        let now = Moment::START;
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause(now).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        backoff.connected(now);
        assert_eq!(
            backoff.pause(now + 29 * SHORTEST),
            LONGEST,
            "it did not last"
        );
        backoff.connected(now);
        assert_eq!(backoff.pause(now + LONGEST), SHORTEST);
    }
}
