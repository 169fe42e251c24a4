//! What ends a job other than its host: a cancellation, the dispatcher's stop, a limit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_host::limit::Limit;
use harp_jobs::failures;
use harp_proto::{Outcome, error_type};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::jobs::LiveJob;
use crate::record::CallRecord;
use crate::rules::ExecutionLimits;

/// As good as never, and within what every clock can hold.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The bounds of one execution.
pub(super) struct Bounds<'r> {
    live: &'r LiveJob,
    interrupt: &'r CancellationToken,
    /// When the job has to have ended.
    end_by: Instant,
    /// The limit behind that.
    longest: Duration,
    /// Longest silence.
    silence: Duration,
    /// When the host acknowledged the call.
    acknowledged: Option<Instant>,
    /// The first of the limits, which may be put off.
    limit: Mutex<Limit>,
}

/// The limits that an execution can reach.
enum Reached {
    Silence,
    Execution,
}

impl<'r> Bounds<'r> {
    /// The bounds of a job whose execution has begun: what the call asks for, and what
    /// the configuration says of the rest.
    pub(super) fn new(
        live: &'r LiveJob,
        interrupt: &'r CancellationToken,
        begun: Instant,
        call: &CallRecord,
        limits: &ExecutionLimits,
    ) -> Bounds<'r> {
        let seconds = |number: Option<u64>| number.map(Duration::from_secs);
        let ceiling = limits.max_exec_time;
        let longest = seconds(call.max_exec_time).map_or(ceiling, |asked| asked.min(ceiling));
        Bounds {
            live,
            interrupt,
            end_by: end_by(begun, longest),
            longest,
            silence: seconds(call.timeout).unwrap_or(limits.default_timeout),
            acknowledged: None,
            limit: Mutex::new(Limit::until(begun)),
        }
    }

    /// The execution begins only now.
    pub(super) fn begin_again(&mut self, begun: Instant) {
        self.end_by = end_by(begun, self.longest);
    }

    /// The host has acknowledged the call.
    pub(super) fn acknowledged(&mut self, at: Instant) {
        self.acknowledged = Some(at);
    }

    /// Completes with the outcome when something other than the host ends the job. The
    /// silence counts from `heard`, not at all if that is `None`. A limit that has
    /// passed while this process stood still is put off, so that the host is read first.
    /// Cancel safe.
    pub(super) async fn cut_short(&self, heard: Option<Instant>) -> Outcome {
        let (first, reached) = self.first(heard);
        tokio::select! {
            biased;
            () = self.live.cancel_requested() => Outcome::Cancelled,
            () = self.interrupt.cancelled() => Outcome::Error(failures::missing_result()),
            () = self.passed(first) => Outcome::Error(match reached {
                Reached::Silence => failures::silence(self.silence),
                Reached::Execution => failures::too_long(self.longest),
            }),
        }
    }

    /// True if no limit is reached yet by who was heard of then.
    pub(super) fn allows(&self, heard: Instant) -> bool {
        Instant::now() < self.first(Some(heard)).0
    }

    /// Completes when a limit that ends at this time is reached.
    async fn passed(&self, end: Instant) {
        loop {
            let until = {
                let mut limit = self.limit();
                limit.move_to(end);
                limit.end()
            };
            sleep_until(until).await;
            if self.limit().is_reached() {
                return;
            }
        }
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        // A std mutex: held for a few comparisons, never across an await.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first limit is reached.
    pub(super) fn first_limit(&self, heard: Option<Instant>) -> Instant {
        self.first(heard).0
    }

    fn first(&self, heard: Option<Instant>) -> (Instant, Reached) {
        match heard.and_then(|heard| heard.checked_add(self.silence)) {
            Some(silent_by) if silent_by <= self.end_by => (silent_by, Reached::Silence),
            // Two limits of one length are at the same time, as long as the host has said no
            // more than that it has the call.
            Some(_) if self.silence == self.longest && heard <= self.acknowledged => {
                (self.end_by, Reached::Silence)
            }
            _ => (self.end_by, Reached::Execution),
        }
    }
}

/// True if an outcome of [`Bounds::cut_short`] says that a limit was reached.
pub(super) fn is_limit(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Error(failure) if failure.error_type == error_type::TIMEOUT)
}

