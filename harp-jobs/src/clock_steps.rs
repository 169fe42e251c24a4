//! Whether the wall clock can be gone by: it is not for an hour after it was set forward.
//! Pure state, no clock of its own.

use std::time::Duration;

/// How long nothing goes by age after the wall clock was set forward: until whoever has set
/// it, or what keeps it right, has had the time to see that it is wrong.
pub const PAUSE: Duration = Duration::from_secs(3600);

/// What counts as set forward, in milliseconds.
const STEP: i64 = 60_000;

/// How far a clock may be ahead after the machine was started without a pause, which is
/// about as long as starting takes.
const OFF: Duration = Duration::from_secs(3600);

/// The wall clock against one that counts up.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// What the wall clock showed at the machine's start, by the last look at it.
    began: i64,
    /// When the pause ends, in milliseconds since the machine's start.
    paused_until: u64,
    pause: Pause,
}

/// Why nothing goes by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How far the clock is ahead.
    pub by: Duration,
    /// It was set; otherwise the machine may have been off, or without calls, for so long.
    pub is_certain: bool,
}

impl Steps {
    /// At the start of the dispatcher, when the wall clock showed `began` at the machine's
    /// start, which is `since_boot` milliseconds ago. `ahead` is how far the clock is ahead of
    /// what it was when the store was last open; `is_certain` if that cannot be because the
    /// machine was off.
    #[must_use]
    pub fn begin(began: i64, since_boot: u64, ahead: Duration, is_certain: bool) -> Steps {
        let most = if is_certain {
            Duration::from_millis(STEP.unsigned_abs())
        } else {
            OFF
        };
        let mut steps = Steps {
            began,
            paused_until: 0,
            pause: Pause {
                by: ahead,
                is_certain,
            },
        };
        if ahead >= most {
            steps.pause(since_boot, steps.pause);
        }
        steps
    }

    /// Looks at the clocks. True if the wall clock has been set forward since the last look.
    pub fn look(&mut self, began: i64, since_boot: u64) -> bool {
        let by = began.saturating_sub(self.began);
        self.began = began;
        if by < STEP {
            return false;
        }
        let by = Duration::from_millis(by.unsigned_abs());
        let is_certain = true;
        self.pause(since_boot, Pause { by, is_certain });
        true
    }

    /// Why nothing is to go by age for now, if so.
    #[must_use]
    pub fn paused(&self, since_boot: u64) -> Option<Pause> {
        (since_boot < self.paused_until).then_some(self.pause)
    }

    fn pause(&mut self, since_boot: u64, why: Pause) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        self.paused_until = since_boot.saturating_add(pause);
        self.pause = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_forward_pauses_for_an_hour_and_one_back_does_not() {
        let (minute, hour) = (60_000, 3_600_000);
        let mut steps = Steps::begin(0, 0, Duration::ZERO, true);
        assert!(!steps.look(59_999, minute));
        assert_eq!(steps.paused(minute), None);
        assert!(!steps.look(-5_000_000, 2 * minute));
        assert_eq!(steps.paused(2 * minute), None);
        assert!(steps.look(-4_000_000, 3 * minute));
        let by = Some(Pause {
            by: Duration::from_secs(1000),
            is_certain: true,
        });
        assert_eq!(steps.paused(3 * minute), by);
        assert!(!steps.look(-4_000_000, hour));
        assert_eq!(steps.paused(hour + 3 * minute - 1), by);
        assert_eq!(steps.paused(hour + 3 * minute), None);
    }

    #[test]
    fn a_machine_may_have_been_off_for_a_while() {
        let seconds = Duration::from_secs;
        let paused = |ahead, is_certain| {
            let steps = Steps::begin(0, 5, seconds(ahead), is_certain);
            steps.paused(5).map(|pause| pause.by)
        };
        assert_eq!(paused(59, true), None);
        assert_eq!(paused(60, true), Some(seconds(60)));
        assert_eq!(paused(3599, false), None);
        assert_eq!(paused(3600, false), Some(seconds(3600)));
    }
}
