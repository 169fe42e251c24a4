//! The ledger: what is decided and kept of jobs. The door to it, and what passes through.
//!
//! The ledger decides who is next and whom a key stands for, and keeps what was decided. A
//! job that has not started is changed by the ledger alone. From its start on it belongs to
//! whoever has its [`Hold`]; anybody else leaves a wish.
//!
//! | verb | where the job stands | where it stands then |
//! | --- | --- | --- |
//! | [`accept`](Ledger::accept) | there is none | it waits, or has its turn, and may have started in the same step |
//! | [`withdraw`](Ledger::withdraw), or its time to start is over | it waits or has its turn | it has ended |
//! | [`started`](Ledger::started), [`claim`](Ledger::claim) | it has its turn | it runs |
//! | [`close_job`](Ledger::close_job) | it has its turn, or runs | it has ended, or waits for another attempt |
//! | [`settle`](Ledger::settle) | it has ended and owes | its places are free |
//! | [`prune`](Ledger::prune) | it has ended and owes nothing | there is none |
//!
//! Every other verb in every other place changes nothing and says where the job stands.

mod answer;
mod news;
mod paper;
mod pruning;
pub mod room;

use std::sync::Arc;
use std::time::Duration;

use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::{mpsc, watch};

pub use self::answer::{Answer, Appending, Gone};
pub use self::news::{Change, News, Start, Turn, What};
pub use self::paper::{Edited, Paper, PaperEdit, PaperId, PaperKind};
pub use self::pruning::Old;
pub use crate::hold::{Hold, Token};
use crate::lineup::pool::{Pick, PoolId};
use crate::lineup::queue::Members;
use crate::record::{CallRecord, EndRecord, JobRecord, Remarks};
use crate::segment::Segment;
use crate::transport::Minted;

