//! The ledger that the configuration names: in a directory of this machine, or in a database.

use std::collections::BTreeSet;
use std::sync::Arc;

use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::lineup::queue::{Members, Place, QueueTally, Spot};
use harp_jobs::lineup::tally::Tally;
use harp_jobs::record::{EndRecord, JobRecord, LiveRecord};
use harp_jobs::segment::Segment;
use harp_jobs::world::World;
use harp_ledger::Local;
use harp_ledger::store::{Ahead, Keyed, Store, StoreCounts, StoreError, StoreOptions};
use harp_ledger::transfer::{Moved, TransferError};
#[cfg(feature = "cluster")]
use harp_postgres::Postgres;
use harp_proto::JobId;
use harp_values::{Outcome, QueueName};
use tokio::sync::{mpsc, watch};

use crate::cluster::Node;
use crate::config::Config;

/// A ledger of either kind. Clones are the same ledger.
#[derive(Clone)]
pub enum AnyLedger {
    /// In a directory of this machine.
    Local(Local),
    /// In a database.
    #[cfg(feature = "cluster")]
    Postgres(Postgres),
}

/// A ledger that has just been opened.
pub struct Opened {
    /// It.
    pub ledger: AnyLedger,
    /// The jobs that had not ended before, in the order of their submission.
    pub live: Vec<(JobId, LiveRecord)>,
    /// Those of them that another dispatcher holds.
    pub elsewhere: BTreeSet<JobId>,
    /// How far the wall clock is ahead of what it showed when the ledger was closed.
    pub ahead: Ahead,
}

/// Opens the ledger that the configuration names.
///
/// # Errors
///
/// If it cannot be read or written; nobody must be let in then.
pub async fn open(config: &Config, world: &Arc<dyn World>) -> anyhow::Result<Opened> {
    #[cfg(feature = "cluster")]
    if let Some(cluster) = &config.cluster {
        // What else belongs to this machine is kept there, if it is named.
        if let Some(directory) = config.stream_directory.clone() {
            let making = move || harp_service::private_file::create_directory(&directory);
            tokio::task::spawn_blocking(making).await??;
        }
        let ledger = crate::cluster::open(cluster, Arc::clone(world)).await?;
        let live = ledger.live().await?;
        let elsewhere = live.iter().filter(|(.., is_elsewhere)| *is_elsewhere);
        let elsewhere = elsewhere.map(|(job, ..)| *job).collect();
        return Ok(Opened {
            live: live.into_iter().map(|(job, live, _)| (job, live)).collect(),
            elsewhere,
            ledger: AnyLedger::Postgres(ledger),
            // No age is taken from a clock of this machine that could have been set meanwhile.
            ahead: Ahead {
                by: std::time::Duration::ZERO,
                is_certain: false,
            },
        });
    }
    let directory = config.jobs_directory()?.to_owned();
    let options = StoreOptions {
        cache_size: config.cache_size,
    };
    let opening = move || Store::open(&directory, options);
    let store = tokio::task::spawn_blocking(opening).await??;
    Ok(Opened::over(store, world, config.resume_queued).await?)
}

impl Opened {
    /// Opens the ledger that a store keeps, as [`Local::open`] does.
    ///
    /// # Errors
    ///
    /// If the store cannot be read or written.
    pub async fn over(
        store: Store,
        world: &Arc<dyn World>,
        resume_queued: bool,
    ) -> Result<Opened, StoreError> {
        let (live, ahead) = (store.live().await?, store.clock_ahead());
        let ledger = Local::open(store, Arc::clone(world), resume_queued).await?;
        Ok(Opened {
            ledger: AnyLedger::Local(ledger),
            live,
            elsewhere: BTreeSet::new(),
            ahead,
        })
    }
}

macro_rules! either {
    ($self:ident, $ledger:ident => $asked:expr) => {
        match $self {
            AnyLedger::Local($ledger) => $asked,
            #[cfg(feature = "cluster")]
            AnyLedger::Postgres($ledger) => $asked,
        }
    };
}

/// What only the ledger of one machine has is nothing here.
macro_rules! of_local {
    ($self:ident, $ledger:ident => $asked:expr, $nothing:expr) => {
        match $self {
            AnyLedger::Local($ledger) => $asked,
            #[cfg(feature = "cluster")]
            AnyLedger::Postgres(_) => $nothing,
        }
    };
}

