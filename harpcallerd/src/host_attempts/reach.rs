//! What is known of a host: when it was heard of, and how it is tried while it is away.
//! Pure state; the time is an argument.

use std::time::Duration;

use harp_proto::Failure;
use tokio::time::Instant;

use super::failures;

/// How long ago a host may have been heard of to be waited for.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Before the second attempt; from then on twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Between two attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One host.
#[derive(Debug, Default)]
pub(super) struct Reach {
    heard: Option<Instant>,
    away: Option<Away>,
}

/// A host that was heard of lately and cannot be reached.
#[derive(Debug)]
struct Away {
    /// Attempts that have failed. Those that were under way at once count as one.
    attempts: u32,
    /// When it may be tried again.
    due: Instant,
    pause: Duration,
    /// Of the newest attempt.
    failure: Failure,
}

/// A call that has had to wait for its host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    since: Instant,
    /// The host's attempts before.
    attempts: u32,
}

/// What a call does that is to reach its host.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It tries at once, at most until its patience is over.
    Try { until: Option<Instant> },
    /// It waits for its turn, at most so long.
    Wait { until: Instant },
    /// It ends with this.
    GiveUp(Failure),
}

/// An attempt that has failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) now: Instant,
    pub(super) failure: Failure,
    /// It was the one attempt at a host that is away.
    pub(super) has_turn: bool,
    /// The call's patience was over while it was made.
    pub(super) is_cut_short: bool,
}

/// What a call does whose attempt has failed.
#[derive(Debug, PartialEq)]
pub(super) enum After {
    /// It waits for its next turn.
    Again,
    /// It ends with this.
    GiveUp(Failure),
}

impl Waiting {
    /// From when on it has had to wait.
    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

impl Reach {
    /// True if the host was heard of lately.
    pub(super) fn was_heard(&self, now: Instant) -> bool {
        self.heard
            .is_some_and(|heard| now.saturating_duration_since(heard) <= HEARD_WITHIN)
    }

    /// When the host may be tried again; `None` if it is not away.
    pub(super) fn due(&self) -> Option<Instant> {
        self.away.as_ref().map(|away| away.due)
    }

    /// Something was heard of the host.
    pub(super) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(Some(at));
    }

    /// A call was acknowledged. After how many failures, if the host was away.
    pub(super) fn answered(&mut self, now: Instant) -> Option<u32> {
        self.heard(now);
        self.away.take().map(|away| away.attempts)
    }

    /// What a call does that is to reach the host.
    pub(super) fn next(
        &self,
        waiting: &mut Option<Waiting>,
        now: Instant,
        patience: Duration,
    ) -> Next {
        let away = match &self.away {
            // A host that is not waited for is tried by each call for itself.
            Some(away) if waiting.is_some() || self.may_wait(now, patience) => away,
            _ => {
                let until = waiting.map(|waiting| waiting.since + patience);
                return Next::Try { until };
            }
        };
        let waiting = waiting.get_or_insert(Waiting {
            since: now,
            attempts: away.attempts,
        });
        let until = waiting.since + patience;
        if now < until {
            Next::Wait { until }
        } else {
            Next::GiveUp(away.failure_of(waiting, now))
        }
    }

    /// An attempt has failed for a reason that may pass.
    pub(super) fn failed(
        &mut self,
        waiting: &mut Option<Waiting>,
        patience: Duration,
        attempt: Failed,
    ) -> After {
        let now = attempt.now;
        if waiting.is_none() && !self.may_wait(now, patience) {
            return After::GiveUp(attempt.failure);
        }
        let away = match &mut self.away {
            Some(away) => {
                if attempt.has_turn {
                    away.attempts = away.attempts.saturating_add(1);
                    away.put_off(now);
                }
                if !attempt.is_cut_short {
                    away.failure = attempt.failure;
                }
                away
            }
            None => self.away.insert(Away {
                attempts: 1,
                due: now + FIRST_PAUSE,
                pause: 2 * FIRST_PAUSE,
                failure: attempt.failure,
            }),
        };
        let waiting = waiting.get_or_insert(Waiting {
            since: now,
            // The one that has just failed is the first of this call.
            attempts: away.attempts - 1,
        });
        if now < waiting.since + patience {
            After::Again
        } else {
            After::GiveUp(away.failure_of(waiting, now))
        }
    }

    /// The one attempt at a host that is away has come to nothing in another way.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let Some(away) = &mut self.away {
            away.put_off(now);
        }
    }

    fn may_wait(&self, now: Instant, patience: Duration) -> bool {
        !patience.is_zero() && self.was_heard(now)
    }
}

impl Away {
    fn put_off(&mut self, now: Instant) {
        self.due = now + self.pause;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }

