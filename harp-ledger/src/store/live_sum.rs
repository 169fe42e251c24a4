//! A sum over the live jobs, kept beside their number: if it does not fit to the jobs that
//! a start finds live, one of them has ended, or started, and what said so is lost.

use std::ops::ControlFlow;

use harp_values::JobId;

use super::entries::Entries;
use super::layout::{self, Table};
use super::read;
use super::sled::EngineError;

/// Which jobs live, and which of them have started, as two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveSum {
    /// How many there are.
    pub jobs: u64,
    /// The sum, without what does not fit into it, of a number for each.
    pub sum: u64,
}

impl LiveSum {
    pub(crate) fn add(&mut self, id: JobId, has_started: bool) {
        self.jobs = self.jobs.wrapping_add(1);
        self.sum = self.sum.wrapping_add(number(id, has_started));
    }

    pub(crate) fn remove(&mut self, id: JobId, has_started: bool) {
        self.jobs = self.jobs.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(number(id, has_started));
    }

    /// Computes the sum of the store as it is; `None` if the state of a job cannot be read.
    pub(crate) fn count(engine: &dyn Entries) -> Result<Option<LiveSum>, EngineError> {
        let (from, to) = Table::Live.bounds();
        let mut sum = Some(LiveSum::default());
        engine.scan(&from, &to, &mut |key, value| {
            let id = layout::job_of(key).unwrap_or(JobId::NONE);
            match (&mut sum, read::decode_live(id, value)) {
                (Some(sum), Ok(live)) => {
                    sum.add(id, live.started.is_some());
                    ControlFlow::Continue(())
                }
                _ => {
                    sum = None;
                    ControlFlow::Break(())
                }
            }
        })?;
        Ok(sum)
    }
}

/// A job's share of the sum. It is stored, so it never changes.
fn number(id: JobId, has_started: bool) -> u64 {
    let id = u128::from_be_bytes(*id.as_bytes());
    // Both halves, each of 64 bits, and the state, spread over all bits (splitmix64).
    let mut mixed = (id >> 64) as u64 ^ (id as u64).rotate_left(29) ^ u64::from(has_started);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}
