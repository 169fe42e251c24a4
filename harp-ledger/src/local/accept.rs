//! Taking jobs in, so that nothing accepted is lost and nothing starts that is not on disk: a
//! job enters the lineup, is recorded, and only then answered and, if it has its turn, told
//! of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::ledger::*;
use harp_jobs::lineup::Entrant;
use harp_jobs::record::LiveRecord;
use harp_values::JobId;
use tokio::sync::oneshot;

use super::{Local, State};
use crate::store::codec;
use crate::store::{Change, Claim, Deed, Done, Entry, Made, Reply, Store, StoreError, Verdict};

/// Jobs that have entered the lineup, and who waits for their being on disk.
struct Submission {
    ledger: Local,
    jobs: Vec<Entered>,
    /// `None` once it was answered that they may exist.
    answer: Option<oneshot::Sender<Result<Vec<Accepted>, NotAccepted>>>,
}

/// A job that has entered the lineup.
struct Entered {
    id: JobId,
    sequence: u64,
    has_turn: bool,
    /// It was handed in before, and is in the lineup since then.
    is_known: bool,
    /// When it starts with its record, if it does.
    started: Option<u64>,
    job: NewJob,
}

impl Local {
    pub(super) fn take_in(&self, jobs: Vec<NewJob>) -> Answer<Vec<Accepted>, NotAccepted> {
        let mut state = self.state();
        if state.takes_nothing {
            return Answer::now(Err(NotAccepted::Closed));
        }
        if let Some(why) = self.0.store.failure() {
            let (may_exist, why) = (false, why.into());
            return Answer::now(Err(NotAccepted::Storage { may_exist, why }));
        }
        let mut entered = Vec::with_capacity(jobs.len());
        for job in jobs {
            if let Some(full) = state.full(&job) {
                self.take_back(&mut state, &entered);
                return Answer::now(Err(NotAccepted::Full(full)));
            }
            entered.push(self.enter(&mut state, job));
        }
        drop(state);
        let (answer, receipt) = Local::receipt();
        let entries = entered.iter().map(Entered::entry).collect();
        let submission = Submission {
            ledger: self.clone(),
            jobs: entered,
            answer: Some(answer),
        };
        let entries: Vec<Entry> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                Box::new(submission).done(Err(error));
                return receipt;
            }
        };
        let size = entries.iter().map(|entry| entry.call.len()).sum();
        let change = Change::Deed(Deed::Accept(entries));
        let store: &Store = &self.0.store;
        store.push(JobId::NONE, size, change, Box::new(submission));
        receipt
    }

    fn enter(&self, state: &mut State, mut job: NewJob) -> Entered {
        let (id, world) = (job.id, &self.0.world);
        let is_known = state.lineup.stands(id).is_some() || state.held.contains(id);
        if is_known {
            return Entered {
                id,
                sequence: 0,
                has_turn: false,
                is_known,
                started: None,
                job,
            };
        }
        let start_by = job.start_by.map(Duration::from_secs);
        let entered = state.lineup.enter(Entrant {
            id,
            queue: job.call.queue.clone(),
            start_by: start_by.map(|left| world.now() + left),
            pool: job.minted.pool.clone(),
        });
        if let Some(queue) = &mut job.call.queue {
            queue.concurrency = entered.concurrency;
        }
        let starts = entered.has_turn && job.minted.pool.is_none();
        Entered {
            id,
            sequence: entered.sequence,
            has_turn: entered.has_turn,
            is_known,
            started: starts.then(|| world.wall().max(job.call.submitted)),
            job,
        }
    }

    /// Takes jobs back that are not recorded.
    fn take_back(&self, state: &mut State, jobs: &[Entered]) {
        for job in jobs.iter().filter(|job| !job.is_known) {
            let turns = state.lineup.forget(job.id);
            self.give(state, turns);
        }
    }

    /// Lets a job go its way that is on disk now.
    fn recorded(&self, state: &mut State, entered: Entered, is_late: bool) {
        let Entered {
            id, started, job, ..
        } = entered;
        let what = What::Submitted { is_late };
        state.changed(id, what, job.call.submitted);
        let first_due = job.start_by.and_then(|_| state.lineup.first_due());
        let turns = state.lineup.recorded(id, entered.has_turn);
        if let Some(at) = started {
            state.changed(id, What::Started, at);
            let token = job.minted.token;
            let call = Answer::now(Ok(Some(Box::new(job.call))));
            self.tell_turn(state, id, Start::Recorded { at, token }, call);
        }
        self.give(state, turns);
        if job.start_by.is_some() && state.lineup.first_due() != first_due {
            self.0.timer.notify_one();
        }
    }
}

