//! The writes on their way, and the task that makes them, many in a round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::record::EndRecord;
use harp_jobs::segment::Segment;
use harp_jobs::world::World;
use harp_values::{JobId, Outcome};
use tokio::sync::oneshot;

use super::rows::Rows;
use super::{Memory, State};

/// What goes wrong, once in so many times; 0 is never. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    late: usize,
    fail: usize,
    lost: usize,
    full: usize,
    is_down: AtomicBool,
}

impl Faults {
    /// A round comes late, fails with nothing done, or is done with its answers lost; there
    /// is no memory for packets.
    #[must_use]
    pub fn new(late: usize, fail: usize, lost: usize, full: usize) -> Faults {
        Faults(Arc::new(Numbers {
            late,
            fail,
            lost,
            full,
            is_down: AtomicBool::new(false),
        }))
    }

    /// From now on every round fails, or they go by chance again.
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(super) fn full(&self) -> usize {
        self.0.full
    }

    fn is_down(&self) -> bool {
        self.0.is_down.load(Ordering::SeqCst)
    }
}

type Receipt<T, E = Lost> = oneshot::Sender<Result<T, E>>;

/// A job that has entered the lineup.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) sequence: u64,
    pub(super) has_turn: bool,
    /// It was handed in before.
    pub(super) is_known: bool,
    pub(super) at: u64,
    pub(super) job: NewJob,
}

impl Submission {
    /// When it starts with its record, if it does.
    fn started(&self) -> Option<u64> {
        let is_pushed = self.has_turn && self.job.minted.pool.is_none();
        is_pushed.then_some(self.at)
    }
}

/// A write.
#[derive(Debug)]
pub(super) enum Write {
    Submit {
        jobs: Vec<Submission>,
        /// `None` once it was answered that they may exist.
        answer: Option<Receipt<Vec<Accepted>, NotAccepted>>,
    },
    Start {
        hold: Hold,
        token: Token,
        at: u64,
        answer: Receipt<u64>,
    },
    Claim {
        job: JobId,
        token: Token,
        at: u64,
        answer: Receipt<Option<JobId>>,
    },
    Note {
        hold: Hold,
        token: Token,
        answer: Receipt<()>,
    },
    Append {
        hold: Hold,
        packets: Vec<Segment>,
        answer: Receipt<()>,
    },
    Close {
        hold: Hold,
        end: End,
        at: u64,
        answer: Receipt<Closed>,
    },
    Settle {
        hold: Hold,
        answer: Receipt<()>,
    },
    End {
        jobs: Vec<JobId>,
        outcome: Outcome,
        at: u64,
        answer: Option<Receipt<Vec<JobId>>>,
    },
    Prune {
        keep: Keep,
        answer: Receipt<Pruned>,
    },
}

/// What a write has come to.
enum Done {
    Submitted(Result<Vec<Accepted>, NotAccepted>),
    Started(Result<u64, Lost>),
    Written(Result<(), Lost>),
    Closed(Result<Closed, Lost>),
    Ended(Vec<(JobId, Arc<EndRecord>)>),
    Pruned(Vec<JobId>, bool),
}

impl Write {
    /// Makes the write; made again it changes nothing and comes to the same.
    fn apply(&self, rows: &mut Rows) -> Done {
        match self {
            Write::Submit { jobs, .. } => Done::Submitted(submit(rows, jobs)),
            Write::Start {
                hold, token, at, ..
            } => Done::Started(start(rows, *hold, token, *at)),
            Write::Claim { job, token, at, .. } => {
                let hold = rows.jobs.get(job).map(|row| Hold {
                    job: *job,
                    attempt: row.attempt,
                    owner: rows.owner,
                });
                Done::Started(match hold {
                    Some(hold) => start(rows, hold, token, *at),
                    None => Err(Lost::Refused("there is no such job".into())),
                })
            }
            Write::Note { hold, token, .. } => Done::Written(rows.held(*hold).map(|row| {
                if let Some((_, noted)) = &mut row.started {
                    noted.clone_from(token);
                }
            })),
            Write::Append { hold, packets, .. } => Done::Written(append(rows, *hold, packets)),
            Write::Close { hold, end, at, .. } => Done::Closed(close(rows, *hold, end, *at)),
            Write::Settle { hold, .. } => Done::Written(rows.held(*hold).map(|row| {
                row.debt.take_if(|(attempt, _)| *attempt == hold.attempt);
            })),
            Write::End {
                jobs, outcome, at, ..
            } => Done::Ended(
                jobs.iter()
                    .filter_map(|job| withdraw(rows, *job, outcome, *at))
                    .collect(),
            ),
            Write::Prune { keep, .. } => {
                let (gone, more) = rows.prune(*keep);
                Done::Pruned(gone, more)
            }
        }
    }
}

