//! The jobs of one queue that wait, in their order, kept so that the place of one of them is
//! found without a walk past all that wait before it.

use std::collections::BTreeMap;
use std::ops::Bound;

use harp_values::JobId;

/// Sequence numbers whose jobs are counted together.
const BLOCK: u64 = 512;

/// The jobs that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By sequence number.
    jobs: BTreeMap<u64, Waiting>,
    /// How many there are of each block of numbers, but for those that have none.
    blocks: BTreeMap<u64, usize>,
    /// How many of them are ready.
    ready: usize,
}

/// A job that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: JobId,
    /// False until the job's record is on disk: it must not start before.
    pub(super) ready: bool,
}

impl Line {
    /// Enters a job at its place in the order.
    pub(super) fn insert(&mut self, sequence: u64, waiting: Waiting) {
        self.ready += usize::from(waiting.ready);
        match self.jobs.insert(sequence, waiting) {
            None => *self.blocks.entry(sequence / BLOCK).or_default() += 1,
            Some(before) => self.ready -= usize::from(before.ready),
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Waiting> {
        let waiting = self.jobs.remove(&sequence)?;
        self.ready -= usize::from(waiting.ready);
        let block = sequence / BLOCK;
        if let Some(count) = self.blocks.get_mut(&block) {
            *count -= 1;
            if *count == 0 {
                self.blocks.remove(&block);
            }
        }
        Some(waiting)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Waiting> {
        self.jobs.get(&sequence)
    }

    /// The record of a job is on disk.
    pub(super) fn make_ready(&mut self, sequence: u64) {
        if let Some(waiting) = self.jobs.get_mut(&sequence) {
            self.ready += usize::from(!waiting.ready);
            waiting.ready = true;
        }
    }

    /// Takes the first one out, if it is ready.
    pub(super) fn next(&mut self) -> Option<JobId> {
        let (sequence, first) = self.jobs.first_key_value()?;
        let sequence = *sequence;
        if !first.ready {
            return None;
        }
        self.remove(sequence).map(|waiting| waiting.id)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How many of them are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many wait before the job of this number.
    pub(super) fn before(&self, sequence: u64) -> usize {
        let block = sequence / BLOCK;
        let in_blocks: usize = self.blocks.range(..block).map(|(_, count)| count).sum();
        in_blocks + self.jobs.range(block * BLOCK..sequence).count()
    }

    /// All of them, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.jobs.values()
    }

    /// Those that are ready, behind a number, each with its own.
    pub(super) fn behind(&self, number: Option<u64>) -> impl Iterator<Item = (u64, &Waiting)> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let jobs = self.jobs.range((from, Bound::Unbounded));
        let jobs = jobs.map(|(number, waiting)| (*number, waiting));
        jobs.filter(|(_, waiting)| waiting.ready)
    }

    /// Takes out all that are ready, in their order.
    pub(super) fn take_ready(&mut self) -> Vec<JobId> {
        let ready = self.jobs.iter().filter(|(_, waiting)| waiting.ready);
        let ready: Vec<u64> = ready.map(|(sequence, _)| *sequence).collect();
        let taken = ready
            .into_iter()
            .filter_map(|sequence| self.remove(sequence));
        taken.map(|waiting| waiting.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_many_wait_before_a_job_as_have_lower_numbers(
            steps in proptest::collection::vec((0..4, 0..5 * BLOCK), 0..300),
        ) {
            let mut line = Line::default();
            let mut plain = BTreeMap::new();
            for (step, sequence) in steps {
                let id = JobId::from_bytes(u128::from(sequence).to_be_bytes());
                match step {
                    0 | 1 => {
                        let ready = step == 0;
                        line.insert(sequence, Waiting { id, ready });
                        plain.insert(sequence, ready);
                    }
                    2 => {
                        line.make_ready(sequence);
                        plain.entry(sequence).and_modify(|ready| *ready = true);
                    }
                    _ => {
                        let removed = plain.remove(&sequence).is_some();
                        prop_assert_eq!(line.remove(sequence).is_some(), removed);
                    }
                }
                prop_assert_eq!(line.before(sequence), plain.range(..sequence).count());
                let ready = plain.iter().filter(|(_, ready)| **ready);
                let ready: Vec<u64> = ready.map(|(number, _)| *number).collect();
                prop_assert_eq!(line.ready(), ready.len());
                let behind = line.behind(Some(sequence)).map(|(number, _)| number);
                let plain_behind = ready.iter().copied().filter(|number| *number > sequence);
                prop_assert!(behind.eq(plain_behind));
            }
            let ready = line.ready();
            prop_assert_eq!(line.take_ready().len(), ready);
            prop_assert_eq!((line.ready(), line.len()), (0, plain.len() - ready));
            prop_assert!(!line.is_empty() || line.blocks.is_empty());
        }
    }
}
