//! A ledger in memory: the real lineup over rows that stand for a disk. What is durable and
//! what is on its way are kept apart, so that rounds can come late, fail, or be done with
//! their answers lost, and a crash loses what was not durable.

mod due;
mod open;
mod rows;
mod write;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::lineup::queue::Members;
use harp_jobs::lineup::{Entrant, Lineup, Stands};
use harp_jobs::record::{EndRecord, JobRecord};
use harp_jobs::segment::Segment;
use harp_jobs::world::World;
use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use self::rows::{Disk, Row};
use self::write::{Submission, Write};
pub use self::writer::Faults;
use crate::executor::Played;

/// How long an outage delays reads before they are answered by an error.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// A ledger in memory. Clones are the same ledger.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    world: Played,
    disk: Disk,
    faults: Faults,
    owner: u32,
    state: Mutex<State>,
    work: Notify,
    timer: Notify,
    outage: watch::Sender<Option<Arc<str>>>,
    offers: watch::Sender<u64>,
}

struct State {
    lineup: Lineup,
    pending: Vec<Write>,
    news: Option<mpsc::UnboundedReceiver<News>>,
    /// `None` once the ledger is closed.
    tells: Option<mpsc::UnboundedSender<News>>,
    closing: Vec<oneshot::Sender<Result<(), Lost>>>,
    takes_nothing: bool,
    waits_for_nothing: bool,
    is_closed: bool,
    down_since: Option<harp_jobs::world::Moment>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a write to the writer.
    fn write<T, E: Gone>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Write,
    ) -> Answer<T, E> {
        let mut state = self.state();
        self.push(&mut state, make)
    }

    fn push<T, E: Gone>(
        &self,
        state: &mut State,
        make: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Write,
    ) -> Answer<T, E> {
        let is_lost = state.waits_for_nothing && state.down_since.is_some();
        if state.is_closed || is_lost {
            return Answer::now(Err(E::gone()));
        }
        let (answer, receipt) = oneshot::channel();
        state.pending.push(make(answer));
        self.0.work.notify_one();
        Answer::later(receipt)
    }

    /// Reads what is durable; in an outage it waits for a while.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Memory) -> T + Send + 'static,
    ) -> Answer<T, Unreadable> {
        let memory = self.clone();
        Answer::read(Box::pin(async move {
            let world = &memory.0.world;
            if world.once_in(4) {
                let later = world.now() + Duration::from_millis(2);
                world.sleep(later).await;
            }
            loop {
                let (is_closed, down) = {
                    let state = memory.state();
                    (state.is_closed, state.down_since)
                };
                if is_closed {
                    return Err(Unreadable::Closed);
                }
                let Some(since) = down else {
                    let answer = read(&memory);
                    // What was read may be old by the time that it is told.
                    if world.once_in(5) {
                        world.sleep(world.now() + Duration::from_millis(2)).await;
                    }
                    return Ok(answer);
                };
                if world.now().since(since) >= READERS_WAIT {
                    return Err(Unreadable::Outage("the disk is away".into()));
                }
                world.sleep(world.now() + Duration::from_millis(500)).await;
            }
        }))
    }

    /// Why a job cannot be taken in.
    fn full(state: &State, job: &NewJob, before: usize) -> Option<Full> {
        if state.lineup.live() + before >= job.room.live_jobs {
            return Some(Full::LiveJobs(job.room.live_jobs));
        }
        let queue = job.call.queue.as_ref()?;
        let waiting = state.lineup.waiting(&queue.name);
        (waiting >= job.room.queue_length).then_some(Full::QueueLength(job.room.queue_length))
    }

    fn enter(&self, state: &mut State, mut job: NewJob) -> Submission {
        let world = &self.0.world;
        let is_known =
            state.lineup.stands(job.id).is_some() || self.0.disk.rows().jobs.contains_key(&job.id);
        if is_known {
            return Submission {
                sequence: 0,
                has_turn: false,
                is_known,
                at: world.wall(),
                job,
            };
        }
        let start_by = job.start_by.map(Duration::from_secs);
        let entered = state.lineup.enter(Entrant {
            id: job.id,
            queue: job.call.queue.clone(),
            start_by: start_by.map(|left| world.now() + left),
            pool: job.minted.pool.clone(),
        });
        if let Some(queue) = &mut job.call.queue {
            queue.concurrency = entered.concurrency;
        }
        Submission {
            sequence: entered.sequence,
            has_turn: entered.has_turn,
            is_known,
            at: world.wall(),
            job,
        }
    }
}

