//! The verbs of whoever holds a job that has its turn, and the claim that makes one hold it.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::lineup::Stands;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::segment::Segment;
use harp_values::JobId;
use tokio::sync::oneshot;
use tracing::warn;

use super::{Again, Local, State, lost, unexpected};
use crate::store::{Change, Deed, Done, Made, Reply, StoreError};
use harp_jobs::ledger::room::Taken;

type Receipt<T> = oneshot::Sender<Result<T, Lost>>;

impl Local {
    /// Why this hold may not write, if so.
    fn refusal(&self, state: &State, hold: Hold) -> Option<Lost> {
        if state.is_closed {
            return Some(Lost::Closed);
        }
        (hold.owner != self.0.owner).then_some(Lost::Fenced)
    }

    /// Hands a decision to the writer. To be called under the mutex, so that the order of the
    /// decisions is that of the writes.
    fn push(&self, hold: Hold, size: usize, deed: Deed, reply: impl Reply + 'static) {
        let reply = Box::new(reply);
        self.0.store.push(hold.job, size, Change::Deed(deed), reply);
    }

    pub(super) fn start(&self, hold: Hold, token: Token) -> Answer<u64, Lost> {
        let mut state = self.state();
        if let Some(lost) = self.refusal(&state, hold) {
            return Answer::now(Err(lost));
        }
        // Where it was withdrawn, the write behind that end says so.
        let is_first = hold.attempt == state.attempt(hold.job) && state.lineup.start(hold.job);
        let (answer, receipt) = Local::receipt();
        let (ledger, at) = (self.clone(), self.0.world.wall());
        let reply = Starting {
            ledger,
            hold,
            is_first,
            answer,
        };
        let size = token.0.len();
        self.push(hold, size, Deed::Start { hold, token, at }, reply);
        receipt
    }

    pub(super) fn hand_out(
        &self,
        pool: &PoolId,
        pick: Pick,
        token: Token,
    ) -> Answer<Option<JobId>, Lost> {
        let mut state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        let Some(job) = state.lineup.claim(pool, pick) else {
            return Answer::now(Ok(None));
        };
        let hold = self.hold_of(&state, job);
        let (answer, receipt) = Local::receipt();
        let reply = Claiming {
            ledger: self.clone(),
            job,
            token: token.clone(),
            answer,
        };
        let (at, size) = (self.0.world.wall(), token.0.len());
        self.push(hold, size, Deed::Start { hold, token, at }, reply);
        receipt
    }

    pub(super) fn keep_note(&self, hold: Hold, token: Token) -> Answer<(), Lost> {
        let state = self.state();
        if let Some(lost) = self.refusal(&state, hold) {
            return Answer::now(Err(lost));
        }
        let (answer, receipt) = Local::receipt();
        let (size, room) = (token.0.len(), None);
        let reply = Writing { answer, room };
        self.push(hold, size, Deed::Note { hold, token }, reply);
        receipt
    }

    pub(super) fn keep_packets(&self, hold: Hold, segments: Vec<Segment>) -> Appending {
        let state = self.state();
        if let Some(lost) = self.refusal(&state, hold) {
            return Appending::taken(Answer::now(Err(lost)));
        }
        let (answer, stored) = Local::receipt();
        let size = segments.iter().map(Segment::len_bytes).sum();
        let (room, waits) = self.0.memory.take(size);
        let room = Some(room);
        let reply = Writing { answer, room };
        self.push(hold, size, Deed::Append { hold, segments }, reply);
        drop(state);
        match waits {
            None => Appending::taken(stored),
            Some(waits) => Appending::waiting(waits, stored),
        }
    }

    pub(super) fn end_attempt(&self, hold: Hold, end: End) -> Answer<Closed, Lost> {
        let (outcome, again) = match end.then {
            Then::End(outcome) => (outcome, None),
            Then::Again { outcome, after } => (outcome, Some(after)),
        };
        let text = outcome.to_json();
        let mut state = self.state();
        if let Some(lost) = self.refusal(&state, hold) {
            return Answer::now(Err(lost));
        }
        // From now on nobody withdraws it.
        if hold.attempt == state.attempt(hold.job) {
            state.lineup.start(hold.job);
        }
        let (answer, receipt) = Local::receipt();
        let reply = Closing {
            ledger: self.clone(),
            hold,
            packets: end.packets,
            again,
            is_told: false,
            answer,
        };
        let size = text.as_bytes().len();
        let deed = Deed::Close {
            hold,
            outcome,
            text,
            packets: end.packets,
            again,
            debt: end.debt,
            remarks: end.remarks,
            at: self.0.world.wall(),
        };
        self.push(hold, size, deed, reply);
        receipt
    }

    pub(super) fn pay(&self, hold: Hold) -> Answer<(), Lost> {
        let state = self.state();
        if let Some(lost) = self.refusal(&state, hold) {
            return Answer::now(Err(lost));
        }
        let (answer, receipt) = Local::receipt();
        let reply = Settling {
            ledger: self.clone(),
            hold,
            is_in_doubt: false,
            answer,
        };
        self.push(hold, 0, Deed::Settle { hold }, reply);
        receipt
    }
}

