//! Lists for administrators, where a job stands in its queue, and what a start looks at.

use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::PoolId;
use harp_jobs::lineup::queue::{Place, QueueTally, Spot};
use harp_jobs::lineup::tally::Tally;
use harp_jobs::record::{JobRecord, LiveRecord, QueueRecord};
use harp_values::{JobId, QueueName};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::nodes::Node;
use super::read::{Given, job_id, number, record, records, uuid};
use crate::digest::Digest;

impl Postgres {
    /// All jobs that have not ended, in the order of their submission.
    pub fn live_jobs(&self) -> Answer<Vec<JobId>, Unreadable> {
        self.read(async move |ledger| {
            let live = "select id from harp.live order by sequence";
            let rows = ledger.rows(live, Given::new()).await?;
            Ok(rows.iter().map(|row| job_id(row.get(0))).collect())
        })
    }

    /// The jobs that have not ended, in the order of their submission, with where they stand, and
    /// whether another node holds them.
    pub fn live(&self) -> Answer<Vec<(JobId, LiveRecord, bool)>, Unreadable> {
        self.read(async move |ledger| {
            let term = ledger.state().term;
            let live = "select id, sequence, started, start_by, submitted, attempt, not_before, \
                        pool, token, name, concurrency, (stands = 'r' or (stands = 't' and pool \
                        is null)) and (node, epoch) <> ($1, $2) from harp.live order by sequence";
            let given: Given = vec![Box::new(term.node), Box::new(term.epoch)];
            let rows = ledger.rows(live, given).await?;
            let live = rows.iter().map(|row| {
                let (job, record) = live_record(row);
                (job, record, row.get(11))
            });
            Ok(live.collect())
        })
    }

    /// The nodes, as this one saw them with its last beat.
    pub fn nodes(&self) -> Answer<Vec<Node>, Unreadable> {
        self.read(async move |ledger| {
            let count = "select node, count(*) from harp.live where stands = 'r' group by node";
            let rows = ledger.rows(count, Given::new()).await?;
            let running = rows.iter().map(|row| {
                let count: i64 = row.get(1);
                (row.get(0), count.cast_unsigned())
            });
            let running = running.collect();
            Ok(ledger.state().nodes.nodes(&running, ledger.0.world.now()))
        })
    }

    /// Whether this node is the one that removes ended jobs that are not to be kept.
    #[must_use]
    pub fn keeps_house(&self) -> bool {
        let state = self.state();
        state.nodes.keeps_house(state.term.node)
    }