impl Ledger for Memory {
    fn accept(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        let mut state = self.state();
        if state.takes_nothing || state.is_closed {
            return Answer::now(Err(NotAccepted::Closed));
        }
        let full = jobs.iter().enumerate();
        let full = full
            .filter_map(|(before, job)| Memory::full(&state, job, before))
            .next();
        if let Some(full) = full {
            return Answer::now(Err(NotAccepted::Full(full)));
        }
        if state.down_since.is_some() {
            return Answer::now(Err(NotAccepted::Storage {
                may_exist: false,
                why: "the disk is away".into(),
            }));
        }
        let jobs = jobs
            .into_iter()
            .map(|job| self.enter(&mut state, job))
            .collect();
        self.push(&mut state, |answer| Write::Submit {
            jobs,
            answer: Some(answer),
        })
    }

    fn started(&self, hold: Hold, token: Token) -> Answer<u64, Lost> {
        let mut state = self.state();
        // Where it was withdrawn, the write behind that end says so.
        state.lineup.start(hold.job);
        self.0.timer.notify_one();
        let at = self.0.world.wall();
        self.push(&mut state, |answer| Write::Start {
            hold,
            token,
            at,
            answer,
        })
    }

    fn note(&self, hold: Hold, token: Token) -> Answer<(), Lost> {
        self.write(|answer| Write::Note {
            hold,
            token,
            answer,
        })
    }

    fn append(&self, hold: Hold, packets: Vec<Segment>) -> Appending {
        let (room, taken) = oneshot::channel();
        let stored = self.write(|answer| Write::Append {
            hold,
            packets,
            answer,
        });
        if !self.0.world.once_in(self.0.faults.full()) {
            return Appending::taken(stored);
        }
        let world = self.0.world.clone();
        let later = world.now() + Duration::from_millis(50);
        let work = async move {
            world.sleep(later).await;
            let _ = room.send(());
        };
        let phase = harp_jobs::world::Phase::News;
        self.0.world.spawn("memory", phase, Box::pin(work));
        Appending::waiting(taken, stored)
    }

    fn close_job(&self, hold: Hold, end: End) -> Answer<Closed, Lost> {
        let at = self.0.world.wall();
        self.write(|answer| Write::Close {
            hold,
            end,
            at,
            answer,
        })
    }

    fn settle(&self, hold: Hold) -> Answer<(), Lost> {
        self.write(|answer| Write::Settle { hold, answer })
    }

    fn withdraw(&self, which: Which, outcome: Outcome) -> Answer<Vec<JobId>, Lost> {
        let mut state = self.state();
        let (jobs, turns) = match which {
            Which::Queue(name) => state.lineup.withdraw_queue(&name),
            Which::Pool(pool) => state.lineup.withdraw_pool(&pool),
            Which::Jobs(ids) => {
                let mut turns = Vec::new();
                let mut taken = Vec::new();
                for id in ids {
                    if let Some(next) = state.lineup.withdraw(id) {
                        taken.push(id);
                        turns.extend(next);
                    }
                }
                (taken, turns)
            }
        };
        let at = self.0.world.wall();
        let receipt = self.push(&mut state, |answer| Write::End {
            jobs,
            outcome,
            at,
            answer: Some(answer),
        });
        self.give_turns(&mut state, turns);
        receipt
    }

    fn claim(&self, pool: PoolId, pick: Pick, token: Token) -> Answer<Option<JobId>, Lost> {
        let mut state = self.state();
        let Some(job) = state.lineup.claim(&pool, pick) else {
            return Answer::now(Ok(None));
        };
        let at = self.0.world.wall();
        self.push(&mut state, |answer| Write::Claim {
            job,
            token,
            at,
            answer,
        })
    }

    fn wish(&self, job: JobId) -> Answer<bool, Lost> {
        let state = self.state();
        let is_held = state.lineup.stands(job) == Some(Stands::Runs);
        if is_held && let Some(hold) = self.hold_of(job) {
            state.tell(News::Wish(hold));
        }
        Answer::now(Ok(is_held))
    }

    fn paper(&self, edit: PaperEdit) -> Answer<Edited, Lost> {
        self.write(|answer| Write::Paper { edit, answer })
    }

    fn prune(&self, keep: Keep) -> Answer<Pruned, Lost> {
        let at = self.0.world.wall();
        self.write(|answer| Write::Prune { keep, at, answer })
    }

