//! How long this harpd has been running, by the clock that leases are counted on.

use harp_proto::host::kept::Uptime;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// The system's clock since its start, which nobody sets and which goes on while the
/// machine is suspended: a lease that is over for the caller is over here too.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock {
            start: since_boot(),
        }
    }

    /// Time since the clock began.
    #[must_use]
    pub fn now(&self) -> Uptime {
        Uptime::after(since_boot().saturating_sub(self.start))
    }
}

fn since_boot() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    // Neither is ever negative on this clock.
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}
