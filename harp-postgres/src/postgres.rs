//! The ledger over a database that decides.
//!
//! A verb becomes a request ([`Act`]) in a line; the writer takes many of them out for a round,
//! one statement that is one commit, and tells what has come of each: the news, and whoever
//! waits for an answer. A round whose answer is lost is sent again until there is one, since
//! requests come to the same when they are made again; then what this node holds is compared
//! with what the database has, for the turns that the lost answer would have told.
//!
//! In memory is what this node holds, and what it waits for by the clock. Which jobs wait, which is
//! next and what a key stands for is in the database alone.

mod beat;
mod due;
mod finish;
mod held;
mod lists;
mod nodes;
mod open;
mod prune;
mod read;
mod tend;
mod term;
mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::room::Memory;
use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::lineup::queue::Members;
use harp_jobs::record::{EndRecord, JobRecord};
use harp_jobs::segment::Segment;
use harp_jobs::world::World;
use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::due::Times;
use self::held::Held;
use self::nodes::Nodes;
use self::read::Readers;
use self::term::Term;
use crate::act::Act;
use crate::connection::Server;
use crate::lanes::{Key, Reach, Waiting};

pub use self::nodes::Node;
pub use self::open::NotOpened;

/// How a node keeps its jobs in a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name, unique among those of the database.
    pub node: String,
    /// How many members of the database must have a change before it is acknowledged; 1 is the
    /// one that is asked alone.
    pub copies: u32,
    /// How often it says that it is there.
    pub beat: Duration,
}

/// The ledger of a node. Clones are the same ledger.
#[derive(Clone)]
pub struct Postgres(Arc<Shared>);

struct Shared {
    server: Server,
    options: Options,
    world: Arc<dyn World>,
    state: Mutex<State>,
    readers: Readers,
    memory: Arc<Memory>,
    /// Whoever removes jobs is the only one.
    pruning: tokio::sync::Mutex<()>,
    /// Told when there is something to write, or the writer is to give up or end.
    work: Notify,
    /// Told when something may be due before all others, and at the end.
    timer: Notify,
    /// Told when nothing is waited for any more, and when the writer has ended.
    gives_up: Notify,
    outage: watch::Sender<Option<Arc<str>>>,
    offers: watch::Sender<u64>,
}

struct State {
    term: Term,
    waiting: VecDeque<Waiting>,
    held: Held,
    times: Times,
    /// Jobs that have not ended, and calls that may become such.
    live: Live,
    nodes: Nodes,
    ended: u64,
    bytes: u64,
    /// Connections that are in trouble.
    troubled: BTreeSet<usize>,
    /// Until somebody listens.
    news: Option<mpsc::UnboundedReceiver<News>>,
    /// `None` once the ledger is closed.
    tells: Option<mpsc::UnboundedSender<News>>,
    closing: Vec<oneshot::Sender<Result<(), Lost>>>,
    /// What is held is to be compared with what the database has.
    in_doubt: bool,
    /// The term is over, as a beat has been told.
    is_fenced: bool,
    /// There may be something that nobody sees to, and what there is is to be counted.
    is_to_tend: bool,
    takes_nothing: bool,
    waits_for_nothing: bool,
    is_closed: bool,
    /// The writer has ended.
    is_over: bool,
}

/// How many jobs have not ended. What other nodes change is seen when they are counted again.
#[derive(Debug, Clone, Copy, Default)]
struct Live {
    all: usize,
    /// Those that were handed in at this node, as far as is known.
    of_here: usize,
}

impl Live {
    fn came(&mut self, jobs: usize) {
        self.all += jobs;
        self.of_here += jobs;
    }

    fn went(&mut self, jobs: usize) {
        self.all = self.all.saturating_sub(jobs);
        self.of_here = self.of_here.saturating_sub(jobs);
    }
}