fn submit(rows: &mut Rows, jobs: &[Submission]) -> Result<Vec<Accepted>, NotAccepted> {
    let claims: Vec<Option<JobId>> = jobs
        .iter()
        .map(|entered| rows.claimed(&entered.job))
        .collect::<Result<_, _>>()?;
    let accepted = jobs.iter().zip(claims).map(|(entered, claim)| match claim {
        Some(before) => Accepted::Before(before),
        None => {
            rows.insert(&entered.job, entered.sequence, entered.started());
            Accepted::New(entered.job.id)
        }
    });
    Ok(accepted.collect())
}

fn start(rows: &mut Rows, hold: Hold, token: &Token, at: u64) -> Result<u64, Lost> {
    let row = rows.held(hold)?;
    if let Some(end) = &row.end {
        return Err(Lost::Taken(Arc::clone(end)));
    }
    match &row.started {
        Some((first, noted)) if noted == token => Ok(*first),
        _ => {
            let at = at.max(row.call.submitted);
            row.started = Some((at, token.clone()));
            row.not_before = None;
            Ok(at)
        }
    }
}

fn append(rows: &mut Rows, hold: Hold, packets: &[Segment]) -> Result<(), Lost> {
    let row = rows.held(hold)?;
    for segment in packets {
        let count = row.count();
        if segment.end() <= count {
            continue;
        }
        if row.end.is_some() || segment.first() > count {
            return Err(Lost::Refused("these packets do not follow".into()));
        }
        row.packets.push(segment.between(count, u64::MAX));
    }
    Ok(())
}

fn close(rows: &mut Rows, hold: Hold, end: &End, at: u64) -> Result<Closed, Lost> {
    let row = rows.held(hold)?;
    let debt = row
        .debt
        .as_ref()
        .is_some_and(|(attempt, _)| *attempt == hold.attempt);
    if row.end.is_some() || hold.attempt < row.attempt {
        let end = row.end.clone();
        return Ok(Closed { end, debt });
    }
    if row.count() != end.packets {
        let why = format!("an end of {} packets after {}", end.packets, row.count());
        return Err(Lost::Refused(why.into()));
    }
    let started = row.started.as_ref().map(|(at, _)| *at);
    row.debt = end.debt.clone().map(|token| (hold.attempt, token));
    match &end.then {
        Then::End(outcome) => {
            row.end = Some(Arc::new(EndRecord {
                started,
                ended: at.max(started.unwrap_or(row.call.submitted)),
                outcome: outcome.clone(),
                packets: end.packets,
            }));
        }
        Then::Again { after, .. } => {
            row.started = None;
            row.attempt += 1;
            row.not_before = Some(at + after.as_millis() as u64);
        }
    }
    Ok(Closed {
        end: row.end.clone(),
        debt: row.debt.is_some(),
    })
}

fn withdraw(
    rows: &mut Rows,
    job: JobId,
    outcome: &Outcome,
    at: u64,
) -> Option<(JobId, Arc<EndRecord>)> {
    let row = rows.jobs.get_mut(&job)?;
    let packets = row.count();
    let end = row.end.get_or_insert_with(|| {
        Arc::new(EndRecord {
            started: None,
            ended: at.max(row.call.submitted),
            outcome: outcome.clone(),
            packets,
        })
    });
    Some((job, Arc::clone(end)))
}

/// What becomes of a round.
enum Fate {
    Good,
    /// Nothing is done.
    Failed,
    /// All is done, and nobody knows.
    Lost,
}

