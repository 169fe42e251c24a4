//! Limits of time that wait for what came while the process stood still
//! (`harp_values::standstill`).

use std::pin::pin;
use std::time::Duration;

use harp_values::standstill;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A limit of time that is none: longer than any process lives.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 86400);

/// When some work has to be done, in one step or several.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    until: Instant,
    put_off: u32,
}

impl Limit {
    /// A limit that ends at this time. One that is past already is reached: that says nothing
    /// of this process.
    #[must_use]
    pub fn until(until: Instant) -> Limit {
        let is_past = until < Instant::now();
        let put_off = if is_past {
            standstill::PUT_OFF_TIMES
        } else {
            0
        };
        Limit { until, put_off }
    }

    /// A limit that ends so long from now; never, if the clock cannot hold that.
    #[must_use]
    pub fn after(time: Duration) -> Limit {
        match Instant::now().checked_add(time) {
            Some(until) => Limit::until(until),
            None => Limit::never(),
        }
    }

    /// A limit that is not reached.
    #[must_use]
    pub fn never() -> Limit {
        Limit::until(Instant::now() + ENDLESS)
    }

    /// When it ends, as far as is known by now.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.until
    }

    /// Moves the limit to a later time, as one that is new; does nothing if the time is not
    /// later than that to which the limit was put off.
    pub fn move_to(&mut self, until: Instant) {
        if until > self.until {
            *self = Limit { until, put_off: 0 };
        }
    }

    /// Judges the limit. False before its end, and if that is noticed late: then the limit is
    /// put off, and has another end.
    pub fn is_reached(&mut self) -> bool {
        let now = Instant::now();
        let Some(late) = now.checked_duration_since(self.until) else {
            return false;
        };
        let Some(longer) = standstill::put_off(late, self.put_off) else {
            return true;
        };
        self.put_off += 1;
        self.until = now + longer;
        false
    }

    /// Completes when the limit is reached. Cancel safe.
    pub async fn passed(&mut self) {
        loop {
            sleep_until(self.until).await;
            if self.is_reached() {
                return;
            }
        }
    }

    /// Works until the limit; `None` if that is reached before the work is done. Cancel safe
    /// if the work is.
    pub async fn keep<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout_at(self.until, work.as_mut()).await {
                return Some(done);
            }
            if self.is_reached() {
                return None;
            }
        }
    }
}

/// Works until a moment, as [`Limit::keep`] does.
pub async fn within<T>(until: Instant, work: impl Future<Output = T>) -> Option<T> {
    Limit::until(until).keep(work).await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use standstill::{LATE, LEAST_PUT_OFF, LONGEST_PUT_OFF, PUT_OFF_TIMES};
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_ran_has_used_its_time() {
        let begun = Instant::now();
        let limit = begun + Duration::from_secs(5);
        assert_eq!(within(limit, async { 1 }).await, Some(1));
        assert_eq!(within(limit, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        // Past limits are no late ones.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(within(limit, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(65));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_has_not() {
        let begun = Instant::now();
        let mut limit = Limit::until(begun + Duration::from_secs(5));
        // As a standstill does: the clock goes on, and nobody is asked.
        advance(Duration::from_secs(7)).await;
        assert!(!limit.is_reached());
        let soon = sleep(Duration::from_millis(1900));
        assert_eq!(limit.keep(soon).await, Some(()));
        assert_eq!(limit.keep(pending::<()>()).await, None);
        // By as long as it was noticed late.
        assert_eq!(begun.elapsed(), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_moments_after_a_short_one_and_no_hours_after_a_long_one() {
        for (late, put_off) in [
            (LATE, LEAST_PUT_OFF),
            (60 * LONGEST_PUT_OFF, LONGEST_PUT_OFF),
        ] {
            let mut limit = Limit::until(Instant::now());
            advance(late).await;
            let resumed = Instant::now();
            limit.passed().await;
            assert_eq!(resumed.elapsed(), put_off);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_always_late_keeps_limits_too() {
        let mut limit = Limit::until(Instant::now());
        for _ in 0..PUT_OFF_TIMES {
            advance(limit.end() + LATE - Instant::now()).await;
            assert!(!limit.is_reached());
        }
        advance(limit.end() + LATE - Instant::now()).await;
        assert!(limit.is_reached());
        // One that is new may be put off again.
        limit.move_to(Instant::now() + LATE);
        advance(3 * LATE).await;
        assert!(!limit.is_reached());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_while_nobody_looks_at_a_limit_does_not_use_up_the_next_step() {
        let mut limit = Limit::after(Duration::from_secs(5));
        advance(Duration::from_secs(60)).await;
        // Done at once, so the limit was not judged.
        assert_eq!(limit.keep(ready(1)).await, Some(1));
        let soon = sleep(Duration::from_secs(9));
        assert_eq!(limit.keep(soon).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_only_moved_to_a_later_time() {
        let begun = Instant::now();
        let mut limit = Limit::after(Duration::from_secs(5));
        assert!(!limit.is_reached(), "its end has not come");
        limit.move_to(begun + Duration::from_secs(1));
        limit.move_to(begun + Duration::from_secs(7));
        limit.passed().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
        for mut never in [Limit::never(), Limit::after(Duration::MAX)] {
            sleep(Duration::from_secs(365 * 86400)).await;
            assert!(!never.is_reached());
        }
    }
}
