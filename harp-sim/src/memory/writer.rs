//! The task that makes the writes, many in a round, and tells what has come of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::world::World;
use harp_values::JobId;

use super::write::{Done, Receipt, Submission, Write};
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
    is_calm: AtomicBool,
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
            is_calm: AtomicBool::new(false),
        }))
    }

    /// From now on every round fails, or they go by chance again.
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// From now on nothing goes wrong.
    pub fn calm_down(&self) {
        self.set_down(false);
        self.0.is_calm.store(true, Ordering::SeqCst);
    }

    pub(super) fn full(&self) -> usize {
        self.often(self.0.full)
    }

    /// Once in so many times, as long as anything may go wrong.
    fn often(&self, times: usize) -> usize {
        if self.0.is_calm.load(Ordering::SeqCst) {
            0
        } else {
            times
        }
    }

    fn is_down(&self) -> bool {
        self.0.is_down.load(Ordering::SeqCst)
    }
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
            let (count, is_closing, is_down) = {
                let state = self.state();
                let is_closing = !state.closing.is_empty();
                (state.round(), is_closing, state.down_since.is_some())
            };
            if count == 0 && is_closing {
                return self.close();
            }
            // In an outage it tries by itself whether that is over.
            if count == 0 && !is_down {
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
                    let gives_up = self.down(count, matches!(fate, Fate::Lost));
                    let world = &self.0.world;
                    tokio::select! {
                        biased;
                        () = world.sleep(world.now() + pause) => {}
                        () = self.gives_up(), if !gives_up => {}
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
        if world.once_in(self.0.faults.often(self.0.faults.0.late)) {
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
        if faults.is_down() || world.once_in(faults.often(faults.0.fail)) {
            Fate::Failed
        } else if world.once_in(faults.often(faults.0.lost)) {
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
                self.submitted(state, jobs, &accepted, answer.is_none());
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
            (Write::Paper { answer, .. }, Done::Edited(edited)) => send(Some(answer), Ok(edited)),
            (Write::Prune { answer, .. }, Done::Pruned(gone, told)) => {
                for job in gone {
                    state.changed(job, What::Pruned, self.0.world.wall());
                }
                send(Some(answer), Ok(told));
            }
            (write, _) => unreachable!("another answer to {write:?}"),
        }
    }

    fn submitted(
        &self,
        state: &mut State,
        jobs: Vec<Submission>,
        accepted: &Result<Vec<Accepted>, NotAccepted>,
        is_late: bool,
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
            let what = What::Submitted { is_late };
            state.changed(job, what, entered.job.call.submitted);
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
            // Whoever reads the book would not know what they were before.
            if !matches!(write, Write::Prune { .. }) {
                write.apply(&mut rows);
            }
        }
        drop(rows);
        state.pending.clear();
        state.tells = None;
        state.is_closed = true;
    }

    /// How many queues have a job.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.state().lineup.queue_names().len()
    }

    /// How many writes are on their way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().pending.len()
    }
}

impl State {
    /// How many writes the next round has. What is removed is removed in a round that comes
    /// after that of its end.
    fn round(&self) -> usize {
        let prune = |write: &Write| matches!(write, Write::Prune { .. });
        match self.pending.iter().position(prune) {
            None => self.pending.len(),
            Some(first) => first.max(1),
        }
    }

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