impl Memory {
    /// Makes the writes, until the ledger is closed.
    pub(super) async fn write_rounds(self) {
        let mut pause = Duration::from_millis(100);
        loop {
            let (count, is_closing) = {
                let state = self.state();
                (state.pending.len(), !state.closing.is_empty())
            };
            if count == 0 {
                if is_closing {
                    return self.close();
                }
                self.0.work.notified().await;
                continue;
            }
            self.sync().await;
            match self.fate() {
                Fate::Good => {
                    let done = self.apply(count);
                    self.between().await;
                    self.finish(count, done);
                    pause = Duration::from_millis(100);
                }
                fate => {
                    if matches!(fate, Fate::Lost) {
                        self.apply(count);
                    }
                    if self.down(count, matches!(fate, Fate::Lost)) {
                        continue;
                    }
                    let world = &self.0.world;
                    tokio::select! {
                        biased;
                        () = world.sleep(world.now() + pause) => {}
                        () = self.gives_up() => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn gives_up(&self) {
        while !self.state().waits_for_nothing {
            self.0.work.notified().await;
        }
    }

    async fn sync(&self) {
        let world = &self.0.world;
        if world.once_in(self.0.faults.0.late) {
            world.sleep(world.now() + Duration::from_millis(30)).await;
        } else {
            world.sleep(world.now() + Duration::from_millis(1)).await;
        }
    }

    /// What is durable is not told at once.
    async fn between(&self) {
        let world = &self.0.world;
        if world.once_in(4) {
            world.sleep(world.now() + Duration::from_millis(1)).await;
        }
    }

    fn fate(&self) -> Fate {
        let (world, faults) = (&self.0.world, &self.0.faults);
        if faults.is_down() || world.once_in(faults.0.fail) {
            Fate::Failed
        } else if world.once_in(faults.0.lost) {
            Fate::Lost
        } else {
            Fate::Good
        }
    }

    fn apply(&self, count: usize) -> Vec<Done> {
        let state = self.state();
        let mut rows = self.0.disk.rows();
        let writes = state.pending[..count].iter();
        writes.map(|write| write.apply(&mut rows)).collect()
    }

    /// The disk is away. True if nobody waits for it any more.
    fn down(&self, count: usize, may_exist: bool) -> bool {
        let mut state = self.state();
        let why: Arc<str> = "the disk is away".into();
        state.down_since.get_or_insert(self.0.world.now());
        self.0.outage.send_replace(Some(Arc::clone(&why)));
        let pending = std::mem::take(&mut state.pending);
        for (place, mut write) in pending.into_iter().enumerate() {
            if state.waits_for_nothing {
                continue;
            }
            if let Write::Submit { jobs, answer } = &mut write
                && let Some(answer) = answer.take()
            {
                let may_exist = may_exist && place < count;
                let why = Arc::clone(&why);
                let _ = answer.send(Err(NotAccepted::Storage { may_exist, why }));
                if !may_exist {
                    for entered in jobs.iter().filter(|entered| !entered.is_known) {
                        let turns = state.lineup.forget(entered.job.id);
                        self.give_turns(&mut state, turns);
                    }
                    continue;
                }
            }
            state.pending.push(write);
        }
        state.waits_for_nothing
    }

    fn finish(&self, count: usize, done: Vec<Done>) {
        let mut state = self.state();
        state.down_since = None;
        if self.0.outage.borrow().is_some() {
            self.0.outage.send_replace(None);
        }
        let writes: Vec<Write> = state.pending.drain(..count).collect();
        for (write, done) in writes.into_iter().zip(done) {
            self.finish_one(&mut state, write, done);
        }
    }

    fn finish_one(&self, state: &mut State, write: Write, done: Done) {
        match (write, done) {
            (Write::Submit { jobs, answer }, Done::Submitted(accepted)) => {
                self.submitted(state, jobs, &accepted);
                send(answer, accepted);
            }
            (Write::Start { hold, answer, .. }, Done::Started(started)) => {
                if let Ok(at) = started {
                    state.changed(hold.job, What::Started, at);
                }
                send(Some(answer), started);
            }
            (
                Write::Claim {
                    job, token, answer, ..
                },
                Done::Started(started),
            ) => {
                if let (Ok(at), Some(hold)) = (&started, self.hold_of(job)) {
                    state.changed(job, What::Started, *at);
                    self.tell_turn(state, hold, Start::Recorded { at: *at, token });
                }
                send(Some(answer), started.map(|_| Some(job)));
            }
            (Write::Note { answer, .. } | Write::Append { answer, .. }, Done::Written(written)) => {
                send(Some(answer), written)
            }
            (
                Write::Close {
                    hold,
                    end,
                    at,
                    answer,
                },
                Done::Closed(closed),
            ) => {
                if let Ok(closed) = &closed {
                    self.closed(state, hold, &end, at, closed);
                }
                send(Some(answer), closed);
            }
            (Write::Settle { hold, answer }, Done::Written(written)) => {
                if written.is_ok() {
                    let turns = state.lineup.settle(hold.job);
                    state.changed(hold.job, What::Released, self.0.world.wall());
                    self.give_turns(state, turns);
                }
                send(Some(answer), written);
            }
            (Write::End { answer, .. }, Done::Ended(ended)) => {
                let jobs = ended.iter().map(|(job, _)| *job).collect();
                for (job, end) in ended {
                    let at = end.ended;
                    state.changed(job, What::Ended(end), at);
                }
                send(answer, Ok(jobs));
            }
            (Write::Prune { answer, .. }, Done::Pruned(gone, more)) => {
                let jobs = gone.len();
                for job in gone {
                    state.changed(job, What::Pruned, self.0.world.wall());
                }
                send(Some(answer), Ok(Pruned { jobs, more }));
            }
            (write, _) => unreachable!("another answer to {write:?}"),
        }
    }

    fn submitted(
        &self,
        state: &mut State,
        jobs: Vec<Submission>,
        accepted: &Result<Vec<Accepted>, NotAccepted>,
    ) {
        for (place, entered) in jobs.into_iter().enumerate() {
            let job = entered.job.id;
            if entered.is_known {
                continue;
            }
            let is_new = accepted
                .as_ref()
                .is_ok_and(|accepted| accepted[place] == Accepted::New(job));
            if !is_new {
                let turns = state.lineup.forget(job);
                self.give_turns(state, turns);
                continue;
            }
            state.changed(job, What::Submitted, entered.job.call.submitted);
            let turns = state.lineup.recorded(job, entered.has_turn);
            if let Some(at) = entered.started() {
                state.changed(job, What::Started, at);
                let token = entered.job.minted.token;
                if let Some(hold) = self.hold_of(job) {
                    self.tell_turn(state, hold, Start::Recorded { at, token });
                }
            }
            self.give_turns(state, turns);
        }
    }

    fn closed(&self, state: &mut State, hold: Hold, end: &End, at: u64, closed: &Closed) {
        let job = hold.job;
        // One that had ended before was told of then, and is out of the lineup.
        let is_live = state
            .lineup
            .stands(job)
            .is_some_and(|stands| stands != harp_jobs::lineup::Stands::Owes);
        let turns = match (&closed.end, &end.then) {
            (Some(record), _) => {
                if is_live {
                    state.changed(job, What::Ended(Arc::clone(record)), record.ended);
                }
                state.lineup.close(job, closed.debt)
            }
            (None, Then::Again { after, .. }) => {
                state.changed(job, What::BackToWait, at);
                let moment = self.0.world.now() + *after;
                state.lineup.again(job, moment, closed.debt)
            }
            (None, Then::End(_)) => Vec::new(),
        };
        self.give_turns(state, turns);
    }

    /// All is written: nothing is told any more.
    fn close(&self) {
        let mut state = self.state();
        state.tells = None;
        self.0.timer.notify_one();
        for answer in std::mem::take(&mut state.closing) {
            send(Some(answer), Ok(()));
        }
    }

    /// A crash: of what was on its way the first `kept` writes have come to the disk.
    pub fn crash(&self, kept: usize) {
        let mut state = self.state();
        let count = kept.min(state.pending.len());
        let mut rows = self.0.disk.rows();
        for write in &state.pending[..count] {
            write.apply(&mut rows);
        }
        drop(rows);
        state.pending.clear();
        state.tells = None;
        state.is_closed = true;
    }

    /// How many writes are on their way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().pending.len()
    }
}

impl State {
    fn changed(&self, job: JobId, what: What, at: u64) {
        self.tell(News::Change(Change { job, what, at }));
    }
}

/// Answers, if anybody waits.
fn send<T, E>(answer: Option<Receipt<T, E>>, outcome: Result<T, E>) {
    if let Some(answer) = answer {
        let _ = answer.send(outcome);
    }
}
