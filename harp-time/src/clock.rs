//! The wall clock, for times that people read, and the life of the machine, for ages.
//! Limits are kept by the monotonic clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970; 0 on a machine whose clock stands before that.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the machine was started, those included in which it slept. Nobody
/// can set this clock.
#[must_use]
pub fn since_boot() -> u64 {
    // A system without it has one that stands still while it sleeps.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .map_or(0, |time| Duration::from(time).as_millis());
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// What the wall clock of this moment would have shown when the machine was started, in
/// milliseconds since 1970: it changes when that clock is set.
#[must_use]
pub fn boot_began() -> i64 {
    now().cast_signed().saturating_sub_unsigned(since_boot())
}

/// A number that the machine has from its start to its end, and not again: the beginning of
/// what the system calls its boot id. `None` where the system does not say it.
#[must_use]
pub fn boot() -> Option<u64> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16).ok()
}
