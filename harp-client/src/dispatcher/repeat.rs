//! How often and after which pauses something is tried again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The shortest pause that is made for its own sake, and the least time that another attempt
/// is worth.
const LEAST: Duration = Duration::from_millis(100);

/// How a call with a [key](crate::RemoteServer::key) is made again when the dispatcher is away
/// or asks to come later: how often, and after which pauses. All of it is within the
/// request's [time limit](crate::HarpCallerBuilder::request_timeout).
///
/// The first repetition comes at once, the second after the first pause; each pause is twice
/// as long as the one before it, up to the longest. Of each, between a half and the whole is
/// waited, by chance, so that many clients do not come back together; a pause that would use
/// up what is left of the time limit is shortened to half of that.
///
/// ```no_run
/// # fn example() -> Result<(), harp_client::Error> {
/// use std::time::Duration;
///
/// use harp_client::{HarpCaller, Repeat};
///
/// let rpc = HarpCaller::builder("dispatcher.example.net")
///     .request_timeout(Duration::from_secs(30))
///     .repeat(Repeat::times(5).pauses(Duration::from_millis(50), Duration::from_secs(2)))
///     .build()?;
/// let once = rpc.host("web01").key("deploy 4711").repeat(Repeat::never());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    times: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl Repeat {
    /// As often as the time limit allows, after pauses from 100 ms to 10 s: the default.
    #[must_use]
    pub const fn always() -> Repeat {
        Repeat::times(u32::MAX)
    }

    /// Never: an error is the program's.
    #[must_use]
    pub const fn never() -> Repeat {
        Repeat::times(0)
    }

    /// So many times at most, after the first attempt.
    #[must_use]
    pub const fn times(times: u32) -> Repeat {
        Repeat {
            times,
            first_pause: LEAST,
            longest_pause: Duration::from_secs(10),
        }
    }

    /// The pause before the second repetition, and the longest.
    #[must_use]
    pub const fn pauses(self, first: Duration, longest: Duration) -> Repeat {
        Repeat {
            times: self.times,
            first_pause: first,
            longest_pause: longest,
        }
    }

    /// The pause before the next attempt after so many repetitions, when so much time is
    /// left; `None` if there is to be no other.
    pub(super) fn pause(&self, repeated: u32, left: Duration) -> Option<Duration> {
        if repeated >= self.times || left < LEAST {
            return None;
        }
        let Some(doubled) = repeated.checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        let pause = self
            .first_pause
            .saturating_mul(2_u32.saturating_pow(doubled))
            .min(self.longest_pause)
            .mul_f64(half_to_whole());
        Some(pause.min(left / 2))
    }

    /// An attempt that lived for longer counts as a success.
    pub(super) fn longest_pause(&self) -> Duration {
        self.longest_pause
    }
}

impl Default for Repeat {
    fn default() -> Repeat {
        Repeat::always()
    }
}

/// A number between a half and one, different each time.
fn half_to_whole() -> f64 {
    let random = RandomState::new().hash_one(0) % 1000;
    // Below 1000, so that it fits.
    0.5 + f64::from(u32::try_from(random).unwrap_or_default()) / 2000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let repeat = Repeat::times(6).pauses(second, 4 * second);
        assert_eq!(repeat.pause(0, MINUTE), Some(Duration::ZERO));
        for (repeated, whole) in [
            (1, second),
            (2, 2 * second),
            (3, 4 * second),
            (5, 4 * second),
        ] {
            let pause = repeat.pause(repeated, MINUTE).unwrap();
            assert!(
                pause >= whole / 2 && pause <= whole,
                "{repeated}: {pause:?}"
            );
        }
        assert_eq!(repeat.pause(6, MINUTE), None);
        assert_eq!(Repeat::never().pause(0, MINUTE), None);
    }

    #[test]
    fn no_pause_uses_up_the_time_that_is_left() {
        let repeat = Repeat::always().pauses(MINUTE, MINUTE);
        let left = Duration::from_secs(10);
        assert_eq!(repeat.pause(3, left), Some(left / 2));
        assert_eq!(repeat.pause(0, LEAST / 2), None);
        assert!(
            Repeat::always()
                .pause(u32::MAX - 1, Duration::MAX)
                .is_some()
        );
    }
}