    /// Where a job stands in its queue; `None` if it is in none, or waits for something else
    /// first.
    pub fn place(&self, job: JobId) -> Answer<Option<Place>, Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select case when l.stands = 'w' then (select count(*) from harp.live w \
                 where w.queue = l.queue and w.stands = 'w' and w.sequence < l.sequence) \
                 + q.used - q.concurrency + 1 end from harp.live l join harp.queue q \
                 on q.digest = l.queue where l.id = $1 and l.stands <> 'l' \
                 union all select null from harp.debt d where d.id = $1 and d.queue is not null",
                vec![Box::new(uuid(job))],
            );
            let place = rows.await?.first().map(|row| row.get::<_, Option<i64>>(0));
            Ok(place.map(|behind| match behind {
                None => Place::Held,
                Some(behind) => Place::Behind(behind.max(0).cast_unsigned()),
            }))
        })
    }

    /// How many jobs there are of each kind.
    pub fn tally(&self) -> Answer<Tally, Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select (select count(*) from harp.live where stands <> 'r'), \
                 (select count(*) from harp.live where stands = 'r'), \
                 (select count(*) from harp.debt d where d.queue is not null \
                 and not exists (select from harp.live l where l.id = d.id)), \
                 (select count(*) from harp.queue), \
                 (select id from harp.live where stands <> 'r' order by id limit 1)",
                Given::new(),
            );
            let rows = rows.await?;
            let Some(row) = rows.first() else {
                return Ok(Tally::default());
            };
            let count = |place| number(row, place).unwrap_or_default();
            Ok(Tally {
                queued: count(0),
                running: count(1),
                places_kept: count(2),
                queues: count(3),
                oldest_queued: row.get::<_, Option<Uuid>>(4).map(job_id),
            })
        })
    }

    /// Jobs that hold places in a queue, by id, at most so many; none if there is no such queue.
    pub fn holders(&self, name: &QueueName, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        let digest = Digest::of_queue(name).to_vec();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select id from harp.live where queue = $1 and stands in ('t', 'r') \
                 union select id from harp.debt where queue = $1 order by id limit $2",
                vec![Box::new(digest), Box::new(most)],
            );
            Ok(rows.await?.iter().map(|row| job_id(row.get(0))).collect())
        })
    }

    /// How the jobs of a queue stand; `None` if it has none.
    pub fn queue_tally(&self, name: &QueueName) -> Answer<Option<QueueTally>, Unreadable> {
        let digest = Digest::of_queue(name).to_vec();
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select q.concurrency, q.used, q.waiting, \
                 (select count(*) from harp.debt d where d.queue = q.digest \
                 and not exists (select from harp.live l where l.id = d.id)), \
                 least((select id from harp.live where queue = q.digest \
                 and stands in ('t', 'r') order by id limit 1), \
                 (select id from harp.debt where queue = q.digest order by id limit 1), \
                 (select id from harp.live where queue = q.digest and stands = 'w' \
                 order by sequence limit 1)) from harp.queue q where q.digest = $1",
                vec![Box::new(digest)],
            );
            let rows = rows.await?;
            Ok(rows.first().and_then(|row| {
                let count = |place| number(row, place).unwrap_or_default();
                let kept = count(3);
                Some(QueueTally {
                    concurrency: count(0),
                    running: count(1).saturating_sub(kept),
                    kept,
                    queued: count(2),
                    oldest: job_id(row.get::<_, Option<Uuid>>(4)?),
                })
            }))
        })
    }

    /// Jobs of a queue behind a spot, in their order, at most so many.
    pub fn queue_page(
        &self,
        name: &QueueName,
        after: Option<Spot>,
        most: usize,
    ) -> Answer<Vec<(JobId, Spot)>, Unreadable> {
        let digest = Digest::of_queue(name).to_vec();
        self.read(async move |ledger| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let (holder, waiting) = match after {
                None => (Some(Uuid::nil()), 0),
                Some(Spot::Holds(job)) => (Some(uuid(job)), 0),
                Some(Spot::Waits(number)) => (None, number.cast_signed()),
            };
            let mut page = Vec::new();
            if let Some(holder) = holder {
                let holders = ledger.rows(
                    "select id from harp.live where queue = $1 and stands in ('t', 'r') \
                     and id > $2 union select id from harp.debt where queue = $1 and id > $2 \
                     order by id limit $3",
                    vec![Box::new(digest.clone()), Box::new(holder), Box::new(most)],
                );
                let holders = holders.await?;
                let holders = holders.iter().map(|row| job_id(row.get(0)));
                page.extend(holders.map(|job| (job, Spot::Holds(job))));
            }
            let left = most - i64::try_from(page.len()).unwrap_or(most);
            let waiting = ledger.rows(
                "select id, sequence from harp.live where queue = $1 and stands = 'w' \
                 and sequence > $2 order by sequence limit $3",
                vec![Box::new(digest), Box::new(waiting), Box::new(left)],
            );
            page.extend(waiting.await?.iter().map(|row| {
                let number = number(row, 1).unwrap_or_default();
                (job_id(row.get(0)), Spot::Waits(number))
            }));
            Ok(page)
        })
    }

    /// Ended jobs by their ids, behind this one, at most so many.
    pub fn ended_page(
        &self,
        after: Option<JobId>,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        self.read(async move |ledger| {
            let after = after.map_or(Uuid::nil(), uuid);
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let page = records!("where c.id > $1 and e.id is not null order by c.id limit $2");
            let rows = ledger.rows(page, vec![Box::new(after), Box::new(most)]);
            rows.await?.iter().map(record).collect()
        })
    }

    /// How long what is kept of a job's call and of its end is, in bytes; 0 for what is not
    /// there.
    pub fn lengths(&self, job: JobId) -> Answer<(usize, usize), Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select octet_length(c.call), coalesce(octet_length(e.outcome), 0) \
                 from harp.call c left join harp.ended e using (id) where c.id = $1",
                vec![Box::new(uuid(job))],
            );
            let rows = rows.await?;
            let length = |row: &Row, place| row.get::<_, i32>(place).cast_unsigned() as usize;
            let lengths = rows.first().map(|row| (length(row, 0), length(row, 1)));
            Ok(lengths.unwrap_or_default())
        })
    }
}

fn live_record(row: &Row) -> (JobId, LiveRecord) {
    let name = row.get::<_, Option<&str>>(9);
    let name = name.and_then(|name| name.parse().ok());
    let pool: Option<&[u8]> = row.get(7);
    let live = LiveRecord {
        sequence: number(row, 1).unwrap_or_default(),
        queue: name.map(|name| QueueRecord {
            name,
            concurrency: number(row, 10).unwrap_or(1),
        }),
        started: number(row, 2),
        start_by: number(row, 3),
        submitted: number(row, 4).unwrap_or_default(),
        attempt: row.get::<_, i32>(5).cast_unsigned(),
        not_before: number(row, 6),
        pool: pool.map(|pool| PoolId::from(String::from_utf8_lossy(pool).into_owned())),
        token: Token(bytes::Bytes::copy_from_slice(row.get(8))),
    };
    (job_id(row.get(0)), live)
}
