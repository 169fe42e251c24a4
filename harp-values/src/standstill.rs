//! Limits of time that do not judge what a process has not had the time to see.
//!
//! A process that is stopped (SIGSTOP), swapped out, or on a machine that stands still takes
//! nothing in. When it goes on, limits have passed, and what would have kept them is
//! waiting. So a limit that is found passed late is put off: what has arrived is taken
//! first, and whoever stood still too can go on.

use std::time::Duration;

/// A limit that is noticed so long after it has passed did so while the process stood still.
pub const LATE: Duration = Duration::from_millis(300);

/// A limit is put off by as long as it is noticed late, within these bounds.
pub const LEAST_PUT_OFF: Duration = Duration::from_secs(1);
/// The other bound.
pub const LONGEST_PUT_OFF: Duration = Duration::from_secs(10);

/// So often at most: a machine that is always late keeps its limits, too.
pub const PUT_OFF_TIMES: u32 = 3;

/// By how much a limit is put off that is noticed so late and was put off so often before;
/// `None` if it is reached.
#[must_use]
pub fn put_off(late: Duration, times: u32) -> Option<Duration> {
    let stood_still = late >= LATE && times < PUT_OFF_TIMES;
    stood_still.then(|| late.clamp(LEAST_PUT_OFF, LONGEST_PUT_OFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_puts_a_limit_off_by_its_length_and_not_for_ever() {
        let seconds = Duration::from_secs;
        for (late, times, expected) in [
            (Duration::ZERO, 0, None),
            (LATE - Duration::from_millis(1), 0, None),
            (LATE, 0, Some(LEAST_PUT_OFF)),
            (seconds(4), 2, Some(seconds(4))),
            (seconds(4000), 0, Some(LONGEST_PUT_OFF)),
            (seconds(4), PUT_OFF_TIMES, None),
        ] {
            assert_eq!(put_off(late, times), expected, "{late:?} {times}");
        }
    }
}