impl Postgres {
    fn state(&self) -> MutexGuard<'_, State> {
        // A std mutex: held for a few map operations, never across an await.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall(&self) -> u64 {
        self.0.world.wall()
    }

    fn number(&self) -> u128 {
        self.0.world.chance()
    }

    /// Puts a request in the line.
    fn push<T, E: Gone>(
        &self,
        state: &mut State,
        reach: Reach,
        make: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Act,
    ) -> Answer<T, E> {
        let is_lost = state.waits_for_nothing && !state.troubled.is_empty();
        if state.is_closed || is_lost {
            return Answer::now(Err(E::gone()));
        }
        let (answer, receipt) = oneshot::channel();
        state.wait(make(answer), reach);
        self.0.work.notify_one();
        Answer::later(receipt)
    }

    /// A request of whoever holds a job.
    fn write<T>(
        &self,
        hold: Hold,
        make: impl FnOnce(oneshot::Sender<Result<T, Lost>>) -> Act,
    ) -> Answer<T, Lost> {
        let mut state = self.state();
        let reach = state.held.reach(hold.job);
        self.push(&mut state, reach, make)
    }

    fn take_in(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        let mut state = self.state();
        if state.takes_nothing || state.is_closed {
            return Answer::now(Err(NotAccepted::Closed));
        }
        let full = jobs.iter().zip(state.live.of_here..);
        let full = full
            .filter(|(job, live)| *live >= job.room.live_jobs)
            .map(|(job, _)| Full::LiveJobs(job.room.live_jobs))
            .next();
        if let Some(full) = full {
            return Answer::now(Err(NotAccepted::Full(full)));
        }
        if let Some(why) = self.0.outage.borrow().clone() {
            let may_exist = false;
            return Answer::now(Err(NotAccepted::Storage { may_exist, why }));
        }
        if jobs.is_empty() {
            return Answer::now(Ok(Vec::new()));
        }
        state.live.came(jobs.len());
        let (id, at, now) = (self.number(), self.wall(), self.0.world.now());
        let reach = Reach::Keys(held::keys_of_new(&jobs));
        self.push(&mut state, reach, |answer| Act::Accept {
            id,
            at,
            now,
            jobs,
            answer: Some(answer),
        })
    }

    fn keep_packets(&self, hold: Hold, mut packets: Vec<Segment>) -> Appending {
        let size = packets.iter().map(Segment::len_bytes).sum();
        let (taken, waits) = self.0.memory.take(size);
        let mut state = self.state();
        if let Err(why) = state.held.follow(hold, &mut packets) {
            return Appending::taken(Answer::now(Err(Lost::Refused(why.into()))));
        }
        let reach = state.held.reach(hold.job);
        let stored = self.push(&mut state, reach, |answer| Act::Append {
            hold,
            packets,
            _taken: taken,
            answer,
        });
        match waits {
            None => Appending::taken(stored),
            Some(waits) => Appending::waiting(waits, stored),
        }
    }
}

impl State {
    fn wait(&mut self, act: Act, reach: Reach) {
        self.waiting.push_back(Waiting {
            act,
            reach,
            alone: false,
        });
    }

    fn tell(&self, news: News) {
        if let Some(tells) = &self.tells {
            // One who has stopped listening has stopped altogether.
            let _ = tells.send(news);
        }
    }

    fn changed(&self, job: JobId, what: What, at: u64) {
        self.tell(News::Change(Change { job, what, at }));
    }
}

impl Ledger for Postgres {
    fn accept(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        self.take_in(jobs)
    }

    fn started(&self, hold: Hold, token: Token) -> Answer<u64, Lost> {
        let at = self.wall();
        self.write(hold, |answer| Act::Started {
            hold,
            token,
            at,
            answer,
        })
    }

    fn note(&self, hold: Hold, token: Token) -> Answer<(), Lost> {
        self.write(hold, |answer| Act::Note {
            hold,
            token,
            answer,
        })
    }

    fn append(&self, hold: Hold, packets: Vec<Segment>) -> Appending {
        self.keep_packets(hold, packets)
    }

    fn close_job(&self, hold: Hold, end: End) -> Answer<Closed, Lost> {
        let (id, at) = (self.number(), self.wall());
        self.write(hold, |answer| Act::Close {
            id,
            hold,
            end,
            at,
            answer,
        })
    }