fn end_by(begun: Instant, longest: Duration) -> Instant {
    // Beyond what the clock can hold is no limit.
    begun.checked_add(longest).unwrap_or(begun + ENDLESS)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use harp_proto::{JobId, Json};

    use super::*;

    fn call(timeout: Option<u64>, max_exec_time: Option<u64>) -> CallRecord {
        CallRecord {
            host: "h".to_owned(),
            procedure: "p".to_owned(),
            arguments: Json::NULL,
            info: Json::NULL,
            timeout,
            max_exec_time,
            queue: None,
            client: None,
            key: None,
            submitted: 0,
        }
    }

    fn live() -> std::sync::Arc<LiveJob> {
        LiveJob::new(JobId::submitted_at(1))
    }

    fn limits() -> ExecutionLimits {
        ExecutionLimits {
            default_timeout: Duration::from_secs(20),
            max_exec_time: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            connect_patience: Duration::from_secs(15),
            slot_grace: Duration::from_secs(10),
            break_grace: Duration::ZERO,
            last_words: Duration::from_secs(5),
            max_packet_size: 1000,
            host_memory: 32 << 20,
            output: harp_jobs::output::OutputLimits::default(),
        }
    }

    /// What ends an execution that is silent from its beginning, and after how long.
    async fn end_of(call: &CallRecord) -> (String, Duration) {
        let live = live();
        let interrupt = CancellationToken::new();
        let begun = Instant::now();
        let bounds = Bounds::new(&live, &interrupt, begun, call, &limits());
        let Outcome::Error(failure) = bounds.cut_short(Some(begun)).await else {
            panic!("not an error");
        };
        (failure.data.unwrap().to_string(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_limit_ends_it_and_is_named() {
        for (call, limit, seconds) in [
            (call(None, None), "timeout", 20),
            (call(Some(5), None), "timeout", 5),
            // Longer than the default is allowed, longer than the ceiling is not.
            (call(Some(30), None), "timeout", 30),
            (call(Some(100), None), "max_exec_time", 60),
            (call(None, Some(7)), "max_exec_time", 7),
            (call(Some(100), Some(1000)), "max_exec_time", 60),
            // Both at once: as the original names it.
            (call(Some(60), None), "timeout", 60),
            (call(Some(7), Some(7)), "timeout", 7),
            (call(Some(u64::MAX), Some(u64::MAX)), "max_exec_time", 60),
        ] {
            let (data, after) = end_of(&call).await;
            let expected = format!(r#"{{"limit":"{limit}","seconds":{seconds}}}"#);
            assert_eq!(data, expected, "{call:?}");
            assert_eq!(after.as_secs(), seconds, "{call:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_limits_of_one_length_that_which_was_reached_is_named() {
        let live = live();
        let interrupt = CancellationToken::new();
        let begun = Instant::now();
        let call = call(Some(7), Some(7));
        let mut bounds = Bounds::new(&live, &interrupt, begun, &call, &limits());
        let second = Duration::from_secs(1);
        bounds.acknowledged(begun + second);
        for (heard, limit) in [(1, "timeout"), (2, "max_exec_time")] {
            let outcome = bounds.cut_short(Some(begun + heard * second)).await;
            let Outcome::Error(failure) = outcome else {
                panic!("not an error");
            };
            let data = failure.data.unwrap().to_string();
            assert_eq!(data, format!(r#"{{"limit":"{limit}","seconds":7}}"#));
            assert!(begun.elapsed() >= 7 * second);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_not_read_is_not_silent() {
        let live = live();
        let interrupt = CancellationToken::new();
        let begun = Instant::now();
        let bounds = Bounds::new(&live, &interrupt, begun, &call(None, None), &limits());
        assert_eq!(bounds.first_limit(None), begun + Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn an_execution_that_begins_again_has_all_its_time() {
        let live = live();
        let interrupt = CancellationToken::new();
        let begun = Instant::now();
        let mut bounds = Bounds::new(&live, &interrupt, begun, &call(None, None), &limits());
        let again = begun + Duration::from_secs(100);
        bounds.begin_again(again);
        assert_eq!(bounds.first_limit(None), again + Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn cancellation_and_stop_end_it_at_once() {
        let live = live();
        let interrupt = CancellationToken::new();
        let begun = Instant::now();
        let bounds = Bounds::new(&live, &interrupt, begun, &call(None, None), &limits());
        assert_eq!(bounds.cut_short(Some(begun)).now_or_never(), None);
        interrupt.cancel();
        let stopped = bounds.cut_short(Some(begun)).now_or_never();
        assert_eq!(stopped, Some(Outcome::Error(failures::missing_result())));
        live.request_cancel();
        let cancelled = bounds.cut_short(Some(begun)).now_or_never();
        assert_eq!(cancelled, Some(Outcome::Cancelled));
    }
}
