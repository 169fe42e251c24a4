//! Where time, chance and tasks come from. The core has no other source of them, so that a
//! simulation can play all three.

use std::fmt;
use std::ops::Add;
use std::pin::Pin;
use std::time::Duration;

/// A future that owns what it needs and may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The source of time, chance and tasks: the daemon's runtime, or a simulation.
pub trait World: Send + Sync {
    /// The time by a clock that is never set. All limits are counted by it.
    fn now(&self) -> Moment;

    /// The time by the wall clock, in milliseconds since 1970: for people and records. It
    /// may jump, either way.
    fn wall(&self) -> u64;

    /// A number that nobody can foresee, for ids and jitter.
    fn chance(&self) -> u128;

    /// Runs a task to its end. `name` is for logs; `phase` says when a stop waits for it.
    fn spawn(&self, name: &'static str, phase: Phase, work: BoxFuture<'static, ()>);

    /// Completes at a moment, at once if it is over.
    fn sleep(&self, until: Moment) -> BoxFuture<'static, ()>;
}

/// The order in which tasks end at a stop: a phase is waited for when those before it are
/// over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What a client has begun and nobody has to wait for: a submission, a cancel.
    Verbs,
    /// The runs of jobs, until nothing of them is left to be done here.
    Runs,
    /// What hands news on; over when the ledger is shut.
    News,
}

/// A moment by a world's clock that is never set, in nanoseconds since that world began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// When the world began.
    pub const START: Moment = Moment(0);

    /// A moment that does not come.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The time since an earlier moment; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Beyond what can be counted lies [`Moment::NEVER`].
impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanoseconds))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Moment::NEVER {
            return f.write_str("never");
        }
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_never_comes() {
        let second = Moment::START + Duration::from_secs(1);
        assert_eq!(second.since(Moment::START), Duration::from_secs(1));
        assert_eq!(Moment::START.since(second), Duration::ZERO);
        for endless in [Duration::MAX, Duration::from_secs(u64::MAX / 1000)] {
            assert_eq!(second + endless, Moment::NEVER);
        }
        assert_eq!(Moment::NEVER + Duration::from_secs(1), Moment::NEVER);
        assert_eq!(format!("{second:?} {:?}", Moment::NEVER), "1s never");
    }
}
