//! Limits of time that do not judge what harpd has not had the time to see.
//!
//! A stopped harpd (SIGSTOP), a suspended machine or one that swaps finds every limit
//! passed when it goes on, and beside it all that has come meanwhile. What came is to be
//! seen first.

use std::time::Duration;

use tokio::time::Instant;

/// A limit that is noticed this long after it was reached was reached while harpd stood
/// still.
const LATE: Duration = Duration::from_millis(500);
/// How long harpd then has to see what has come. On a machine so busy that this passes
/// unnoticed too, it begins again.
const CATCH_UP: Duration = Duration::from_secs(1);

/// One limit of time, or none.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    at: Option<Instant>,
}

impl Limit {
    /// The limit at this moment; `None` is reached never.
    #[must_use]
    pub fn at(at: Option<Instant>) -> Limit {
        Limit { at }
    }

    /// The limit so long from now.
    #[must_use]
    pub fn after(time: Duration) -> Limit {
        // Beyond what the clock can hold is no limit.
        Limit::at(Instant::now().checked_add(time))
    }

    /// Moves the limit, if it is earlier, to so long from now.
    pub fn not_within(&mut self, time: Duration) {
        let earliest = Instant::now() + time;
        self.at = self.at.map(|at| at.max(earliest));
    }

    /// Waits until the limit has passed while harpd ran.
    ///
    /// Cancel safe.
    pub async fn passed(&mut self) {
        while let Some(at) = self.at {
            tokio::time::sleep_until(at).await;
            if !self.was_slept_through() {
                return;
            }
        }
        std::future::pending().await
    }

    /// True if the limit was reached while harpd stood still. Then it is moved, so that
    /// what has come meanwhile can be seen.
    pub fn was_slept_through(&mut self) -> bool {
        let now = Instant::now();
        let is_late = self.at.is_some_and(|at| now >= at + LATE);
        if is_late {
            self.at = Some(now + CATCH_UP);
        }
        is_late
    }
}

/// Waits for the future until the limit has passed; `None` if it gives nothing by then.
pub async fn within<T>(mut limit: Limit, future: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(future);
    tokio::select! {
        biased;
        value = &mut future => Some(value),
        () = limit.passed() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_reached_on_time() {
        let began = Instant::now();
        Limit::after(Duration::from_secs(5)).passed().await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        let never = Limit::at(None);
        let nothing = std::future::pending::<()>();
        let year = Duration::from_secs(365 * 24 * 3600);
        assert!(
            tokio::time::timeout(year, within(never, nothing))
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_a_standstill_comes_in_time() {
        let mut limit = Limit::after(Duration::from_secs(5));
        // As a SIGSTOP does: the clock goes on and nobody is asked.
        tokio::time::advance(Duration::from_secs(60)).await;
        let soon = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            7
        };
        assert_eq!(within(limit, soon).await, Some(7));
        let again = Instant::now();
        assert!(limit.was_slept_through());
        // The moments that it gives are given once, however often it is asked.
        for _ in 0..10 {
            let short = Duration::from_millis(50);
            assert!(tokio::time::timeout(short, limit.passed()).await.is_err());
        }
        limit.passed().await;
        assert_eq!(again.elapsed(), CATCH_UP);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_can_only_be_moved_away() {
        let began = Instant::now();
        let mut limit = Limit::after(Duration::from_secs(5));
        limit.not_within(Duration::from_secs(1));
        limit.not_within(Duration::from_secs(7));
        limit.passed().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }
}
