//! Many measured times, and what can be said of them.

use std::time::Duration;

/// Times of one kind.
#[derive(Debug, Default)]
pub(crate) struct Distribution(Vec<Duration>);

impl Distribution {
    /// Adds one.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: Distribution) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `share` of all are not above, in milliseconds; 0.5 is the median.
    pub(crate) fn quantile_ms(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        if self.0.is_empty() {
            return 0.0;
        }
        let last = self.0.len() - 1;
        let index = (last as f64 * share).round() as usize;
        self.0[index.min(last)].as_secs_f64() * 1000.0
    }
}
