//! When packets of a call are acknowledged to its host: after they are durable, and not each
//! by itself. Pure but for the runtime's clock.

use std::time::Duration;

use tokio::time::Instant;

/// Between two acknowledgements at least, unless so much has come.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of packets after which one goes out at once.
const ENOUGH: usize = 64 * 1024;

/// What is to be acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledging {
    /// The number of the next packet, as the host counts.
    received: u64,
    /// That number as the job counts: smaller where its packets were too many.
    kept: u64,
    /// Below this, as the job counts, all are durable.
    durable: u64,
    /// What was said last, as the host counts.
    said: u64,
    /// When that was.
    at: Instant,
    /// Bytes that have come since.
    bytes: usize,
    /// Nobody keeps them any more.
    is_unwanted: bool,
}

impl Acknowledging {
    /// Nothing has come.
    pub(super) fn new() -> Acknowledging {
        let now = Instant::now();
        Acknowledging {
            received: 0,
            kept: 0,
            durable: 0,
            said: 0,
            at: now.checked_sub(PAUSE).unwrap_or(now),
            bytes: 0,
            is_unwanted: false,
        }
    }

    /// So many are durable from before.
    pub(super) fn has(&mut self, packets: u64) {
        (self.received, self.kept, self.durable, self.said) = (packets, packets, packets, packets);
    }

    /// More have come: the next one's number, as the host counts and as the job does.
    pub(super) fn received(&mut self, next: u64, kept: u64, bytes: usize) {
        (self.received, self.kept) = (next, kept);
        self.bytes += bytes;
    }

    /// Those below this are durable, as the job counts.
    pub(super) fn stored(&mut self, packets: u64) {
        self.durable = self.durable.max(packets);
    }

    /// What comes from now on is kept by nobody.
    pub(super) fn wants_nothing(&mut self) {
        self.is_unwanted = true;
    }

    /// What the host may forget.
    fn may_forget(&self) -> u64 {
        // Behind the last one that is kept none will be.
        if self.is_unwanted || self.durable >= self.kept {
            self.received
        } else {
            self.durable
        }
    }

    /// Whether something is to be said at once.
    pub(super) fn is_urgent(&self) -> bool {
        let is_more = self.may_forget() > self.said;
        is_more && (self.bytes >= ENOUGH || self.at.elapsed() >= PAUSE)
    }

    /// When something is to be said at the latest; `None` if there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.may_forget() > self.said).then(|| self.at + PAUSE)
    }

    /// What is said now.
    pub(super) fn say(&mut self) -> u64 {
        self.said = self.may_forget();
        self.at = Instant::now();
        self.bytes = 0;
        self.said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn packets_are_acknowledged_together() {
        let mut acknowledging = Acknowledging::new();
        acknowledging.received(2, 2, 10);
        assert_eq!(acknowledging.due(), None, "they are not durable");
        acknowledging.stored(2);
        assert!(acknowledging.is_urgent());
        assert_eq!(acknowledging.say(), 2);
        acknowledging.received(4, 4, 10);
        acknowledging.stored(4);
        assert!(!acknowledging.is_urgent());
        assert_eq!(acknowledging.due(), Some(Instant::now() + PAUSE));
        acknowledging.received(5, 5, ENOUGH);
        assert!(acknowledging.is_urgent());
        assert_eq!(acknowledging.say(), 4);
        tokio::time::advance(PAUSE).await;
        assert_eq!(acknowledging.due(), None, "the last one is not durable");
    }

    #[tokio::test(start_paused = true)]
    async fn packets_that_nobody_keeps_are_forgotten() {
        let mut acknowledging = Acknowledging::new();
        acknowledging.received(5, 3, 10);
        acknowledging.stored(2);
        assert_eq!(acknowledging.say(), 2);
        acknowledging.stored(3);
        assert_eq!(acknowledging.say(), 5, "the job keeps no more");
        acknowledging.received(9, 3, 10);
        assert_eq!(acknowledging.say(), 9);
        acknowledging.received(12, 12, 10);
        acknowledging.wants_nothing();
        assert_eq!(acknowledging.say(), 12);
    }
}
