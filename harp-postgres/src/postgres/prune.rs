//! Removing ended jobs that are not to be kept, the oldest first, a bounded piece at a time. The
//! age of all of them is the wall clock's, since other machines have written their ends.

use harp_jobs::ledger::*;
use harp_jobs::world::Phase;
use harp_values::JobId;
use tokio::sync::oneshot;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::read::job_id;
use crate::act::Act;
use crate::lanes::{Key, Reach};

/// Jobs of one piece at most.
const PIECE: usize = 256;

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
        let (oldest, there) = loop {
            match self.oldest(keep).await {
                Ok(found) => break found,
                Err(Unreadable::Closed) => return Err(Lost::Closed),
                Err(Unreadable::Damaged(why)) => return Err(Lost::Refused(why)),
                Err(Unreadable::Outage(_)) if self.state().waits_for_nothing => {
                    return Err(Lost::Closed);
                }
                Err(Unreadable::Outage(_)) => {}
            }
        };
        let (goes, told) = keep.choose(oldest, there, self.wall(), PIECE);
        if goes.is_empty() {
            return Ok(told);
        }
        let goes: Vec<(JobId, u64)> = goes.iter().map(|old| (old.job, old.size)).collect();
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

    /// The oldest ended jobs, and how many there are and how large, as far as that matters. All of
    /// it is of one moment: of nodes that remove jobs at the same time each chooses the same.
    async fn oldest(&self, keep: Keep) -> Result<(Vec<Old>, Contents), Unreadable> {
        let is_counted = keep.jobs.is_some() || keep.bytes.is_some();
        let rows = self.rows(
            "with old as (select id, ended, size from harp.ended e where not exists (select from \
             harp.debt d where d.id = e.id) order by ended, id limit $1), \
             there as (select count(*) as jobs, coalesce(sum(size), 0)::bigint as bytes \
             from harp.ended where $2) select * from there left join old on true",
            vec![Box::new(PIECE as i64 + 1), Box::new(is_counted)],
        );
        let rows = rows.await?;
        let number = |row: &Row, place| row.get::<_, i64>(place).cast_unsigned();
        let there = rows.first().map_or(Contents::default(), |row| Contents {
            live: 0,
            ended: number(row, 0),
            bytes: number(row, 1),
        });
        let old = rows.iter().filter_map(|row| {
            Some(Old {
                job: job_id(row.get::<_, Option<Uuid>>(2)?),
                ended: number(row, 3),
                size: number(row, 4),
            })
        });
        let mut old: Vec<Old> = old.collect();
        old.sort_unstable_by_key(|old| (old.ended, old.job));
        Ok((old, there))
    }
}