impl State {
    /// Why there is no room for a job.
    fn full(&self, job: &NewJob) -> Option<Full> {
        let live = self.lineup.live() + self.held.count() + self.leaving.len();
        if live >= job.room.live_jobs {
            return Some(Full::LiveJobs(job.room.live_jobs));
        }
        let queue = job.call.queue.as_ref()?;
        let is_full = self.lineup.waiting(&queue.name) >= job.room.queue_length;
        is_full.then_some(Full::QueueLength(job.room.queue_length))
    }
}

impl Entered {
    /// As it is written.
    fn entry(&self) -> Result<Entry, StoreError> {
        let NewJob { call, minted, .. } = &self.job;
        let refused = |error: serde_json::Error| StoreError::Refused {
            id: self.id,
            why: error.to_string(),
        };
        Ok(Entry {
            id: self.id,
            call: Bytes::from(codec::encode_call(call).map_err(refused)?),
            live: LiveRecord {
                sequence: self.sequence,
                queue: call.queue.clone(),
                started: self.started,
                start_by: self.job.start_by,
                submitted: call.submitted,
                pool: minted.pool.clone(),
                // Of one that waits another is noted when it starts.
                token: match self.started {
                    Some(_) => minted.token.clone(),
                    None => Token::default(),
                },
                ..LiveRecord::UNKNOWN
            },
            claim: Claim::of(call, self.job.unless_since),
            is_known: self.is_known,
        })
    }
}

impl Reply for Submission {
    fn done(mut self: Box<Self>, done: Result<Done, StoreError>) {
        let jobs = std::mem::take(&mut self.jobs);
        let accepted = match done {
            Ok(Done::Made(Made::Accepted(verdicts))) => Ok(self.accepted(jobs, verdicts)),
            other => {
                self.ledger.take_back(&mut self.ledger.state(), &jobs);
                Err(match other {
                    Ok(Done::Made(Made::KeyTaken)) => NotAccepted::KeyTaken,
                    Err(StoreError::Closed) => NotAccepted::Closed,
                    Err(error) => storage(false, &error),
                    Ok(_) => NotAccepted::Closed,
                })
            }
        };
        if let Some(answer) = self.answer {
            // Whoever asked may be gone.
            let _ = answer.send(accepted);
        }
    }

    fn put_off(&mut self, error: &StoreError) -> bool {
        let may_exist = matches!(error, StoreError::UnknownOutcome(_));
        let Some(answer) = self.answer.take() else {
            // They may be on disk since another round.
            return true;
        };
        let _ = answer.send(Err(storage(may_exist, error)));
        if !may_exist {
            self.ledger.take_back(&mut self.ledger.state(), &self.jobs);
        }
        // Were they on disk without anybody knowing, they would be stuck until the next start.
        may_exist
    }
}

impl Submission {
    fn accepted(&self, jobs: Vec<Entered>, verdicts: Vec<Verdict>) -> Vec<Accepted> {
        let mut state = self.ledger.state();
        let is_late = self.answer.is_none();
        let each = jobs.into_iter().zip(verdicts);
        each.map(|(job, verdict)| {
            let id = job.id;
            match verdict {
                Verdict::New => {
                    self.ledger.recorded(&mut state, job, is_late);
                    Accepted::New(id)
                }
                Verdict::Known => {
                    self.ledger.take_back(&mut state, &[job]);
                    Accepted::New(id)
                }
                Verdict::Before(before) => {
                    self.ledger.take_back(&mut state, &[job]);
                    Accepted::Before(before)
                }
            }
        })
        .collect()
    }
}

fn storage(may_exist: bool, error: &StoreError) -> NotAccepted {
    NotAccepted::Storage {
        may_exist,
        why: Arc::from(error.to_string()),
    }
}