/// A start on its way to the disk.
struct Starting {
    ledger: Local,
    hold: Hold,
    /// The job had no start before.
    is_first: bool,
    answer: Receipt<u64>,
}

impl Reply for Starting {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let started = started(done);
        // One in place of another, of which nothing has come, is no news.
        if let Ok((at, _)) = started
            && self.is_first
        {
            let state = self.ledger.state();
            state.changed(self.hold.job, What::Started, at);
        }
        // Whoever asked may be gone, here and in what follows.
        let _ = self.answer.send(started.map(|(at, _)| at));
    }
}

/// A claim on its way to the disk.
struct Claiming {
    ledger: Local,
    job: JobId,
    token: Token,
    answer: Receipt<Option<JobId>>,
}

impl Reply for Claiming {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let started = started(done);
        if let Ok((at, _)) = started {
            let state = self.ledger.state();
            state.changed(self.job, What::Started, at);
            let token = self.token;
            let call = self.ledger.call_of(self.job);
            let start = Start::Recorded { at, token };
            self.ledger.tell_turn(&state, self.job, start, call);
        }
        let _ = self.answer.send(started.map(|_| Some(self.job)));
    }
}

fn started(done: Result<Done, StoreError>) -> Result<(u64, bool), Lost> {
    match done {
        Ok(Done::Made(Made::Started(started))) => started,
        Ok(_) => Err(unexpected()),
        Err(error) => Err(lost(error)),
    }
}

/// A note, or packets, on their way to the disk.
struct Writing {
    answer: Receipt<()>,
    /// The memory that packets take.
    room: Option<Taken>,
}

impl Reply for Writing {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        drop(self.room);
        let _ = self.answer.send(match done {
            Ok(Done::Made(Made::Written(written))) => written,
            Ok(_) => Err(unexpected()),
            Err(error) => Err(lost(error)),
        });
    }
}

/// An end on its way to the disk.
struct Closing {
    ledger: Local,
    hold: Hold,
    packets: u64,
    again: Option<Duration>,
    /// The log has it that it cannot be recorded.
    is_told: bool,
    answer: Receipt<Closed>,
}

impl Reply for Closing {
    fn put_off(&mut self, error: &StoreError) -> bool {
        if !std::mem::replace(&mut self.is_told, true) {
            let job = self.hold.job;
            warn!(%job, %error, "the end of the job cannot be recorded, trying again");
        }
        true
    }

    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let closed = match done {
            Ok(Done::Made(Made::Closed(closed))) => closed,
            Ok(_) => Err(unexpected()),
            Err(error) => Err(lost(error)),
        };
        if let Ok(closed) = &closed {
            self.closed(closed);
        }
        let _ = self.answer.send(closed);
    }
}

impl Closing {
    fn closed(&self, closed: &Closed) {
        let (ledger, job) = (&self.ledger, self.hold.job);
        let mut state = ledger.state();
        // One that had ended before was told of then.
        let is_live = state
            .lineup
            .stands(job)
            .is_some_and(|stands| stands != Stands::Owes);
        if !is_live {
            return;
        }
        let turns = if let Some(end) = &closed.end {
            state.changed(job, What::Ended(Arc::clone(end)), end.ended);
            state.again.remove(&job);
            state.lineup.close(job, closed.debt)
        } else if let Some(after) = self.again
            && state.attempt(job) == self.hold.attempt
        {
            state.changed(job, What::BackToWait, ledger.0.world.wall());
            let again = Again {
                attempt: self.hold.attempt.saturating_add(1),
                packets: self.packets,
            };
            state.again.insert(job, again);
            let moment = ledger.0.world.now() + after;
            let turns = state.lineup.again(job, moment, closed.debt);
            ledger.0.timer.notify_one();
            turns
        } else {
            return;
        };
        ledger.give(&state, turns);
    }
}

/// A payment on its way to the disk.
struct Settling {
    ledger: Local,
    hold: Hold,
    /// It may be there since a round whose outcome is not known.
    is_in_doubt: bool,
    answer: Receipt<()>,
}

impl Reply for Settling {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let settled = match done {
            Ok(Done::Made(Made::Settled(settled))) => settled,
            Ok(_) => Err(unexpected()),
            Err(error) => Err(lost(error)),
        };
        if let Ok(was_owed) = settled
            && (was_owed || self.is_in_doubt)
        {
            let (ledger, job) = (&self.ledger, self.hold.job);
            let mut state = ledger.state();
            if state.lineup.owes(job) {
                state.changed(job, What::Released, ledger.0.world.wall());
                let turns = state.lineup.settle(job);
                ledger.give(&state, turns);
            }
        }
        let _ = self.answer.send(settled.map(drop));
    }

    fn put_off(&mut self, error: &StoreError) -> bool {
        self.is_in_doubt |= matches!(error, StoreError::UnknownOutcome(_));
        true
    }
}
