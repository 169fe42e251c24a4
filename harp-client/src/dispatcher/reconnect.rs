//! Decides when a connection is tried again, and when to give up.

use std::time::Duration;

use harp_proto::error_type;
use tokio::time::Instant;

use super::{OnLost, Repeat};
use crate::{Error, deadline, trace};

/// Decides about the attempts of one request.
#[derive(Debug)]
pub(crate) struct Reconnect {
    /// How long nothing may work before it is given up.
    patience: Duration,
    repeat: Repeat,
    /// True once the dispatcher was reached, or if that is of no matter. Before that a failure
    /// is final: the address may be wrong.
    reached: bool,
    /// True once a line of a reply has come.
    heard: bool,
    /// Since the last success.
    repeated: u32,
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
            repeat: Repeat::always(),
            reached: false,
            heard: false,
            repeated: 0,
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

    /// Attempts of a request that has to be answered within this time from now on, whether
    /// the dispatcher was ever reached or not.
    pub(crate) fn within(limit: Duration, repeat: Repeat) -> Reconnect {
        Reconnect {
            repeat,
            failing_since: Some(Instant::now()),
            ..Reconnect::reached(limit)
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

    /// When it will be given up, if nothing works at present.
    pub(crate) fn until(&self) -> Option<Instant> {
        let since = self.failing_since?;
        Some(deadline::from(since, self.patience))
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
        let lived = self.opened_at.take().map(|opened| opened.elapsed());
        if lived.is_some_and(|lived| lived > self.repeat.longest_pause()) {
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
        let left = self.patience.saturating_sub(failing_since.elapsed());
        let pause = self.repeat.pause(self.repeated, left);
        let Some(pause) = pause.filter(|_| self.reached && passing) else {
            return Err(error);
        };
        self.repeated = self.repeated.saturating_add(1);
        trace::repeated(self.repeated, &error, pause);
        if let Some(on_lost) = &self.on_lost {
            on_lost.tell(&error, pause);
        }
        Ok(pause)
    }

    fn succeeded(&mut self) {
        self.repeated = 0;
        self.failing_since = None;
    }
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
            assert!(wait <= Duration::from_secs(10));
            waits.push(wait);
            tokio::time::sleep(wait).await;
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits.len() > 8 && waits.len() < 30, "{waits:?}");
        let gone = begun.elapsed();
        assert!(
            gone > Duration::from_secs(59) && gone <= Duration::from_secs(60),
            "{gone:?}"
        );

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

    #[tokio::test(start_paused = true)]
    async fn one_limit_is_over_all_attempts_from_the_first_on() {
        let limit = Duration::from_secs(2);
        let begun = Instant::now();
        let mut reconnect = Reconnect::within(limit, Repeat::always());
        let until = Some(begun + limit);
        assert_eq!(reconnect.until(), until);
        while let Ok(wait) = reconnect.after(broken(Phase::Connect, false)) {
            tokio::time::sleep(wait + Duration::from_millis(10)).await;
            assert_eq!(reconnect.until(), until);
        }
        assert!(begun.elapsed() > limit * 9 / 10 && begun.elapsed() <= limit);

        let mut reconnect = Reconnect::within(limit, Repeat::never());
        assert!(reconnect.after(broken(Phase::Connect, false)).is_err());
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