    /// What a call ends with that has waited in vain.
    fn failure_of(&self, waiting: &Waiting, now: Instant) -> Failure {
        let attempts = self.attempts.saturating_sub(waiting.attempts);
        let waited = now.saturating_duration_since(waiting.since);
        // To the nearest.
        let seconds = (waited + Duration::from_millis(500)).as_secs();
        failures::after_attempts(&self.failure, attempts, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn failed(now: Instant, has_turn: bool, message: &str) -> Failed {
        Failed {
            now,
            failure: Failure::new("network_error", message),
            has_turn,
            is_cut_short: false,
        }
    }

    /// A host that was heard of at this time.
    fn heard(at: Instant) -> Reach {
        let mut reach = Reach::default();
        assert_eq!(reach.answered(at), None);
        reach
    }

    #[test]
    fn a_host_that_was_not_heard_of_lately_is_not_waited_for() {
        let now = Instant::now();
        for (mut reach, patience, waits) in [
            (Reach::default(), PATIENCE, false),
            (heard(now), Duration::ZERO, false),
            (heard(now), PATIENCE, true),
        ] {
            let mut waiting = None;
            let after = reach.failed(&mut waiting, patience, failed(now, false, "gone"));
            assert_eq!(after == After::Again, waits);
            assert_eq!(reach.due().is_some(), waits);
        }
        let mut reach = heard(now);
        let late = now + HEARD_WITHIN + Duration::from_millis(1);
        let after = reach.failed(&mut None, PATIENCE, failed(late, false, "gone"));
        let plain = Failure::new("network_error", "gone");
        assert_eq!(after, After::GiveUp(plain), "nothing is said of attempts");
    }

    #[test]
    fn the_error_says_how_often_and_how_long() {
        let begun = Instant::now();
        let mut reach = heard(begun);
        let mut waiting = None;
        let first = reach.failed(&mut waiting, PATIENCE, failed(begun, false, "refused"));
        assert_eq!(first, After::Again);
        let mut attempts = 1;
        let told = loop {
            let due = reach.due().unwrap();
            let next = reach.next(&mut waiting, due, PATIENCE);
            if next
                == (Next::Wait {
                    until: begun + PATIENCE,
                })
            {
                attempts += 1;
                let again = reach.failed(&mut waiting, PATIENCE, failed(due, true, "refused"));
                assert_eq!(again, After::Again);
                continue;
            }
            let Next::GiveUp(failure) = reach.next(&mut waiting, begun + PATIENCE, PATIENCE) else {
                panic!("its patience is over");
            };
            break failure.message;
        };
        assert_eq!(told, format!("refused; tried {attempts} times in 15 s"));
        assert!((15..25).contains(&attempts), "{attempts}");
    }

    #[test]
    fn calls_that_fail_together_are_one_attempt() {
        let begun = Instant::now();
        let mut reach = heard(begun);
        let mut calls = [None; 3];
        for waiting in &mut calls {
            let after = reach.failed(waiting, PATIENCE, failed(begun, false, "refused"));
            assert_eq!(after, After::Again);
        }
        let due = reach.due().unwrap();
        assert_eq!(due, begun + FIRST_PAUSE);
        reach.failed(&mut calls[0], PATIENCE, failed(due, true, "reset"));
        for waiting in &mut calls {
            let Next::GiveUp(failure) = reach.next(waiting, begun + PATIENCE, PATIENCE) else {
                panic!("its patience is over");
            };
            assert_eq!(failure.message, "reset; tried 2 times in 15 s");
        }
    }

    #[test]
    fn whoever_comes_later_waits_with_the_others_for_as_long() {
        let begun = Instant::now();
        let mut reach = heard(begun);
        let mut first = None;
        reach.failed(&mut first, PATIENCE, failed(begun, false, "refused"));
        let later = begun + Duration::from_secs(10);
        let mut second = None;
        let until = later + PATIENCE;
        assert_eq!(
            reach.next(&mut second, later, PATIENCE),
            Next::Wait { until }
        );
        assert_eq!(reach.answered(later), Some(1));
        // It was there, and is gone again before this call has come to it.
        let until = Some(until);
        assert_eq!(
            reach.next(&mut second, later, PATIENCE),
            Next::Try { until }
        );
        let again = reach.failed(
            &mut second,
            PATIENCE,
            failed(later + PATIENCE, false, "refused"),
        );
        assert!(matches!(again, After::GiveUp(_)));
    }

    #[test]
    fn an_attempt_that_was_cut_short_does_not_hide_the_reason() {
        let begun = Instant::now();
        let mut reach = heard(begun);
        let mut waiting = None;
        reach.failed(&mut waiting, PATIENCE, failed(begun, false, "refused"));
        let cut = Failed {
            is_cut_short: true,
            ..failed(begun + PATIENCE, true, "no answer in time")
        };
        let After::GiveUp(failure) = reach.failed(&mut waiting, PATIENCE, cut) else {
            panic!("its patience is over");
        };
        assert_eq!(failure.message, "refused; tried 2 times in 15 s");
    }
}
