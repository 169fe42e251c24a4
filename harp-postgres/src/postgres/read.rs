//! Reading: what is in the database. In an outage readers wait for some seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::PoolId;
use harp_jobs::lineup::queue::Members;
use harp_jobs::record::{EndRecord, JobRecord, Stage};
use harp_jobs::segment::Segment;
use harp_values::{JobId, QueueName};
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Postgres;
use crate::connection::{Connection, Server};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::record::{decode_call, decode_outcome, decode_remarks};

/// How long an outage delays a reader before it is answered by an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections for readers.
const READERS: usize = 4;

/// Segments of one reply at most.
const SEGMENTS: i64 = 256;

/// What a statement is given.
pub(super) type Given = Vec<Box<dyn ToSql + Sync + Send>>;

/// The connections for reading, opened when they are wanted.
pub(super) struct Readers {
    server: Server,
    connections: [Mutex<Option<Arc<Connection>>>; READERS],
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn new(server: Server) -> Readers {
        Readers {
            server,
            connections: Default::default(),
            next: AtomicUsize::new(0),
        }
    }
}

impl Postgres {
    /// Closes the connections for reading; none is opened any more.
    pub(super) async fn end_reading(&self) {
        for slot in &self.0.readers.connections {
            *slot.lock().await = None;
        }
    }
}

/// A job's id in the database.
pub(super) fn uuid(job: JobId) -> Uuid {
    Uuid::from_bytes(*job.as_bytes())
}

/// A job by its id in the database.
pub(super) fn job_id(id: Uuid) -> JobId {
    JobId::from_bytes(id.into_bytes())
}

pub(super) fn number(row: &Row, place: usize) -> Option<u64> {
    row.get::<_, Option<i64>>(place).map(i64::cast_unsigned)
}

fn damaged(job: JobId) -> Unreadable {
    Unreadable::Damaged(format!("what the database has of job {job} cannot be read").into())
}

/// The statement that reads the records of these jobs.
macro_rules! records {
    ($which:literal) => {
        concat!(
            "select c.id, c.call, c.concurrency, l.stands = 'r', l.sequence, l.started, \
             e.started, e.ended from harp.call c left join harp.live l using (id) \
             left join harp.ended e using (id) ",
            $which
        )
    };
}
pub(super) use records;

pub(super) fn record(row: &Row) -> Result<JobRecord, Unreadable> {
    let id = job_id(row.get(0));
    let concurrency = number(row, 2);
    let call = decode_call(row.get(1), concurrency).ok_or_else(|| damaged(id))?;
    let stage = match (number(row, 7), row.get::<_, Option<bool>>(3)) {
        (Some(ended), _) => Stage::Ended {
            started: number(row, 6),
            ended,
        },
        (None, Some(true)) => Stage::Running {
            started: number(row, 5).unwrap_or_default(),
        },
        (None, _) => Stage::Queued {
            sequence: number(row, 4).unwrap_or_default(),
        },
    };
    Ok(JobRecord { id, call, stage })
}

