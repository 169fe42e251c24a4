//! Decides when a connection is tried again, and when to give up.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use harp_proto::error_type;
use tokio::time::Instant;

use super::OnLost;
use crate::Error;

/// The wait before the second attempt; the first comes at once.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No wait is longer. A connection that lived for longer counts as a success.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Decides about the attempts of one long request: waiting for a job, or its packets.
#[derive(Debug)]
pub(crate) struct Reconnect {
    /// How long nothing may work before it is given up.
    patience: Duration,
    /// True once the dispatcher was reached. Before that a failure is final: the address
    /// may be wrong.
    reached: bool,
    /// True once a line of a reply has come.
    heard: bool,
    attempts: u32,
    failing_since: Option<Instant>,
    opened_at: Option<Instant>,
    /// True if a dispatcher that cannot write is one that will be able to.
    through_outages: bool,
    on_lost: Option<OnLost>,
}

impl Reconnect {
    pub(crate) fn new(patience: Duration) -> Reconnect {
        Reconnect {
            patience,
            reached: false,
            heard: false,
            attempts: 0,
            failing_since: None,
            opened_at: None,
            through_outages: false,
            on_lost: None,
        }
    }

    /// A [`Reconnect::new`] for a dispatcher that was reached before.
    pub(crate) fn reached(patience: Duration) -> Reconnect {
        Reconnect {
            reached: true,
            ..Reconnect::new(patience)
        }
    }

    /// Goes on while the dispatcher's store cannot be written.
    #[cfg(feature = "worker")]
    pub(crate) fn through_outages(self) -> Reconnect {
        Reconnect {
            through_outages: true,
            ..self
        }
    }

    /// Tells this function of every attempt.
    pub(crate) fn telling(self, on_lost: Option<OnLost>) -> Reconnect {
        Reconnect { on_lost, ..self }
    }

    /// A connection was there at this time, and the request on its way.
    pub(crate) fn opened(&mut self, at: Instant) {
        self.reached = true;
        self.opened_at = Some(at);
    }

    /// A line of the reply has come.
    pub(crate) fn heard(&mut self) {
        self.reached = true;
        self.heard = true;
        self.succeeded();
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    ///
    /// The error itself if it is to be reported.
    pub(crate) fn after(&mut self, error: Error) -> Result<Duration, Error> {
        self.reached |= error
            .broken_at()
            .is_some_and(|broken| broken.was_connected());
        let opened_at = self.opened_at.take();
        if opened_at.is_some_and(|opened_at| opened_at.elapsed() > LONGEST_WAIT) {
            self.succeeded();
        }
        let passing = match error.broken_at() {
            Some(broken) if broken.taciturn && broken.without_a_word() => self.heard,
            Some(broken) => broken.may_pass(),
            None => {
                let is_outage = error.wire_type() == Some(error_type::STORAGE_ERROR);
                error.is_busy() || self.through_outages && is_outage
            }
        };
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        if !self.reached || !passing || failing_since.elapsed() > self.patience {
            return Err(error);
        }
        let wait = match self.attempts {
            0 => Duration::ZERO,
            attempts => FIRST_WAIT
                .saturating_mul(2_u32.saturating_pow(attempts - 1))
                .min(LONGEST_WAIT)
                .mul_f64(half_to_whole()),
        };
        self.attempts = self.attempts.saturating_add(1);
        if let Some(on_lost) = &self.on_lost {
            on_lost.tell(&error, wait);
        }
        Ok(wait)
    }

    fn succeeded(&mut self) {
        self.attempts = 0;
        self.failing_since = None;
    }
}

/// A number between a half and one, different each time: clients that lost the same
/// dispatcher do not come back at the same moment.
fn half_to_whole() -> f64 {
    let random = RandomState::new().hash_one(0) % 1000;
    // Below 1000, so that it fits.
    0.5 + f64::from(u32::try_from(random).unwrap_or_default()) / 2000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Broken, Phase};

    fn broken(phase: Phase, taciturn: bool) -> Error {
        let broken = Broken {
            phase,
            code: harp_host::IoCode::Closed,
            taciturn,
        };
        Error::broken(&"dispatcher", broken, "gone")
    }

    #[test]
    fn a_dispatcher_that_was_never_reached_is_not_waited_for() {
        let mut reconnect = Reconnect::new(Duration::from_secs(60));
        assert!(reconnect.after(broken(Phase::Connect, false)).is_err());
        reconnect.opened(Instant::now());
        assert!(reconnect.after(broken(Phase::Connect, false)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_each_time_and_gives_up_in_the_end() {
        let mut reconnect = Reconnect::new(Duration::from_secs(60));
        reconnect.heard();
        let begun = Instant::now();
        let mut waits = Vec::new();
        while let Ok(wait) = reconnect.after(broken(Phase::Reply, false)) {
            assert!(wait <= LONGEST_WAIT);
            waits.push(wait);
            tokio::time::sleep(wait).await;
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits.len() > 8 && waits.len() < 25, "{waits:?}");
        assert!(begun.elapsed() < Duration::from_secs(75));

        reconnect.heard();
        let wait = reconnect.after(broken(Phase::Reply, false)).unwrap();
        assert_eq!(wait, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_lived_for_long_was_a_success() {
        let mut reconnect = Reconnect::new(Duration::from_secs(60));
        for _ in 0..3 {
            reconnect.opened(Instant::now());
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let wait = reconnect.after(broken(Phase::Reply, false)).unwrap();
            assert_eq!(wait, Duration::ZERO);
        }
    }

    #[test]
    fn the_silence_of_a_taciturn_dispatcher_is_an_answer() {
        let mut reconnect = Reconnect::new(Duration::from_secs(60));
        reconnect.opened(Instant::now());
        assert!(reconnect.after(broken(Phase::Reply, true)).is_err());
        reconnect.heard();
        assert!(reconnect.after(broken(Phase::Reply, true)).is_ok());
    }
}
