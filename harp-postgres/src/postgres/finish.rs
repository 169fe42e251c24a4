//! What follows when a round is made: news are told, and answers given.

use std::collections::BTreeMap;
use std::sync::Arc;

use harp_jobs::ledger::*;
use harp_jobs::record::EndRecord;
use harp_jobs::world::Moment;
use harp_values::JobId;

use super::held::Holding;
use super::{Postgres, State};
use crate::act::{Act, Receipt, until};
use crate::told::Told;

impl Postgres {
    /// Goes through what a round has told, in the order of its requests; then come those that
    /// have their turn now.
    pub(super) fn finish(&self, state: &mut State, acts: Vec<Act>, told: Vec<Told>) {
        let mut lines: BTreeMap<usize, Vec<Told>> = BTreeMap::new();
        let mut turns = Vec::new();
        for told in told {
            match told.element {
                Some(element) => lines.entry(element).or_default().push(told),
                None => turns.push(told),
            }
        }
        let mut next = 1;
        for act in acts {
            let behind = next + act.elements();
            let its = (next..behind).flat_map(|element| lines.remove(&element).unwrap_or_default());
            let its = its.collect();
            next = behind;
            self.finish_one(state, act, its);
        }
        for told in turns {
            self.take_turn(state, &told);
        }
        self.0.timer.notify_one();
    }

    fn finish_one(&self, state: &mut State, act: Act, lines: Vec<Told>) {
        match act {
            Act::Accept {
                at: _,
                id: _,
                now,
                jobs,
                answer,
            } => {
                let is_late = answer.is_none();
                let accepted = self.accepted(state, now, jobs, is_late, &lines);
                send(answer, accepted);
            }
            Act::Started {
                hold,
                token: _,
                at: _,
                answer,
            } => send(Some(answer), state.started(hold, lines.first())),
            Act::Note { answer, .. } => send(Some(answer), written(&lines)),
            Act::Append { answer, .. } => send(Some(answer), written(&lines)),
            Act::Close {
                hold,
                end,
                at,
                answer,
                ..
            } => send(Some(answer), self.closed(state, hold, &end, at, &lines)),
            Act::Settle { hold, answer } => {
                let settled = written(&lines);
                if settled.is_ok()
                    && let Some(held) = state.held.of(hold)
                    && std::mem::take(&mut held.owes)
                {
                    state.changed(hold.job, What::Released, self.wall());
                    state.held.let_go(hold);
                }
                send(Some(answer), settled);
            }
            Act::Ready { .. } => {}
            Act::Withdraw { answer, .. } => {
                let ended = lines.iter().filter(|told| told.what == "ended");
                let ended = ended.filter_map(|told| Some((told.job?, told)));
                let ended: Vec<JobId> = ended
                    .map(|(job, told)| {
                        state.withdrawn(job, told);
                        job
                    })
                    .collect();
                send(answer, Ok(ended));
            }
            Act::Claim { token, answer, .. } => {
                let claimed = lines.first().filter(|told| told.what == "claimed");
                let job = claimed.and_then(|told| self.claimed(state, told, token));
                send(Some(answer), Ok(job));
            }
            Act::Wish { answer, .. } => {
                let is_held = lines.iter().any(|told| told.what == "done");
                send(Some(answer), Ok(is_held));
            }
            Act::Paper { edit, answer } => send(Some(answer), edited(&edit, lines.first())),
            Act::Prune { jobs, answer } => {
                let gone = lines.iter().filter(|told| told.what == "gone");
                let gone: Vec<JobId> = gone.filter_map(|told| told.job).collect();
                for (job, size) in jobs.iter().filter(|(job, _)| gone.contains(job)) {
                    state.changed(*job, What::Pruned, self.wall());
                    state.ended = state.ended.saturating_sub(1);
                    state.bytes = state.bytes.saturating_sub(*size);
                }
                send(Some(answer), Ok(gone));
            }
        }
    }

