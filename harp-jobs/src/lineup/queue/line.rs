//! The jobs of one queue that wait, in their order, kept so that the place of one of them is
//! found without a walk past all that wait before it.

use std::collections::BTreeMap;

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
        if self.jobs.insert(sequence, waiting).is_none() {
            *self.blocks.entry(sequence / BLOCK).or_default() += 1;
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Waiting> {
        let waiting = self.jobs.remove(&sequence)?;
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

    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Waiting> {
        self.jobs.get_mut(&sequence)
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
            steps in proptest::collection::vec((any::<bool>(), 0..5 * BLOCK), 0..300),
        ) {
            let mut line = Line::default();
            let mut plain = std::collections::BTreeSet::new();
            for (enters, sequence) in steps {
                if enters {
                    let id = JobId::from_bytes(u128::from(sequence).to_be_bytes());
                    line.insert(sequence, Waiting { id, ready: true });
                    plain.insert(sequence);
                } else {
                    prop_assert_eq!(line.remove(sequence).is_some(), plain.remove(&sequence));
                }
                prop_assert_eq!(line.before(sequence), plain.range(..sequence).count());
            }
            prop_assert_eq!(line.take_ready().len(), plain.len());
            prop_assert!(line.is_empty() && line.blocks.is_empty());
        }
    }
}
