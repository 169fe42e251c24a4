//! What a start does with the jobs that have not ended, and with those that owe something:
//! its first news are the debts, then the jobs that run at their hosts and are to be attached
//! to, then those that have their turn.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use harp_jobs::failures;
use harp_jobs::ledger::room::Memory;
use harp_jobs::ledger::*;
use harp_jobs::record::{EndRecord, LiveRecord, Remarks};
use harp_jobs::world::{Phase, World};
use harp_values::{JobId, Outcome};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{error, info, warn};

use super::held::Held;
use super::{Again, Local, Shared, State};
use crate::store::{PlaceAfter, Store, StoreError};

impl Local {
    /// Opens the ledger that a store keeps. Jobs that waited wait again, at their old places;
    /// unless `resume_queued`, they end with `missing_result`. Those that came with a copy of
    /// another store are held.
    ///
    /// # Errors
    ///
    /// If the store cannot be read or written; nobody must be let in then.
    pub async fn open(
        store: Store,
        world: Arc<dyn World>,
        resume_queued: bool,
    ) -> Result<Local, StoreError> {
        let owner = store.note_start().await?;
        for job in store.damaged_live().await? {
            end_damaged(&store, &*world, job).await?;
        }
        let found = Found::read(&store).await?;
        let mut papers = Vec::new();
        for kind in PaperKind::ALL {
            papers.extend(store.papers(kind).await?);
        }
        let (tells, news) = mpsc::unbounded_channel();
        let ledger = Local(Arc::new(Shared {
            store,
            world: Arc::clone(&world),
            owner,
            state: Mutex::new(State {
                news: Some(news),
                tells: Some(tells),
                papers: papers.into_iter().map(|paper| (paper.id, paper)).collect(),
                ..State::default()
            }),
            timer: Notify::new(),
            memory: Arc::new(Memory::default()),
            offers: watch::Sender::new(0),
        }));
        ledger.take_up(found, resume_queued);
        let due = Box::pin(ledger.clone().serve_the_due());
        world.spawn("ledger's timer", Phase::News, due);
        Ok(ledger)
    }

    fn take_up(&self, found: Found, resume_queued: bool) {
        let mut state = self.state();
        let state = &mut *state;
        let Found {
            live,
            debts,
            held,
            packets,
        } = found;
        let lives: HashSet<JobId> = live.iter().map(|(job, _)| *job).collect();
        for (job, again) in packets {
            state.again.insert(job, again);
        }
        // All places are kept before anybody gets a turn.
        for (job, debt) in &debts {
            if lives.contains(job) {
                state.lineup.keep_for_debt(*job, debt.queue.as_ref());
            } else {
                let queue = debt.queue.clone();
                state.lineup.keep(*job, queue, debt.sequence, true);
            }
        }
        let (run, wait): (Vec<_>, Vec<_>) =
            live.into_iter().partition(|(_, job)| job.started.is_some());
        for (job, record) in &run {
            let queue = record.queue.clone();
            state.lineup.keep(*job, queue, record.sequence, false);
        }
        for (job, debt) in debts {
            let start = Start::Settle { token: debt.token };
            let attempt = debt.attempt;
            self.tell_start(state, job, attempt, start);
        }
        for (job, record) in run {
            let at = record.started.unwrap_or_default();
            let start = Start::Attach {
                at,
                token: record.token,
            };
            self.tell_start(state, job, record.attempt, start);
        }
        self.take_up_waiting(state, wait, &held, resume_queued);
    }

    fn tell_start(&self, state: &State, job: JobId, attempt: u32, start: Start) {
        let packets = state.again.get(&job).map_or(0, |again| again.packets);
        let hold = Hold {
            job,
            attempt,
            owner: self.0.owner,
        };
        let call = self.call_of(job);
        state.tell(News::Turn(Turn {
            hold,
            start,
            packets,
            call,
        }));
    }

    fn take_up_waiting(
        &self,
        state: &mut State,
        waiting: Vec<(JobId, LiveRecord)>,
        held: &HashSet<JobId>,
        resume_queued: bool,
    ) {
        if !resume_queued {
            let jobs: Vec<_> = waiting.into_iter().map(|(job, _)| job).collect();
            let outcome = Outcome::Error(failures::missing_result());
            return self.end_unstarted(state, jobs, &outcome, None);
        }
        let (held, resumed): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(job, _)| held.contains(job));
        if !resumed.is_empty() {
            info!(jobs = resumed.len(), "jobs wait in their queues again");
        }
        for (job, record) in resumed {
            let start_by = self.start_by(&record);
            self.line_up(state, job, record, start_by);
        }
        if !held.is_empty() {
            warn!(
                jobs = held.len(),
                "jobs are held until \"harpcallerd resume\" or a cancel: they came with a copy \
                 of a store, whose dispatcher may have run them"
            );
        }
        for (job, record) in held {
            let start_by = self.start_by(&record);
            state.held.add(job, Held { record, start_by });
        }
    }
}

/// What is on record at a start.
struct Found {
    /// In the order of their numbers.
    live: Vec<(JobId, LiveRecord)>,
    debts: Vec<(JobId, LiveRecord)>,
    held: HashSet<JobId>,
    /// Of those that have, or may have, packets or had another attempt.
    packets: HashMap<JobId, Again>,
}

impl Found {
    async fn read(store: &Store) -> Result<Found, StoreError> {
        let live = store.live().await?;
        let mut packets = HashMap::new();
        for (job, record) in &live {
            if record.started.is_some() || record.attempt > 1 {
                let again = Again {
                    attempt: record.attempt,
                    packets: count(store, *job).await?,
                };
                packets.insert(*job, again);
            }
        }
        Ok(Found {
            live,
            debts: store.kept_places().await?,
            held: store.held().await?.into_iter().collect(),
            packets,
        })
    }
}

/// Ends a job of which it cannot be read any more whether it waited or ran.
async fn end_damaged(store: &Store, world: &dyn World, job: JobId) -> Result<(), StoreError> {
    let why = "the record of where the job stood is damaged";
    error!(%job, "{why}; the job is ended with storage_error");
    let record = EndRecord {
        started: None,
        ended: world.wall(),
        packets: count(store, job).await?,
        outcome: Outcome::Error(failures::storage(&why)),
        remarks: Remarks::default(),
    };
    store.end(job, &record, PlaceAfter::Free).await.map(drop)
}

/// How many packets a job has; of damaged ones those that can be read.
async fn count(store: &Store, job: JobId) -> Result<u64, StoreError> {
    match store.packet_count(job).await {
        Err(error @ StoreError::Corrupt { .. }) => {
            error!("{error}");
            store.readable_packets(job).await
        }
        count => count,
    }
}