    fn accepted(
        &self,
        state: &mut State,
        now: Moment,
        jobs: Vec<NewJob>,
        is_late: bool,
        lines: &[Told],
    ) -> Result<Vec<Accepted>, NotAccepted> {
        let refused = lines.iter().find_map(|told| match told.what.as_str() {
            "key taken" => Some(NotAccepted::KeyTaken),
            "full" => {
                let most = told.at.and_then(|most| usize::try_from(most).ok());
                Some(NotAccepted::Full(Full::QueueLength(
                    most.unwrap_or(usize::MAX),
                )))
            }
            _ => None,
        });
        if let Some(refused) = refused {
            state.live.went(jobs.len());
            return Err(refused);
        }
        let mut accepted = Vec::with_capacity(jobs.len());
        for (job, told) in jobs.into_iter().zip(lines) {
            let id = job.id;
            if told.what == "before" {
                state.live.went(1);
                accepted.push(Accepted::Before(told.job.unwrap_or(id)));
                continue;
            }
            accepted.push(Accepted::New(id));
            if told.flag {
                let what = What::Submitted { is_late };
                state.changed(id, what, job.call.submitted);
                self.taken_in(state, now, job, told);
            } else {
                // It was handed in before, and is counted since then.
                state.live.went(1);
            }
        }
        Ok(accepted)
    }

    fn taken_in(&self, state: &mut State, now: Moment, job: NewJob, told: &Told) {
        let id = job.id;
        if let Some(at) = told.started {
            state.changed(id, What::Started, at);
            let (token, mut call) = (job.minted.token, job.call);
            if let (Some(queue), Some(concurrency)) = (&mut call.queue, told.concurrency) {
                queue.concurrency = concurrency;
            }
            let hold = Hold {
                job: id,
                attempt: 1,
                owner: told.owner,
            };
            let call = Answer::now(Ok(Some(Box::new(call))));
            let start = Start::Recorded { at, token };
            return state.turn(hold, told, start, call);
        }
        if let Some(seconds) = job.start_by {
            let moment = now + std::time::Duration::from_secs(seconds);
            state.times.start_by(id, moment, seconds);
        }
        if told.at.is_some() {
            self.offer();
        }
    }

    fn claimed(&self, state: &mut State, told: &Told, token: Token) -> Option<JobId> {
        let (job, at) = (told.job?, told.started?);
        let hold = told.hold(job);
        if !state.held.has(hold) {
            state.times.started(job);
            state.changed(job, What::Started, at);
            state.turn(hold, told, Start::Recorded { at, token }, told.call_read());
        }
        Some(job)
    }

    /// A job that this node holds from now on; one that it holds already is passed over.
    pub(super) fn take_turn(&self, state: &mut State, told: &Told) {
        let Some(job) = told.job else { return };
        let hold = told.hold(job);
        let token = Token(told.token.clone());
        let start = match (told.what.as_str(), told.started) {
            ("turn", _) => Start::ToRecord,
            ("owes", _) => Start::Settle { token },
            ("runs", Some(at)) => Start::Attach { at, token },
            ("time", _) => return self.see_to(state, job, told),
            _ => {
                self.see_to(state, job, told);
                return self.offer();
            }
        };
        if start == Start::ToRecord {
            self.see_to(state, job, told);
        }
        if !state.held.has(hold) {
            state.turn(hold, told, start, told.call_read());
            if told.flag {
                state.tell(News::Wish(hold));
            }
        }
    }

    /// Notes the time that a job waits for, or within which it has to start, if any.
    fn see_to(&self, state: &mut State, job: JobId, told: &Told) {
        if told.size > 0 {
            state
                .times
                .not_before(job, self.moment_of(told.size), told.size);
        } else if let (Some(seconds), Some(submitted)) = (told.at, told.started) {
            let by = submitted.saturating_add(seconds.saturating_mul(1000));
            state.times.start_by(job, self.moment_of(by), seconds);
        }
    }

    pub(super) fn offer(&self) {
        self.0.offers.send_modify(|offers| *offers += 1);
    }

    fn closed(
        &self,
        state: &mut State,
        hold: Hold,
        end: &End,
        at: u64,
        lines: &[Told],
    ) -> Result<Closed, Lost> {
        let told = lines.first().ok_or_else(unexpected)?;
        let debt = told.flag;
        let record = match told.what.as_str() {
            "closed" => Some(Arc::new(told.end().ok_or_else(damaged)?)),
            "again" => None,
            _ => return Err(lost(told)),
        };
        let is_first = state.held.of(hold).is_some_and(|held| {
            held.owes = debt;
            !std::mem::replace(&mut held.is_over, true)
        });
        if is_first {
            match (&record, &end.then) {
                (Some(record), _) => state.ended(hold.job, record, told.size),
                (None, Then::Again { after, .. }) => {
                    state.changed(hold.job, What::BackToWait, self.wall());
                    let moment = self.0.world.now() + *after;
                    state.times.not_before(hold.job, moment, until(at, *after));
                }
                (None, Then::End(_)) => {}
            }
            state.held.let_go(hold);
        }
        Ok(Closed { end: record, debt })
    }
}

