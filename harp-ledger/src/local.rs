//! The embedded ledger: the lineup of this process behind one mutex, and the store that keeps
//! what was decided.
//!
//! A verb decides under the mutex and hands what it has decided to the store's writer in the
//! same step, so the order of the decisions is that of the writes. The writer makes many of
//! them in a round; when the round is on disk it does what follows on each, again under the
//! mutex: the lineup moves on, the news are told, the receipt is answered. So the news of a
//! job come in the order in which its changes became durable, and nobody is told of what is
//! not. Through an outage the writer keeps what was decided, and makes it afterwards.
//!
//! A job that only waits is an entry of the lineup and a record.

mod accept;
mod attempts;
mod due;
mod held;
mod lists;
mod open;
mod papers;
mod read;
mod removal;
mod resume;
#[cfg(test)]
mod tests;
mod withdraw;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_jobs::ledger::room::Memory;
use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::lineup::queue::Members;
use harp_jobs::lineup::{Lineup, Stands};
use harp_jobs::record::{CallRecord, EndRecord, JobRecord};
use harp_jobs::segment::Segment;
use harp_jobs::world::{Phase, World};
use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::held::HeldJobs;
use self::read::unreadable;
use crate::store::{Store, StoreError};

/// The ledger of one dispatcher in the store of its machine. Clones are the same ledger.
#[derive(Clone)]
pub struct Local(Arc<Shared>);

struct Shared {
    store: Store,
    world: Arc<dyn World>,
    /// The number of this start, which every hold has.
    owner: u32,
    state: Mutex<State>,
    /// Told when a job may be due before all others, and at the end.
    timer: Notify,
    memory: Arc<Memory>,
    /// How often jobs have come into pools.
    offers: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    lineup: Lineup,
    /// Jobs that wait for a word of the operator, and are in no queue.
    held: HeldJobs,
    /// Jobs that are tried again.
    again: HashMap<JobId, Again>,
    /// Jobs that have been withdrawn and whose ends are not on disk.
    leaving: HashSet<JobId>,
    /// The papers that are on disk.
    papers: BTreeMap<PaperId, Paper>,
    /// Until somebody listens.
    news: Option<mpsc::UnboundedReceiver<News>>,
    /// `None` once the ledger is closed.
    tells: Option<mpsc::UnboundedSender<News>>,
    takes_nothing: bool,
    is_closed: bool,
}

/// What is known of a job beside its first attempt.
#[derive(Debug, Clone, Copy)]
struct Again {
    /// The number of the attempt that runs or comes next.
    attempt: u32,
    /// How many packets the job had at its beginning.
    packets: u64,
}

impl Local {
    fn state(&self) -> MutexGuard<'_, State> {
        // A std mutex: held for a few map operations, never across an await.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receipt, and whoever answers it.
    fn receipt<T, E: Gone>() -> (oneshot::Sender<Result<T, E>>, Answer<T, E>) {
        let (answer, receipt) = oneshot::channel();
        (answer, Answer::later(receipt))
    }

    /// What the lineup says: all that it shows is on disk.
    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Answer<T, Unreadable> {
        let state = self.state();
        Answer::now(if state.is_closed {
            Err(Unreadable::Closed)
        } else {
            Ok(look(&state))
        })
    }

    /// Tells of the jobs that have their turn now, and of those that workers can fetch.
    fn give(&self, state: &State, turns: Vec<JobId>) {
        let offers = state.lineup.offers();
        let told = &self.0.offers;
        told.send_if_modified(|told| std::mem::replace(told, offers) != offers);
        for job in turns {
            self.tell_turn(state, job, Start::ToRecord, self.call_of(job));
        }
    }

    fn tell_turn(
        &self,
        state: &State,
        job: JobId,
        start: Start,
        call: Answer<Option<Box<CallRecord>>, Unreadable>,
    ) {
        let packets = state.again.get(&job).map_or(0, |again| again.packets);
        state.tell(News::Turn(Turn {
            hold: self.hold_of(state, job),
            start,
            packets,
            call,
        }));
    }

    fn hold_of(&self, state: &State, job: JobId) -> Hold {
        Hold {
            job,
            attempt: state.attempt(job),
            owner: self.0.owner,
        }
    }

    /// A job's call, read when somebody asks for it.
    fn call_of(&self, job: JobId) -> Answer<Option<Box<CallRecord>>, Unreadable> {
        let store = self.0.store.clone();
        Answer::read(Box::pin(async move {
            let record = store.patiently(|| store.job(job)).await;
            let record = record.map_err(unreadable)?;
            Ok(record.map(|record| Box::new(record.call)))
        }))
    }
}

impl State {
    fn tell(&self, news: News) {
        if let Some(tells) = &self.tells {
            // One who has stopped listening has stopped altogether.
            let _ = tells.send(news);
        }
    }

