//! How long a harpd has been running, on its own clock.

use std::time::Duration;

use bytes::BytesMut;
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

/// Seconds since harpd's start, in whole microseconds: what it sends comes back as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Uptime(u64);

impl Uptime {
    /// So long after the start; what is under a microsecond is left out.
    #[must_use]
    pub fn after(running: Duration) -> Uptime {
        Uptime(u64::try_from(running.as_micros()).unwrap_or(u64::MAX))
    }

    /// The time since the start.
    #[must_use]
    pub fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }

    pub(super) fn write(self, out: &mut BytesMut) {
        write::integer(out, self.0 / 1_000_000);
        let fraction = self.0 % 1_000_000;
        out.extend_from_slice(format!(".{fraction:06}").as_bytes());
    }

    /// Takes `up`, a number of seconds that is not negative.
    pub(super) fn take(fields: &mut Fields<'_>) -> Result<Option<Uptime>, ShapeError> {
        let Some(raw) = fields.non_null("up") else {
            return Ok(None);
        };
        // In steps of a microsecond a double is exact for 285 years.
        let seconds = raw.get().parse::<f64>().ok();
        match seconds.filter(|seconds| (0.0..1e10).contains(seconds)) {
            Some(seconds) => Ok(Some(Uptime((seconds * 1e6).round() as u64))),
            None => Err(fields.error("up", "must be a number of seconds, 0 or more")),
        }
    }

    /// Takes what [`Uptime::take`] does, and it has to be there.
    pub(super) fn required(fields: &mut Fields<'_>) -> Result<Uptime, ShapeError> {
        Uptime::take(fields)?.ok_or_else(|| fields.error("up", "missing, must be a number"))
    }
}
