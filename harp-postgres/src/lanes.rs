//! Which requests go together in a round, while others are under way. Pure state.
//!
//! There are several lanes, each with its connection, so that one commit's wait overlaps the
//! work of another. What concerns one job, one queue, one pool or one paper is never in two
//! lanes at once and never overtakes itself: so its news come in the order of its changes.

use std::collections::{HashSet, VecDeque};

use harp_jobs::ledger::PaperId;
use harp_jobs::lineup::pool::PoolId;
use harp_values::JobId;

use crate::act::Act;
use crate::digest::Digest;

/// Requests of one round at most, and about their bytes.
const MOST: usize = 256;
const BYTES: usize = 1024 * 1024;

/// Requests that are looked at for one round.
const LOOKED_AT: usize = 4096;

/// What a request concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Job(JobId),
    Queue(Digest),
    Pool(PoolId),
    Paper(PaperId),
}

/// All that a request concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Keys(Vec<Key>),
    /// Nobody knows before it is carried out: nothing else is under way then.
    Everything,
}

/// A request that waits for its round.
#[derive(Debug)]
pub(crate) struct Waiting<A = Act> {
    pub(crate) act: A,
    pub(crate) reach: Reach,
    /// It has a round to itself, since one that it was part of was refused.
    pub(crate) alone: bool,
}

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    keys: HashSet<Key>,
    rounds: usize,
    /// The one round concerns everything.
    is_all: bool,
}

impl UnderWay {
    /// Takes out the requests that can be carried out now, in their order; they are under way
    /// from then on, until [`UnderWay::over`].
    pub(crate) fn take<A>(
        &mut self,
        waiting: &mut VecDeque<Waiting<A>>,
        weight: impl Fn(&A) -> usize,
    ) -> Vec<Waiting<A>> {
        let (mut taken, mut passed) = (Vec::new(), VecDeque::new());
        let mut blocked: HashSet<Key> = HashSet::new();
        let mut bytes = 0;
        if self.is_all {
            return taken;
        }
        while let Some(next) = waiting.pop_front() {
            let is_first = taken.is_empty() && passed.is_empty();
            let is_enough = taken.len() == MOST
                || bytes >= BYTES
                || taken.len() + passed.len() == LOOKED_AT
                || (next.alone && !taken.is_empty());
            let goes = match &next.reach {
                Reach::Everything => is_first && self.rounds == 0,
                Reach::Keys(keys) => {
                    let is_free = |key| !self.keys.contains(key) && !blocked.contains(key);
                    keys.iter().all(is_free)
                }
            };
            let ends = is_enough || next.reach == Reach::Everything || (goes && next.alone);
            if goes && !is_enough {
                bytes += weight(&next.act);
                taken.push(next);
            } else {
                if let Reach::Keys(keys) = &next.reach {
                    blocked.extend(keys.iter().cloned());
                }
                passed.push_back(next);
            }
            if ends {
                break;
            }
        }
        passed.append(waiting);
        *waiting = passed;
        if !taken.is_empty() {
            self.rounds += 1;
        }
        for next in &taken {
            match &next.reach {
                Reach::Keys(keys) => self.keys.extend(keys.iter().cloned()),
                Reach::Everything => self.is_all = true,
            }
        }
        taken
    }

    /// A round is over.
    pub(crate) fn over<A>(&mut self, round: &[Waiting<A>]) {
        self.rounds -= 1;
        for request in round {
            match &request.reach {
                Reach::Keys(keys) => keys.iter().for_each(|key| _ = self.keys.remove(key)),
                Reach::Everything => self.is_all = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u8) -> Key {
        Key::Job(JobId::from_bytes([number; 16]))
    }

    fn line(reaches: &[Reach]) -> VecDeque<Waiting<usize>> {
        let requests = reaches.iter().enumerate().map(|(act, reach)| Waiting {
            act,
            reach: reach.clone(),
            alone: false,
        });
        requests.collect()
    }

    fn of(keys: &[Key]) -> Reach {
        Reach::Keys(keys.to_vec())
    }

    fn acts(round: &[Waiting<usize>]) -> Vec<usize> {
        round.iter().map(|request| request.act).collect()
    }

    #[test]
    fn nothing_overtakes_what_concerns_the_same() {
        let mut waiting = line(&[
            of(&[job(1)]),
            of(&[job(2)]),
            of(&[job(1), job(3)]),
            of(&[job(3)]),
            of(&[job(4)]),
        ]);
        let mut under_way = UnderWay::default();
        // Those of one job go together, in their order.
        let mut first = line(&[of(&[job(1)]), of(&[job(1)])]);
        let one = under_way.take(&mut first, |_| 1);
        assert_eq!(acts(&one), [0, 1]);
        let two = under_way.take(&mut waiting, |_| 1);
        assert_eq!(
            acts(&two),
            [1, 4],
            "3 stands behind 2, which waits for job 1"
        );
        assert!(under_way.take(&mut waiting, |_| 1).is_empty());
        under_way.over(&one);
        let three = under_way.take(&mut waiting, |_| 1);
        assert_eq!(acts(&three), [0, 2, 3]);
        under_way.over(&two);
        under_way.over(&three);
        assert!(under_way.keys.is_empty() && under_way.rounds == 0);
    }

    #[test]
    fn what_concerns_everything_goes_by_itself() {
        let reaches = [of(&[job(1)]), Reach::Everything, of(&[job(2)])];
        let mut waiting = line(&reaches);
        let mut under_way = UnderWay::default();
        for wanted in [0, 1, 2] {
            let round = under_way.take(&mut waiting, |_| 1);
            assert_eq!(acts(&round), [wanted]);
            if wanted < 2 {
                assert!(under_way.take(&mut waiting, |_| 1).is_empty());
            }
            under_way.over(&round);
        }
    }

    #[test]
    fn a_round_is_bounded_and_one_may_have_its_own() {
        let many: Vec<Reach> = (0..=255).map(|number| of(&[job(number)])).collect();
        let mut waiting = line(&many);
        waiting.extend(line(&[Reach::Keys(Vec::new())]));
        let mut under_way = UnderWay::default();
        assert_eq!(under_way.take(&mut waiting, |_| BYTES / 2).len(), 2);
        waiting[1].alone = true;
        assert_eq!(under_way.take(&mut waiting, |_| 1).len(), 1);
        assert_eq!(under_way.take(&mut waiting, |_| 1).len(), 1);
        assert_eq!(under_way.take(&mut waiting, |_| 1).len(), 253);
        assert!(waiting.is_empty());
    }
}
