//! Which ended jobs go, where the age of all of them is the wall clock's.

use std::time::Duration;

use harp_values::JobId;

use super::{Contents, Keep, Pruned};

/// An ended job that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// The job.
    pub job: JobId,
    /// When it ended, in milliseconds since 1970.
    pub ended: u64,
    /// The bytes that are kept of it.
    pub size: u64,
}

impl Keep {
    /// Which of these go, `piece` of them at most, and what is said of it. They come in the order
    /// in which they ended; `there` is what there is in all, `now` the time by the wall clock.
    #[must_use]
    pub fn choose(
        &self,
        oldest: impl IntoIterator<Item = Old>,
        there: Contents,
        now: u64,
        piece: usize,
    ) -> (Vec<Old>, Pruned) {
        let (mut goes, mut told) = (Vec::new(), Pruned::default());
        let (mut jobs, mut bytes) = (there.ended, there.bytes);
        for old in oldest {
            let is_too_much = self.jobs.is_some_and(|most| jobs > most)
                || self.bytes.is_some_and(|most| bytes > most);
            let age = Duration::from_millis(now.saturating_sub(old.ended));
            let is_too_old = !is_too_much && self.max_age.is_some_and(|most| age >= most);
            if is_too_old && told.by_wall_clock == self.by_wall_clock {
                told.withheld = true;
                break;
            }
            if !is_too_much && !is_too_old {
                break;
            }
            if goes.len() == piece {
                told.more = true;
                break;
            }
            told.by_wall_clock += u64::from(is_too_old);
            goes.push(old);
            jobs = jobs.saturating_sub(1);
            bytes = bytes.saturating_sub(old.size);
        }
        told.jobs = goes.len() as u64;
        (goes, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(number: u8) -> Old {
        Old {
            job: JobId::from_bytes([number; 16]),
            ended: u64::from(number),
            size: 10,
        }
    }

    #[test]
    fn the_oldest_go_while_there_is_too_much() {
        let there = Contents {
            live: 9,
            ended: 5,
            bytes: 50,
        };
        let chosen = |keep: Keep| keep.choose((0..5).map(old), there, 1000, 9);
        let count = |keep| chosen(keep).0.len();
        let none = Keep::default();
        let jobs = Keep {
            jobs: Some(3),
            ..none
        };
        let bytes = Keep {
            bytes: Some(15),
            ..none
        };
        let by_age = Keep {
            max_age: Some(Duration::from_millis(997)),
            by_wall_clock: 9,
            ..none
        };
        assert_eq!(
            [count(none), count(jobs), count(bytes), count(by_age)],
            [0, 2, 4, 4]
        );
        let (goes, told) = chosen(Keep {
            by_wall_clock: 1,
            ..by_age
        });
        assert_eq!(
            (goes.len(), told.by_wall_clock, told.withheld),
            (1, 1, true)
        );
    }

    #[test]
    fn a_piece_is_bounded() {
        let keep = Keep {
            jobs: Some(0),
            ..Keep::default()
        };
        let there = Contents {
            live: 0,
            ended: 1000,
            bytes: 0,
        };
        let (goes, told) = keep.choose((0..5).map(old), there, 0, 4);
        assert_eq!((goes.len(), told.more), (4, true));
    }
}