/// Where jobs are decided about and kept.
///
/// A write is durable when it is answered, and idempotent: made again it changes nothing
/// and gives the same answer. For one job writes are made in the order of the calls. What
/// was asked for is done whether or not anybody waits for the answer. While it cannot write
/// the ledger waits, but for [`Ledger::accept`].
pub trait Ledger: Send + Sync {
    /// Takes jobs in, all of them or none. Those with a key that stands for a job already
    /// are answered with that one. Does not wait while the ledger cannot write.
    fn accept(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted>;

    /// Records that a job that has its turn starts, and the transport's token with it.
    /// Answered with the time of the start, in milliseconds since 1970. With another token
    /// than before it is a new start in place of the one on record, of which nothing has
    /// come; with the same one the first time stays.
    fn started(&self, hold: Hold, token: Token) -> Answer<u64, Lost>;

    /// Records another token for a job that runs.
    fn note(&self, hold: Hold, token: Token) -> Answer<(), Lost>;

    /// Adds packets to a job that runs, behind those that it has. Those that it has already
    /// are passed over.
    fn append(&self, hold: Hold, packets: Vec<Segment>) -> Appending;

    /// Ends a job, or lets it wait for another attempt; what frees a place in a queue gives
    /// it to who is next. If the job has ended before, that end is the answer.
    fn close_job(&self, hold: Hold, end: End) -> Answer<Closed, Lost>;

    /// What an attempt owed at its end is paid: the places that were kept for it are free.
    fn settle(&self, hold: Hold) -> Answer<(), Lost>;

    /// Ends jobs that have not started, in one step: none of them starts in between.
    /// Answered with those that were.
    fn withdraw(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost>;

    /// A worker takes a job out of a pool: it starts with this token. Its turn comes as
    /// news. `None` if there is no such job any more.
    fn claim(&self, pool: PoolId, pick: Pick, token: Token) -> Answer<Option<JobId>, Lost>;

    /// Leaves the wish that a job be cancelled, for a holder elsewhere. False if nobody
    /// holds it.
    fn wish(&self, job: JobId) -> Answer<bool, Lost>;

    /// Writes, replaces or removes a paper, if the one that is there is the one that is
    /// meant.
    fn paper(&self, edit: PaperEdit) -> Answer<Edited, Lost>;

    /// Removes ended jobs that are not to be kept, with all that belongs to them, a bounded
    /// piece at a time, so that other writes go on in between: to be asked again as long as
    /// there is more. Each job that is gone is told as news.
    fn prune(&self, keep: Keep) -> Answer<Pruned, Lost>;

    /// Where jobs stand, in the order of the question.
    fn whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable>;

    /// How far jobs are that this process does not hold, in the order of the question: others
    /// change them, and no news tells of that. `None` where nobody else does.
    fn elsewhere(&self, jobs: &[JobId]) -> Option<Answer<Vec<Elsewhere>, Unreadable>> {
        let _ = jobs;
        None
    }

    /// A job without its outcome and packets; `None` if there is none.
    fn job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable>;

    /// How a job has ended; `None` if it has not, or there is none.
    fn end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable>;

    /// A job's packets from a number on, up to about `most` bytes of them but at least one;
    /// none if there are no more.
    fn segments(&self, job: JobId, from: u64, most: usize) -> Answer<Vec<Segment>, Unreadable>;

    /// Jobs, live and ended, by their ids, up to `most` of them. The last one is where to
    /// go on from.
    fn walk(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable>;

    /// The names of all queues that have a job, sorted.
    fn queues(&self) -> Answer<Vec<QueueName>, Unreadable>;

    /// The jobs of a queue; none if there is no such queue.
    fn queue_jobs(&self, name: &QueueName) -> Answer<Members, Unreadable>;

    /// The jobs of a pool in their order, at most so many.
    fn pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable>;

    /// How often jobs have come into pools: whoever waits for one looks again when that has
    /// changed.
    fn offers(&self) -> watch::Receiver<u64>;

    /// All papers of a kind, by their names. Those that cannot be read are left out.
    fn papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable>;

    /// What has become durable, turns and wishes: for one job in the order of the writes.
    /// Taken once, by the loop that hands them on; `None` from then on.
    fn news(&self) -> Option<mpsc::UnboundedReceiver<News>>;

    /// Why nothing can be written at present, if so.
    fn outage(&self) -> watch::Receiver<Option<Arc<str>>>;

    /// How much there is.
    fn contents(&self) -> Contents;

    /// What a stop does not wait for any more.
    fn drain(&self, how: Drain);

    /// Closes the ledger. Whatever is asked afterwards is answered with `Closed`.
    fn shut(&self) -> Answer<(), Lost>;
}

/// A job as it is handed in.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// The call. The concurrency of its queue is what it asks for.
    pub call: CallRecord,
    /// Seconds: its key stands for a job that is not older, or has not failed. `None`: for
    /// any job that is stored.
    pub unless_since: Option<u64>,
    /// Seconds after the submission by which it must have started.
    pub start_by: Option<u64>,
    /// What the transport gives along for its start.
    pub minted: Minted,
    /// How much there may be.
    pub room: Room,
}

/// How much there may be when a job comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Jobs that have not ended, this one included.
    pub live_jobs: usize,
    /// Jobs that wait in its queue, this one included.
    pub queue_length: usize,
}

/// A job that was handed in and exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is new.
    New(JobId),
    /// This one has its key, and it was not made.
    Before(JobId),
}

/// Why jobs were not taken in: none of them was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The key stands for another call.
    #[error("stands for a call to another host, of another procedure or with other arguments")]
    KeyTaken,
    /// There are as many as there may be.
    #[error("{0}")]
    Full(Full),
    /// They could not be written.
    #[error("{why}")]
    Storage {
        /// Whether they may exist all the same.
        may_exist: bool,
        /// What went wrong.
        why: Arc<str>,
    },
    /// No jobs are taken any more.
    #[error("the ledger is closed")]
    Closed,
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// So many jobs have not ended.
    #[error("{0} jobs are queued or running, which is the limit (max_live_jobs)")]
    LiveJobs(usize),
    /// So many jobs wait in the queue.
    #[error("{0} jobs wait in this queue, which is the limit (max_queue_length)")]
    QueueLength(usize),
}