impl Postgres {
    /// A connection to read over. A new one is used only after a beat on it: whatever its
    /// server shows is as safe as that commit.
    async fn reader(&self) -> Result<Arc<Connection>, Fault> {
        let readers = &self.0.readers;
        let place = readers.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let mut slot = readers.connections[place].lock().await;
        if self.state().is_closed {
            return Err(Fault::Away("the ledger is closed".into()));
        }
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        *slot = None;
        let connection = Arc::new(readers.server.connect().await?);
        self.acknowledge(&connection).await?;
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// The rows of a statement.
    pub(super) async fn rows(
        &self,
        statement: &'static str,
        given: Given,
    ) -> Result<Vec<Row>, Unreadable> {
        let world = &self.0.world;
        let since = world.now();
        loop {
            if self.state().is_closed {
                return Err(Unreadable::Closed);
            }
            let reading = async {
                let connection = self.reader().await?;
                let given: Vec<&(dyn ToSql + Sync)> = given
                    .iter()
                    .map(|given| -> &(dyn ToSql + Sync) { &**given })
                    .collect();
                connection.rows(statement, &given).await
            };
            match reading.await {
                Ok(rows) => return Ok(rows),
                Err(Fault::Refused(why)) => return Err(Unreadable::Damaged(why)),
                Err(fault) if world.now().since(since) >= PATIENCE => {
                    return Err(Unreadable::Outage(fault.to_string().into()));
                }
                Err(_) => world.sleep(world.now() + PAUSE).await,
            }
        }
    }

    /// What has been read to be missing is missing: a beat has been acknowledged since, so it
    /// was not read from a server that others have gone on without.
    async fn missing(&self) -> Result<(), Unreadable> {
        let term = self.state().term;
        let given: Given = vec![Box::new(term.node), Box::new(term.epoch)];
        self.rows("select harp.beat_1($1, $2)", given).await?;
        Ok(())
    }

    pub(super) fn read<T, F>(&self, read: impl FnOnce(Postgres) -> F) -> Answer<T, Unreadable>
    where
        F: Future<Output = Result<T, Unreadable>> + Send + 'static,
    {
        Answer::read(Box::pin(read(self.clone())))
    }

    pub(super) fn read_whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| uuid(*job)).collect();
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select l.stands = 'r', l.node, e.id is not null from unnest($1::uuid[]) \
                 with ordinality u(id, n) left join harp.live l using (id) \
                 left join harp.ended e using (id) order by u.n",
                vec![Box::new(ids)],
            );
            let me = ledger.state().term.node;
            let all: Vec<Whereabouts> = rows
                .await?
                .iter()
                .map(|row| match (row.get(0), row.get::<_, Option<i32>>(1)) {
                    _ if row.get(2) => Whereabouts::Ended,
                    (Some(true), Some(node)) if node == me => Whereabouts::Here,
                    (Some(true), Some(node)) => Whereabouts::There(NodeId(node.cast_unsigned())),
                    (Some(false), _) => Whereabouts::Waits,
                    _ => Whereabouts::Nothing,
                })
                .collect();
            if all.contains(&Whereabouts::Nothing) {
                ledger.missing().await?;
            }
            Ok(all)
        })
    }

    pub(super) fn read_elsewhere(&self, jobs: &[JobId]) -> Answer<Vec<Elsewhere>, Unreadable> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| uuid(*job)).collect();
        self.read(async move |ledger| {
            let look = "select stands, node, is_ended, packets from harp.elsewhere_1($1)";
            let rows = ledger.rows(look, vec![Box::new(ids)]).await?;
            let me = ledger.state().term.node;
            let elsewhere = rows.iter().map(|row| {
                let stands = row.get::<_, Option<i8>>(0).map(i8::cast_unsigned);
                Elsewhere {
                    whereabouts: match (stands, row.get::<_, Option<i32>>(1)) {
                        _ if row.get(2) => Whereabouts::Ended,
                        (Some(b'r'), Some(node)) if node != me => {
                            Whereabouts::There(NodeId(node.cast_unsigned()))
                        }
                        (Some(b'r'), _) => Whereabouts::Here,
                        (Some(_), _) => Whereabouts::Waits,
                        (None, _) => Whereabouts::Nothing,
                    },
                    packets: number(row, 3),
                }
            });
            Ok(elsewhere.collect())
        })
    }

    pub(super) fn read_job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable> {
        self.read(async move |ledger| {
            let statement = records!("where c.id = $1");
            let rows = ledger.rows(statement, vec![Box::new(uuid(job))]).await?;
            match rows.first() {
                Some(row) => Ok(Some(Box::new(record(row)?))),
                None => ledger.missing().await.map(|()| None),
            }
        })
    }

    pub(super) fn read_end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select started, ended, packets, outcome, remarks from harp.ended where id = $1",
                vec![Box::new(uuid(job))],
            );
            let rows = rows.await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let outcome = decode_outcome(row.get(3)).ok_or_else(|| damaged(job))?;
            Ok(Some(Arc::new(EndRecord {
                started: number(row, 0),
                ended: number(row, 1).unwrap_or_default(),
                packets: number(row, 2).unwrap_or_default(),
                outcome,
                remarks: decode_remarks(row.get::<_, Option<&[u8]>>(4).unwrap_or_default()),
            })))
        })
    }

    pub(super) fn read_segments(
        &self,
        job: JobId,
        from: u64,
        most: usize,
    ) -> Answer<Vec<Segment>, Unreadable> {
        self.read(async move |ledger| {
            let first = i64::try_from(from).unwrap_or(i64::MAX);
            let rows = ledger.rows(
                "select data from harp.packets where id = $1 and first >= coalesce((select \
                 max(first) from harp.packets where id = $1 and first <= $2), 0) \
                 order by first limit $3",
                vec![Box::new(uuid(job)), Box::new(first), Box::new(SEGMENTS)],
            );
            let (mut segments, mut bytes) = (Vec::new(), 0);
            for row in rows.await? {
                let data = Bytes::copy_from_slice(row.get(0));
                let segment = Segment::decode(data).map_err(|_| damaged(job))?;
                if segment.end() <= from {
                    continue;
                }
                if bytes >= most.max(1) {
                    break;
                }
                bytes += segment.len_bytes();
                segments.push(segment.between(from, u64::MAX));
            }
            Ok(segments)
        })
    }

    pub(super) fn read_page(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        self.read(async move |ledger| {
            let (statement, edge) = match towards {
                Direction::Newer => (
                    records!("where c.id > $1 order by c.id limit $2"),
                    Uuid::nil(),
                ),
                Direction::Older => (
                    records!("where c.id < $1 order by c.id desc limit $2"),
                    Uuid::max(),
                ),
            };
            let from = match from {
                Cursor::Edge => edge,
                Cursor::Behind(job) => uuid(job),
            };
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let rows = ledger.rows(statement, vec![Box::new(from), Box::new(most)]);
            rows.await?.iter().map(record).collect()
        })
    }

    pub(super) fn read_queues(&self) -> Answer<Vec<QueueName>, Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger
                .rows("select name from harp.queue", Vec::new())
                .await?;
            let names = rows.iter().map(|row| row.get::<_, &str>(0));
            let mut names: Vec<QueueName> = names.filter_map(|name| name.parse().ok()).collect();
            names.sort_unstable();
            Ok(names)
        })
    }

    pub(super) fn read_members(&self, name: &QueueName) -> Answer<Members, Unreadable> {
        let digest = Digest::of_queue(name).to_vec();
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select id, sequence, stands = 'w' as waits from harp.live \
                 where queue = $1 and stands in ('w', 't', 'r') \
                 union all select id, sequence, false from harp.debt where queue = $1 \
                 order by sequence",
                vec![Box::new(digest)],
            );
            let rows = rows.await?;
            let of = |waits| {
                let rows = rows.iter().filter(|row| row.get::<_, bool>(2) == waits);
                rows.map(|row| job_id(row.get(0))).collect()
            };
            Ok(Members {
                running: of(false),
                waiting: of(true),
            })
        })
    }

    pub(super) fn read_pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        let pool = pool.0.as_bytes().to_vec();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select id from harp.live where pool = $1 and stands = 't' \
                 order by sequence limit $2",
                vec![Box::new(pool), Box::new(most)],
            );
            Ok(rows.await?.iter().map(|row| job_id(row.get(0))).collect())
        })
    }

    pub(super) fn read_papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable> {
        self.read(async move |ledger| {
            let rows = ledger.rows(
                "select name, revision, text from harp.paper where kind = $1 order by name",
                vec![Box::new(kind as i32)],
            );
            let papers = rows.await?;
            let papers = papers.iter().map(|row| Paper {
                id: PaperId {
                    kind,
                    name: row.get::<_, Uuid>(0).as_u128(),
                },
                revision: number(row, 1).unwrap_or_default(),
                text: Bytes::copy_from_slice(row.get(2)),
            });
            Ok(papers.collect())
        })
    }
}
