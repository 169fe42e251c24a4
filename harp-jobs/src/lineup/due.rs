//! By when jobs have to have started, or from when on they may. Pure state, no clock of its
//! own: one timer serves all of them, and a job that waits costs one small entry.

use std::collections::BTreeSet;

use harp_values::JobId;

use crate::world::Moment;

/// The moments of all jobs that wait and have one. `M` is what a clock shows.
#[derive(Debug)]
pub struct Due<M = Moment> {
    by: BTreeSet<(M, JobId)>,
}

impl<M> Default for Due<M> {
    fn default() -> Due<M> {
        Due {
            by: BTreeSet::new(),
        }
    }
}

impl<M: Ord + Copy> Due<M> {
    /// Enters a job that waits. True if it is now the first, so that the timer has to be
    /// set anew.
    #[must_use = "the timer may have to be set anew"]
    pub fn add(&mut self, by: M, id: JobId) -> bool {
        self.by.insert((by, id));
        self.by.first() == Some(&(by, id))
    }

    /// Takes a job out that does not wait any more.
    pub fn remove(&mut self, by: M, id: JobId) {
        self.by.remove(&(by, id));
    }

    /// The jobs, in the order of their moments.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.by.iter().map(|(_, id)| *id)
    }

    /// When the first of them is due.
    #[must_use]
    pub fn first(&self) -> Option<M> {
        self.by.first().map(|(by, _)| *by)
    }

    /// Takes out whoever is due by now, in the order of their moments.
    #[must_use = "the returned jobs have to be seen to"]
    pub fn take_due(&mut self, now: M) -> Vec<JobId> {
        let mut due = Vec::new();
        while let Some((by, _)) = self.by.first()
            && *by <= now
        {
            due.extend(self.by.pop_first().map(|(_, id)| id));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_due_comes_in_order_and_once() {
        let id = |number: u64| JobId::from_bytes(u128::from(number).to_be_bytes());
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let mut deadlines = Due::default();
        assert!(deadlines.add(at(5), id(1)));
        assert!(deadlines.add(at(2), id(2)));
        assert!(!deadlines.add(at(3), id(3)));
        assert!(!deadlines.add(at(9), id(4)));
        deadlines.remove(at(3), id(3));
        assert_eq!(deadlines.first(), Some(at(2)));
        assert!(deadlines.take_due(at(1)).is_empty());
        assert_eq!(deadlines.take_due(at(5)), [id(2), id(1)]);
        assert_eq!(deadlines.first(), Some(at(9)));
        assert!(deadlines.take_due(at(5)).is_empty());
    }
}