    fn changed(&self, job: JobId, what: What, at: u64) {
        self.tell(News::Change(Change { job, what, at }));
    }

    /// The number of the attempt that runs or comes next.
    fn attempt(&self, job: JobId) -> u32 {
        self.again.get(&job).map_or(1, |again| again.attempt)
    }
}

/// Why a write was not made and never will be.
fn lost(error: StoreError) -> Lost {
    match error {
        StoreError::Closed => Lost::Closed,
        StoreError::NotLive(_) => Lost::Fenced,
        error => Lost::Refused(error.to_string().into()),
    }
}

/// What only the writer could answer otherwise.
fn unexpected() -> Lost {
    Lost::Refused("the store's writer has answered something else".into())
}

impl Ledger for Local {
    fn accept(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        self.take_in(jobs)
    }

    fn started(&self, hold: Hold, token: Token) -> Answer<u64, Lost> {
        self.start(hold, token)
    }

    fn note(&self, hold: Hold, token: Token) -> Answer<(), Lost> {
        self.keep_note(hold, token)
    }

    fn append(&self, hold: Hold, packets: Vec<Segment>) -> Appending {
        self.keep_packets(hold, packets)
    }

    fn close_job(&self, hold: Hold, end: End) -> Answer<Closed, Lost> {
        self.end_attempt(hold, end)
    }

    fn settle(&self, hold: Hold) -> Answer<(), Lost> {
        self.pay(hold)
    }

    fn withdraw(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost> {
        self.take_out(which, outcome)
    }

    fn claim(&self, pool: PoolId, pick: Pick, token: Token) -> Answer<Option<JobId>, Lost> {
        self.hand_out(&pool, pick, token)
    }

    fn wish(&self, job: JobId) -> Answer<bool, Lost> {
        let state = self.state();
        let is_held = state.lineup.stands(job) == Some(Stands::Runs);
        if is_held {
            state.tell(News::Wish(self.hold_of(&state, job)));
        }
        Answer::now(Ok(is_held))
    }

    fn paper(&self, edit: PaperEdit) -> Answer<Edited, Lost> {
        self.edit_paper(edit)
    }

    fn prune(&self, keep: Keep) -> Answer<Pruned, Lost> {
        self.remove(keep)
    }

    fn whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        self.read_whereabouts(jobs)
    }

    fn job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable> {
        self.read(move |store| async move { Ok(store.job(job).await?.map(Box::new)) })
    }

    fn end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable> {
        if self.state().whereabouts(job).is_some() {
            // It lives.
            return Answer::now(Ok(None));
        }
        self.read(move |store| async move { Ok(store.outcome(job).await?.map(Arc::new)) })
    }

    fn segments(&self, job: JobId, from: u64, most: usize) -> Answer<Vec<Segment>, Unreadable> {
        // At once, so that a reader can be busy meanwhile. It ends by itself.
        let store = self.0.store.clone();
        let (answer, receipt) = Local::receipt();
        let reading = async move {
            let segments = store.segments(job, from, most).await;
            // Whoever asked may be gone.
            let _ = answer.send(segments.map_err(unreadable));
        };
        let world = &self.0.world;
        world.spawn("packets", Phase::News, Box::pin(reading));
        receipt
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
        self.look(|state| {
            let mut names = state.lineup.queue_names();
            names.extend(state.held.queue_names().cloned());
            names.sort_unstable();
            names.dedup();
            names
        })
    }

    fn queue_jobs(&self, name: &QueueName) -> Answer<Members, Unreadable> {
        self.look(|state| state.lineup.queue_members(name))
    }

    fn pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        self.look(|state| state.lineup.pool_members(pool, most))
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
        self.0.store.outage()
    }

    fn contents(&self) -> Contents {
        let kept = self.0.store.contents();
        Contents {
            live: kept
                .live
                .map_or_else(|| self.state().lineup.live() as u64, |live| live.jobs),
            ended: kept.ended,
            bytes: kept.bytes,
        }
    }

    fn drain(&self, how: Drain) {
        match how {
            Drain::NoTurns => {
                let mut state = self.state();
                state.takes_nothing = true;
                state.lineup.close_turns();
            }
            Drain::WaitForNothing => self.0.store.give_up(),
        }
    }

    fn shut(&self) -> Answer<(), Lost> {
        let mut state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        (state.takes_nothing, state.is_closed) = (true, true);
        drop(state);
        self.0.timer.notify_one();
        let (answer, receipt) = Local::receipt();
        let ledger = self.clone();
        self.0.store.close_then(Box::new(move || {
            // Nothing is told any more.
            ledger.state().tells = None;
            let _ = answer.send(Ok(()));
        }));
        receipt
    }
}