impl AnyLedger {
    /// All jobs that have not ended, in the order of their submission.
    pub fn live_jobs(&self) -> Answer<Vec<JobId>, Unreadable> {
        match self {
            AnyLedger::Local(ledger) => Answer::now(Ok(ledger.live_jobs())),
            #[cfg(feature = "cluster")]
            AnyLedger::Postgres(ledger) => ledger.live_jobs(),
        }
    }

    /// Where a job stands in its queue; `None` if it is in none, or waits for something else
    /// first.
    pub fn place(&self, job: JobId) -> Answer<Option<Place>, Unreadable> {
        either!(self, ledger => ledger.place(job))
    }

    /// How many jobs there are of each kind.
    pub fn tally(&self) -> Answer<Tally, Unreadable> {
        either!(self, ledger => ledger.tally())
    }

    /// Jobs that hold places in a queue, by id, at most so many; none if there is no such queue.
    pub fn holders(&self, name: &QueueName, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        either!(self, ledger => ledger.holders(name, most))
    }

    /// How the jobs of a queue stand; `None` if it has none.
    pub fn queue_tally(&self, name: &QueueName) -> Answer<Option<QueueTally>, Unreadable> {
        either!(self, ledger => ledger.queue_tally(name))
    }

    /// Jobs of a queue behind a spot, in their order, at most so many; held ones stand among
    /// those that wait.
    pub fn queue_page(
        &self,
        name: &QueueName,
        after: Option<Spot>,
        most: usize,
    ) -> Answer<Vec<(JobId, Spot)>, Unreadable> {
        either!(self, ledger => ledger.queue_page(name, after, most))
    }

    /// Hands all jobs on as lines of an export, as [`Local::export`] does.
    ///
    /// # Errors
    ///
    /// [`TransferError`]; always, if they are in a database.
    pub async fn export(
        &self,
        out: mpsc::Sender<Vec<u8>>,
    ) -> Result<(Moved, Vec<String>), TransferError> {
        of_local!(self, ledger => ledger.export(out).await, {
            drop(out);
            let why = "the jobs are in a database, which has tools of its own for copies";
            Err(std::io::Error::new(std::io::ErrorKind::Unsupported, why).into())
        })
    }

    /// The jobs that have this key, as far as is known at once.
    pub fn keyed(&self, key: &str) -> Answer<Keyed, Unreadable> {
        of_local!(self, ledger => ledger.keyed(key), {
            let _ = key;
            Answer::now(Ok(Keyed {
                jobs: Vec::new(),
                all_behind: JobId::from_bytes([0xff; 16]),
            }))
        })
    }

    /// Ended jobs by their ids, behind this one, at most so many.
    pub fn ended_page(
        &self,
        after: Option<JobId>,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        either!(self, ledger => ledger.ended_page(after, most))
    }

    /// How long what is kept of a job's call and of its end is, in bytes; 0 for what is not
    /// there.
    pub fn lengths(&self, job: JobId) -> Answer<(usize, usize), Unreadable> {
        either!(self, ledger => ledger.lengths(job))
    }

    /// The dispatchers that share the ledger, this one included; none if it is in a directory.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Unreadable> {
        match self {
            AnyLedger::Local(_) => Ok(Vec::new()),
            #[cfg(feature = "cluster")]
            AnyLedger::Postgres(ledger) => {
                let nodes = ledger.nodes().await?;
                Ok(nodes.into_iter().map(Node::from).collect())
            }
        }
    }

    /// Whether this dispatcher is the one that removes ended jobs that are not to be kept.
    #[must_use]
    pub fn keeps_house(&self) -> bool {
        match self {
            AnyLedger::Local(_) => true,
            #[cfg(feature = "cluster")]
            AnyLedger::Postgres(ledger) => ledger.keeps_house(),
        }
    }

    /// What the store of this machine has done since it was opened.
    #[must_use]
    pub fn pulse(&self) -> StoreCounts {
        of_local!(self, ledger => ledger.pulse(), StoreCounts::default())
    }

    /// Lets the held jobs wait in their queues again, as [`Local::resume_held`] does.
    ///
    /// # Errors
    ///
    /// If that cannot be recorded.
    pub async fn resume_held(&self) -> Result<usize, StoreError> {
        of_local!(self, ledger => ledger.resume_held().await, Ok(0))
    }

    /// How many jobs are held, which came with a copy of a store.
    #[must_use]
    pub fn held_count(&self) -> usize {
        of_local!(self, ledger => ledger.held_count(), 0)
    }

    /// Whether the job is held.
    #[must_use]
    pub fn is_held(&self, job: JobId) -> bool {
        of_local!(self, ledger => ledger.is_held(job), {
            let _ = job;
            false
        })
    }

    /// The held jobs of a queue in their order.
    #[must_use]
    pub fn held_members(&self, name: &QueueName) -> Vec<JobId> {
        of_local!(self, ledger => ledger.held_members(name), {
            let _ = name;
            Vec::new()
        })
    }
}