impl State {
    /// Tells of a job that has its turn.
    fn turn(
        &mut self,
        hold: Hold,
        told: &Told,
        start: Start,
        call: Answer<Option<Box<harp_jobs::record::CallRecord>>, Unreadable>,
    ) {
        self.held.add(Holding {
            hold,
            queue: told.queue,
            next: told.packets,
            started: match &start {
                Start::Recorded { at, .. } | Start::Attach { at, .. } => Some(*at),
                Start::ToRecord | Start::Settle { .. } => None,
            },
            is_over: matches!(start, Start::Settle { .. }),
            owes: matches!(start, Start::Settle { .. }),
        });
        self.tell(News::Turn(Turn {
            hold,
            start,
            packets: told.packets,
            call,
        }));
    }

    fn started(&mut self, hold: Hold, told: Option<&Told>) -> Result<u64, Lost> {
        let told = told.ok_or_else(unexpected)?;
        if told.what != "started" {
            return Err(lost(told));
        }
        let at = told.at.ok_or_else(unexpected)?;
        let is_news = self
            .held
            .of(hold)
            .is_some_and(|held| held.started.replace(at) != Some(at));
        if is_news {
            self.times.started(hold.job);
            self.changed(hold.job, What::Started, at);
        }
        Ok(at)
    }

    fn ended(&mut self, job: JobId, end: &Arc<EndRecord>, size: u64) {
        self.times.started(job);
        self.live.went(1);
        self.ended += 1;
        self.bytes += size;
        self.changed(job, What::Ended(Arc::clone(end)), end.ended);
    }

    fn withdrawn(&mut self, job: JobId, told: &Told) {
        // Whoever has its turn learns it when it is to start; a debt stays.
        self.held.withdraw(job);
        if let Some(end) = told.end() {
            self.ended(job, &Arc::new(end), told.size);
        }
    }
}

impl Told {
    fn hold(&self, job: JobId) -> Hold {
        Hold {
            job,
            attempt: self.attempt,
            owner: self.owner,
        }
    }

    fn call_read(&self) -> Answer<Option<Box<harp_jobs::record::CallRecord>>, Unreadable> {
        let call = self.call().map(|call| Some(Box::new(call)));
        Answer::now(call.ok_or_else(|| Unreadable::Damaged("the call cannot be read".into())))
    }
}

/// What has become of a request that only writes.
fn written(lines: &[Told]) -> Result<(), Lost> {
    match lines.iter().find(|told| told.what != "done") {
        None => Ok(()),
        Some(told) => Err(lost(told)),
    }
}

fn edited(edit: &PaperEdit, told: Option<&Told>) -> Result<Edited, Lost> {
    let told = told.ok_or_else(unexpected)?;
    if told.what == "done" {
        return Ok(Edited::Done);
    }
    let revision = told.at.filter(|revision| *revision > 0);
    let other = revision.map(|revision| Paper {
        id: edit.id,
        revision,
        text: told.data.clone().unwrap_or_default(),
    });
    Ok(Edited::Other(other))
}

/// Why a request was not carried out.
fn lost(told: &Told) -> Lost {
    match told.what.as_str() {
        "fenced" => Lost::Fenced,
        "taken" => told
            .end()
            .map_or_else(damaged, |end| Lost::Taken(Arc::new(end))),
        "does not follow" => Lost::Refused("these packets do not follow".into()),
        "other count" => {
            let why = format!(
                "the end counts other packets than the {} there are",
                told.packets
            );
            Lost::Refused(why.into())
        }
        _ => unexpected(),
    }
}

fn damaged() -> Lost {
    Lost::Refused("what the database has of the job cannot be read".into())
}

/// What only the functions of another release could answer.
fn unexpected() -> Lost {
    Lost::Refused("the database has answered something else".into())
}

/// Answers, if anybody waits.
fn send<T, E>(answer: Option<Receipt<T, E>>, outcome: Result<T, E>) {
    if let Some(answer) = answer {
        let _ = answer.send(outcome);
    }
}
