//! Removing ended jobs that are not to be kept, the oldest first, a bounded piece at a time. The
//! age of all of them is the wall clock's, since other machines have written their ends.

use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::world::Phase;
use harp_values::JobId;
use tokio::sync::oneshot;

use super::Postgres;
use super::read::job_id;
use crate::act::Act;
use crate::lanes::{Key, Reach};

/// Jobs of one piece at most.
const PIECE: usize = 256;

/// An ended job that may go.
struct Old {
    job: JobId,
    ended: u64,
    size: u64,
}

impl Postgres {
    pub(super) fn remove(&self, keep: Keep) -> Answer<Pruned, Lost> {
        let (answer, receipt) = oneshot::channel();
        let ledger = self.clone();
        let work = async move {
            // Whoever asked may be gone.
            let _ = answer.send(ledger.remove_piece(keep).await);
        };
        self.0.world.spawn("pruning", Phase::News, Box::pin(work));
        Answer::later(receipt)
    }

    async fn remove_piece(&self, keep: Keep) -> Result<Pruned, Lost> {
        let _one_at_a_time = self.0.pruning.lock().await;
        let oldest = loop {
            match self.oldest().await {
                Ok(oldest) => break oldest,
                Err(Unreadable::Closed) => return Err(Lost::Closed),
                Err(Unreadable::Damaged(why)) => return Err(Lost::Refused(why)),
                Err(Unreadable::Outage(_)) if self.state().waits_for_nothing => {
                    return Err(Lost::Closed);
                }
                Err(Unreadable::Outage(_)) => {}
            }
        };
        let (goes, told) = choose(&oldest, keep, self.contents(), self.wall());
        if goes.is_empty() {
            return Ok(told);
        }
        let pruning = {
            let mut state = self.state();
            let keys = goes.iter().map(|(job, _)| Key::Job(*job));
            let reach = Reach::Keys(keys.collect());
            self.push(&mut state, reach, |answer| Act::Prune {
                jobs: goes,
                answer,
            })
        };
        let gone = pruning.await?;
        Ok(Pruned {
            jobs: gone.len() as u64,
            ..told
        })
    }

    async fn oldest(&self) -> Result<Vec<Old>, Unreadable> {
        let rows = self.rows(
            "select id, ended, size from harp.ended e where not exists (select from harp.debt d \
             where d.id = e.id) order by ended, id limit $1",
            vec![Box::new(PIECE as i64 + 1)],
        );
        let rows = rows.await?;
        let old = rows.iter().map(|row| Old {
            job: job_id(row.get(0)),
            ended: row.get::<_, i64>(1).cast_unsigned(),
            size: row.get::<_, i64>(2).cast_unsigned(),
        });
        Ok(old.collect())
    }
}

/// Which of the oldest go, with their bytes, and what is said of it.
fn choose(oldest: &[Old], keep: Keep, there: Contents, now: u64) -> (Vec<(JobId, u64)>, Pruned) {
    let (mut goes, mut told) = (Vec::new(), Pruned::default());
    let (mut jobs, mut bytes) = (there.ended, there.bytes);
    for old in oldest {
        let is_too_much = keep.jobs.is_some_and(|most| jobs > most)
            || keep.bytes.is_some_and(|most| bytes > most);
        let age = Duration::from_millis(now.saturating_sub(old.ended));
        let is_too_old = !is_too_much && keep.max_age.is_some_and(|most| age >= most);
        if is_too_old && told.by_wall_clock == keep.by_wall_clock {
            told.withheld = true;
            break;
        }
        if !is_too_much && !is_too_old {
            break;
        }
        if goes.len() == PIECE {
            told.more = true;
            break;
        }
        told.by_wall_clock += u64::from(is_too_old);
        goes.push((old.job, old.size));
        jobs = jobs.saturating_sub(1);
        bytes = bytes.saturating_sub(old.size);
    }
    told.jobs = goes.len() as u64;
    (goes, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(number: u8, ended: u64) -> Old {
        Old {
            job: JobId::from_bytes([number; 16]),
            ended,
            size: 10,
        }
    }

    #[test]
    fn the_oldest_go_while_there_is_too_much() {
        let oldest: Vec<Old> = (0..5)
            .map(|number| old(number, u64::from(number)))
            .collect();
        let there = Contents {
            live: 9,
            ended: 5,
            bytes: 50,
        };
        let count = |keep| choose(&oldest, keep, there, 1000).0.len();
        let none = Keep::default();
        assert_eq!(count(none), 0);
        assert_eq!(
            count(Keep {
                jobs: Some(3),
                ..none
            }),
            2
        );
        assert_eq!(
            count(Keep {
                bytes: Some(15),
                ..none
            }),
            4
        );
        let max_age = Some(Duration::from_millis(997));
        let by_age = Keep {
            max_age,
            by_wall_clock: 9,
            ..none
        };
        assert_eq!(count(by_age), 4);
        let (goes, told) = choose(
            &oldest,
            Keep {
                by_wall_clock: 1,
                ..by_age
            },
            there,
            1000,
        );
        assert_eq!(
            (goes.len(), told.by_wall_clock, told.withheld),
            (1, 1, true)
        );
    }

    #[test]
    fn a_piece_is_bounded() {
        let oldest: Vec<Old> = (0..=PIECE).map(|_| old(1, 0)).collect();
        let keep = Keep {
            jobs: Some(0),
            ..Keep::default()
        };
        let there = Contents {
            live: 0,
            ended: 1000,
            bytes: 0,
        };
        let (goes, told) = choose(&oldest, keep, there, 0);
        assert_eq!((goes.len(), told.more), (PIECE, true));
    }
}
