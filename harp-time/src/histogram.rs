//! How often something took how long.

use std::time::Duration;

/// Counts by upper bounds, in milliseconds, with their sum.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Up to each of the bounds, and beyond.
    counts: Vec<u64>,
    microseconds: u64,
}

impl Histogram {
    /// Of requests and connections.
    pub const SHORT: &'static [u64] = &[1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

    /// Of what can take as long as a job.
    pub const LONG: &'static [u64] = &[
        10, 100, 500, 2_500, 10_000, 60_000, 600_000, 3_600_000, 86_400_000,
    ];

    /// Nothing yet.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Histogram {
        Histogram {
            bounds,
            counts: vec![0; bounds.len() + 1],
            microseconds: 0,
        }
    }

    /// Notes that it took so long.
    pub fn note(&mut self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // One that is a bound is within it.
        let place = self
            .bounds
            .partition_point(|bound| bound * 1000 < microseconds);
        self.counts[place] += 1;
        self.microseconds = self.microseconds.saturating_add(microseconds);
    }

    /// Each bound in milliseconds, `None` for what has none, with the number of those within
    /// it.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let mut sum = 0;
        bounds.zip(&self.counts).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.microseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_within_them() {
        let mut histogram = Histogram::new(Histogram::SHORT);
        for milliseconds in [0, 1, 30, 100_000] {
            histogram.note(Duration::from_millis(milliseconds));
        }
        histogram.note(Duration::from_micros(1001));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets[0], (Some(1), 2));
        assert_eq!(buckets[1], (Some(5), 3));
        assert_eq!(buckets[3], (Some(100), 4));
        assert_eq!(buckets[8], (None, 5));
        assert_eq!(
            (histogram.count(), histogram.sum().as_micros()),
            (5, 100_032_001)
        );
    }
}