impl Ledger for AnyLedger {
    fn accept(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        either!(self, ledger => ledger.accept(jobs))
    }

    fn started(&self, hold: Hold, token: Token) -> Answer<u64, Lost> {
        either!(self, ledger => ledger.started(hold, token))
    }

    fn note(&self, hold: Hold, token: Token) -> Answer<(), Lost> {
        either!(self, ledger => ledger.note(hold, token))
    }

    fn append(&self, hold: Hold, packets: Vec<Segment>) -> Appending {
        either!(self, ledger => ledger.append(hold, packets))
    }

    fn close_job(&self, hold: Hold, end: End) -> Answer<Closed, Lost> {
        either!(self, ledger => ledger.close_job(hold, end))
    }

    fn settle(&self, hold: Hold) -> Answer<(), Lost> {
        either!(self, ledger => ledger.settle(hold))
    }

    fn withdraw(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost> {
        either!(self, ledger => ledger.withdraw(which, outcome))
    }

    fn claim(&self, pool: PoolId, pick: Pick, token: Token) -> Answer<Option<JobId>, Lost> {
        either!(self, ledger => ledger.claim(pool, pick, token))
    }

    fn wish(&self, job: JobId) -> Answer<bool, Lost> {
        either!(self, ledger => ledger.wish(job))
    }

    fn paper(&self, edit: PaperEdit) -> Answer<Edited, Lost> {
        either!(self, ledger => ledger.paper(edit))
    }

    fn prune(&self, keep: Keep) -> Answer<Pruned, Lost> {
        either!(self, ledger => ledger.prune(keep))
    }

    fn whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        either!(self, ledger => ledger.whereabouts(jobs))
    }

    fn elsewhere(&self, jobs: &[JobId]) -> Option<Answer<Vec<Elsewhere>, Unreadable>> {
        either!(self, ledger => ledger.elsewhere(jobs))
    }

    fn job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable> {
        either!(self, ledger => ledger.job(job))
    }

    fn end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable> {
        either!(self, ledger => ledger.end(job))
    }

    fn segments(&self, job: JobId, from: u64, most: usize) -> Answer<Vec<Segment>, Unreadable> {
        either!(self, ledger => ledger.segments(job, from, most))
    }

    fn walk(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        either!(self, ledger => ledger.walk(from, towards, most))
    }

    fn queues(&self) -> Answer<Vec<QueueName>, Unreadable> {
        either!(self, ledger => ledger.queues())
    }

    fn queue_jobs(&self, name: &QueueName) -> Answer<Members, Unreadable> {
        either!(self, ledger => ledger.queue_jobs(name))
    }

    fn pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        either!(self, ledger => ledger.pool(pool, most))
    }

    fn offers(&self) -> watch::Receiver<u64> {
        either!(self, ledger => ledger.offers())
    }

    fn papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable> {
        either!(self, ledger => ledger.papers(kind))
    }

    fn news(&self) -> Option<mpsc::UnboundedReceiver<News>> {
        either!(self, ledger => ledger.news())
    }

    fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        either!(self, ledger => ledger.outage())
    }

    fn contents(&self) -> Contents {
        either!(self, ledger => ledger.contents())
    }

    fn drain(&self, how: Drain) {
        either!(self, ledger => ledger.drain(how));
    }

    fn shut(&self) -> Answer<(), Lost> {
        either!(self, ledger => ledger.shut())
    }
}