    fn whereabouts(&self, jobs: &[JobId]) -> Answer<Vec<Whereabouts>, Unreadable> {
        let jobs = jobs.to_vec();
        self.read(move |memory| {
            let rows = memory.0.disk.rows();
            jobs.iter().map(|job| rows.whereabouts(*job)).collect()
        })
    }

    fn job(&self, job: JobId) -> Answer<Option<Box<JobRecord>>, Unreadable> {
        self.read(move |memory| memory.0.disk.rows().record(job).map(Box::new))
    }

    fn end(&self, job: JobId) -> Answer<Option<Arc<EndRecord>>, Unreadable> {
        self.read(move |memory| memory.0.disk.rows().jobs.get(&job)?.end.clone())
    }

    fn segments(&self, job: JobId, from: u64, most: usize) -> Answer<Vec<Segment>, Unreadable> {
        self.read(move |memory| {
            let rows = memory.0.disk.rows();
            let packets = rows.jobs.get(&job).into_iter().flat_map(|row| &row.packets);
            let mut bytes = 0;
            packets
                .filter(|segment| segment.end() > from)
                .take_while(|segment| {
                    let is_wanted = bytes < most.max(1);
                    bytes += segment.len_bytes();
                    is_wanted
                })
                .map(|segment| segment.between(from, u64::MAX))
                .collect()
        })
    }

    fn walk(
        &self,
        from: Cursor,
        towards: Direction,
        most: usize,
    ) -> Answer<Vec<JobRecord>, Unreadable> {
        self.read(move |memory| memory.0.disk.rows().walk(from, towards, most))
    }

    fn queues(&self) -> Answer<Vec<QueueName>, Unreadable> {
        self.read(|memory| memory.state().lineup.queue_names())
    }

    fn queue_jobs(&self, name: &QueueName) -> Answer<Members, Unreadable> {
        let name = name.clone();
        self.read(move |memory| memory.state().lineup.queue_members(&name))
    }

    fn pool(&self, pool: &PoolId, most: usize) -> Answer<Vec<JobId>, Unreadable> {
        let pool = pool.clone();
        self.read(move |memory| memory.state().lineup.pool_members(&pool, most))
    }

    fn offers(&self) -> watch::Receiver<u64> {
        self.0.offers.subscribe()
    }

    fn papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable> {
        self.read(move |memory| memory.0.disk.rows().papers(kind))
    }

    fn news(&self) -> Option<mpsc::UnboundedReceiver<News>> {
        self.state().news.take()
    }

    fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.outage.subscribe()
    }

    fn contents(&self) -> Contents {
        self.0.disk.rows().contents()
    }

    fn drain(&self, how: Drain) {
        let mut state = self.state();
        match how {
            Drain::NoTurns => {
                state.takes_nothing = true;
                state.lineup.close_turns();
            }
            Drain::WaitForNothing => {
                state.waits_for_nothing = true;
                self.0.work.notify_one();
            }
        }
    }

    fn shut(&self) -> Answer<(), Lost> {
        let mut state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        let (answer, receipt) = oneshot::channel();
        state.closing.push(answer);
        (state.takes_nothing, state.is_closed) = (true, true);
        self.0.work.notify_one();
        Answer::later(receipt)
    }
}

impl Memory {
    fn give_turns(&self, state: &mut State, turns: Vec<JobId>) {
        self.0.timer.notify_one();
        let offers = state.lineup.offers();
        self.0
            .offers
            .send_if_modified(|told| std::mem::replace(told, offers) != offers);
        for job in turns {
            if let Some(hold) = self.hold_of(job) {
                self.tell_turn(state, hold, Start::ToRecord);
            }
        }
    }

    /// The hold of a job that is on disk.
    fn hold_of(&self, job: JobId) -> Option<Hold> {
        Some(Hold {
            job,
            attempt: self.0.disk.rows().jobs.get(&job)?.attempt,
            owner: self.0.owner,
        })
    }

    fn tell_turn(&self, state: &State, hold: Hold, start: Start) {
        let packets = {
            let rows = self.0.disk.rows();
            rows.jobs.get(&hold.job).map_or(0, Row::count)
        };
        let call = self.read(move |memory| {
            let rows = memory.0.disk.rows();
            rows.jobs
                .get(&hold.job)
                .map(|row| Box::new(row.call.clone()))
        });
        state.tell(News::Turn(Turn {
            hold,
            start,
            packets,
            call,
        }));
    }
}

impl State {
    fn tell(&self, news: News) {
        if let Some(tells) = &self.tells {
            // One who has stopped listening has stopped altogether.
            let _ = tells.send(news);
        }
    }
}