/// Why a write of a job was not made, and never will be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The job has ended before its start, with this.
    #[error("the job has ended before its start")]
    Taken(Arc<EndRecord>),
    /// The job is not this holder's any more: somebody else holds it, or it has ended and is
    /// gone.
    #[error("somebody else has the job, or it is gone")]
    Fenced,
    /// It cannot be kept although the ledger works: what is there already is damaged.
    #[error("{0}")]
    Refused(Arc<str>),
    /// There is no ledger any more.
    #[error("the ledger is closed")]
    Closed,
}

/// Why something cannot be read at present.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// An outage of more than a few seconds.
    #[error("{0}")]
    Outage(Arc<str>),
    /// What is there is damaged.
    #[error("{0}")]
    Damaged(Arc<str>),
    /// There is no ledger any more.
    #[error("the ledger is closed")]
    Closed,
}

/// The end of an attempt, as it is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What becomes of the job.
    pub then: Then,
    /// How many packets it has.
    pub packets: u64,
    /// What is still owed afterwards; its places are kept until that is paid.
    pub debt: Option<Token>,
    /// What is to be on record beside the outcome of a job that ends.
    pub remarks: Remarks,
}

/// What becomes of a job when an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It has ended with this.
    End(Outcome),
    /// It waits for another attempt.
    Again {
        /// How this attempt ended.
        outcome: Outcome,
        /// How long it waits at least.
        after: Duration,
    },
}

/// What the end of an attempt has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// How the job has ended, now or before; `None` if it waits for another attempt.
    pub end: Option<Arc<EndRecord>>,
    /// Whether something is owed.
    pub debt: bool,
}

/// Jobs that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These.
    Jobs(Vec<JobId>),
    /// All of a queue.
    Queue(QueueName),
    /// All that belong in a pool, and those that wait in queues before.
    Pool(PoolId),
}

/// Where a job stands, as far as that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whereabouts {
    /// There is none.
    Nothing,
    /// It waits, or has its turn and has not started; nobody holds it.
    Waits,
    /// It runs, held here.
    Here,
    /// It runs, held by another node.
    There(NodeId),
    /// It has ended.
    Ended,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where it stands.
    pub whereabouts: Whereabouts,
    /// How many packets it has, if it runs.
    pub packets: Option<u64>,
}

/// The number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Which ended jobs are kept. Those that ended first go first, as long as any limit is
/// exceeded. Live jobs, and those that owe something, stay whatever the limits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Those that ended less long ago than this; older ones go.
    pub max_age: Option<Duration>,
    /// How many may go by age whose age only the wall clock says, since the machine has been
    /// started after their ends.
    pub by_wall_clock: u64,
    /// At most so many ended jobs.
    pub jobs: Option<u64>,
    /// As many as fit: so much may be kept in all ([`Contents::bytes`]).
    pub bytes: Option<u64>,
}

/// Result of one piece of pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// So many jobs are gone.
    pub jobs: u64,
    /// So many of them by an age that only the wall clock says.
    pub by_wall_clock: u64,
    /// Others are too old by that clock, and stay because of [`Keep::by_wall_clock`].
    pub withheld: bool,
    /// There may be more to do: ask again.
    pub more: bool,
}

/// Where a walk goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// From the end that the direction leads away from.
    Edge,
    /// From behind this job.
    Behind(JobId),
}

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest on.
    Newer,
    /// From the newest on.
    Older,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Jobs that have not ended.
    pub live: u64,
    /// Jobs that have ended.
    pub ended: u64,
    /// Bytes that are kept.
    pub bytes: u64,
}

/// What a stop asks of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// No job gets its turn any more, and none is taken in.
    NoTurns,
    /// Writes that wait for the end of an outage are answered with `Closed`.
    WaitForNothing,
}