    fn settle(&self, hold: Hold) -> Answer<(), Lost> {
        self.write(hold, |answer| Act::Settle { hold, answer })
    }

    fn withdraw(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost> {
        let (id, at) = (self.number(), self.wall());
        let mut state = self.state();
        self.push(&mut state, Reach::Everything, |answer| Act::Withdraw {
            id,
            which,
            is_first: false,
            outcome,
            at,
            answer: Some(answer),
        })
    }

    fn claim(&self, pool: PoolId, pick: Pick, token: Token) -> Answer<Option<JobId>, Lost> {
        let (id, at) = (self.number(), self.wall());
        let mut state = self.state();
        let reach = Reach::Keys(vec![Key::Pool(pool.clone())]);
        self.push(&mut state, reach, |answer| Act::Claim {
            id,
            pool,
            pick,
            token,
            at,
            answer,
        })
    }

    fn wish(&self, job: JobId) -> Answer<bool, Lost> {
        let mut state = self.state();
        if let Some(hold) = state.held.running(job) {
            state.tell(News::Wish(hold));
            return Answer::now(Ok(true));
        }
        let reach = state.held.reach(job);
        self.push(&mut state, reach, |answer| Act::Wish { job, answer })
    }

    fn paper(&self, edit: PaperEdit) -> Answer<Edited, Lost> {
        // What PostgreSQL takes in one row, with what comes beside it.
        const LONGEST: usize = Paper::LONGEST - 1024 * 1024;
        if edit.text.as_ref().is_some_and(|text| text.len() > LONGEST) {
            let why = format!("a paper has {LONGEST} bytes at most");
            return Answer::now(Err(Lost::Refused(why.into())));
        }
        let mut state = self.state();
        let reach = Reach::Keys(vec![Key::Paper(edit.id)]);
        self.push(&mut state, reach, |answer| Act::Paper { edit, answer })
    }

    fn prune(&self, keep: Keep) -> Answer<Pruned, Lost> {
        self.remove(keep)
    }

    fn whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        self.read_whereabouts(jobs)
    }

    fn elsewhere(&self, jobs: &[JobId]) -> Option<Answer<Vec<Elsewhere>, Unreadable>> {
        Some(self.read_elsewhere(jobs))
    }

    fn job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable> {
        self.read_job(job)
    }

    fn end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable> {
        self.read_end(job)
    }

    fn segments(&self, job: JobId, from: u64, most: usize) -> Answer<Vec<Segment>, Unreadable> {
        self.read_segments(job, from, most)
    }

    fn walk(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        self.read_page(from, towards, most)
    }

    fn queues(&self) -> Answer<Vec<QueueName>, Unreadable> {
        self.read_queues()
    }

    fn queue_jobs(&self, name: &QueueName) -> Answer<Members, Unreadable> {
        self.read_members(name)
    }

    fn pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        self.read_pool(pool, most)
    }

    fn offers(&self) -> watch::Receiver<u64> {
        self.0.offers.subscribe()
    }

    fn papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable> {
        self.read_papers(kind)
    }

    fn news(&self) -> Option<mpsc::UnboundedReceiver<News>> {
        self.state().news.take()
    }

    fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.outage.subscribe()
    }

    fn contents(&self) -> Contents {
        let state = self.state();
        Contents {
            live: state.live.all as u64,
            ended: state.ended,
            bytes: state.bytes,
        }
    }

    fn drain(&self, how: Drain) {
        let mut state = self.state();
        match how {
            Drain::NoTurns => state.takes_nothing = true,
            Drain::WaitForNothing => state.waits_for_nothing = true,
        }
        drop(state);
        self.0.work.notify_one();
        self.0.gives_up.notify_waiters();
    }

    fn shut(&self) -> Answer<(), Lost> {
        let mut state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        let (answer, receipt) = oneshot::channel();
        state.closing.push(answer);
        (state.takes_nothing, state.is_closed) = (true, true);
        drop(state);
        self.0.work.notify_one();
        self.0.timer.notify_one();
        Answer::later(receipt)
    }
}
