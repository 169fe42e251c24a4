//! Taking jobs in: the order of things so that nothing accepted is lost and nothing starts
//! that is not on disk. A job enters the lineup, is recorded, and only then answered and, if
//! it has its turn, told of.

use std::time::Duration;

use harp_jobs::lineup::Entrant;
use harp_proto::JobId;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use super::{Ledger, Limited, News};
use crate::call::NewCall;
use crate::client::Identity;
use crate::clock;
use crate::record::{CallRecord, LiveRecord, QueueRecord};
use crate::refusal::{Full, Refusal};
use crate::store::{StoreError, Submitted};

/// What a submission has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Whether an earlier submission with the same key had made it.
    pub existing: bool,
}

/// A job that has its turn or waits for it, and is not recorded yet.
struct Admitted {
    job: JobId,
    call: CallRecord,
    record: LiveRecord,
    unless_since: Option<u64>,
}

impl Ledger {
    /// Accepts a call and returns its job once that is on disk: a new one, or the one
    /// that its key stands for.
    ///
    /// Cancel safe in this sense: once begun, the submission goes on when the future is
    /// dropped; the job then exists although nobody was told its id. `told` is told what has
    /// come of it all the same.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closing`], [`Refusal::Full`], [`Refusal::KeyTaken`], or
    /// [`Refusal::CallNotRecorded`] with what is known of the job.
    pub async fn accept(
        &self,
        call: NewCall,
        client: Option<&Identity>,
        told: impl FnOnce(&Result<Accepted, Refusal>) + Send + 'static,
    ) -> Result<Accepted, Refusal> {
        // Counted from before the check, so that a stop waits for it.
        let counted = self.0.tasks.token();
        let admitted = match self.admit(call, client) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let refused = Err(refusal);
                told(&refused);
                return refused;
            }
        };
        let (ledger, job) = (self.clone(), admitted.job);
        let recording = async move {
            let _counted = counted;
            let recorded = ledger.record(admitted).await;
            told(&recorded);
            recorded
        };
        // Whoever has submitted it stands in the log.
        match tokio::spawn(recording.in_current_span()).await {
            Ok(answer) => answer,
            // A fault of this program in one submission must not block its queue.
            Err(panic) => {
                self.forget(job);
                Err(Refusal::CallNotRecorded {
                    may_exist: true,
                    why: panic.to_string(),
                })
            }
        }
    }

    fn admit(&self, call: NewCall, client: Option<&Identity>) -> Result<Admitted, Refusal> {
        let submitted = clock::now();
        let job = JobId::submitted_at(submitted);
        let (max_live_jobs, max_queue_length) = {
            let limits = self.0.clients.borrow();
            (limits.max_live_jobs, limits.max_queue_length)
        };
        let mut state = self.state();
        if state.is_closed {
            return Err(Refusal::Closing);
        }
        if state.lineup.live() + state.leaving.len() + state.held.count() >= max_live_jobs {
            return Err(Refusal::Full(Full::LiveJobs(max_live_jobs)));
        }
        if let Some(queue) = &call.queue
            && state.lineup.waiting(&queue.name) >= max_queue_length
        {
            return Err(Refusal::Full(Full::Queue(max_queue_length)));
        }
        let mut queue = call.queue.map(|queue| QueueRecord {
            name: queue.name,
            concurrency: queue.concurrency,
        });
        let start_by = call.start_by.map(Duration::from_secs);
        let entered = state.lineup.enter(Entrant {
            id: job,
            queue: queue.clone(),
            start_by: start_by.map(|left| self.moment(Instant::now()) + left),
            pool: None,
        });
        let sequence = entered.sequence;
        if let Some(seconds) = call.start_by
            && !entered.has_turn
        {
            state.start_by.insert(job, Limited { seconds, sequence });
        }
        drop(state);
        if let Some(queue) = &mut queue {
            queue.concurrency = entered.concurrency;
        }
        Ok(Admitted {
            job,
            record: LiveRecord {
                sequence,
                queue: queue.clone(),
                submitted,
                started: entered.has_turn.then_some(submitted),
                start_by: call.start_by,
                ..LiveRecord::UNKNOWN
            },
            call: CallRecord {
                host: call.host,
                procedure: call.procedure,
                arguments: call.arguments,
                info: call.info,
                timeout: call.timeout,
                max_exec_time: call.max_exec_time,
                queue,
                client: client.map(|client| client.as_str().to_owned()),
                key: call.key,
                submitted,
            },
            unless_since: call.unless_since,
        })
    }

    async fn record(self, admitted: Admitted) -> Result<Accepted, Refusal> {
        let job = admitted.job;
        match self.try_to_record(&admitted).await {
            Ok(Submitted::Now) => {
                self.recorded(admitted);
                Ok(Accepted {
                    job,
                    existing: false,
                })
            }
            Ok(Submitted::Before(before)) => {
                self.forget(job);
                info!(job = %before, "submitted again under its key");
                Ok(Accepted {
                    job: before,
                    existing: true,
                })
            }
            Ok(Submitted::KeyTaken) => {
                self.forget(job);
                Err(Refusal::KeyTaken)
            }
            Err(error) => {
                let may_exist = matches!(error, StoreError::UnknownOutcome(_));
                let why = error.to_string();
                match may_exist {
                    true => drop(self.0.tasks.spawn(self.clone().find_out(admitted))),
                    false => self.forget(job),
                }
                Err(Refusal::CallNotRecorded { may_exist, why })
            }
        }
    }

    async fn try_to_record(&self, admitted: &Admitted) -> Result<Submitted, StoreError> {
        let Admitted {
            job,
            call,
            record,
            unless_since,
        } = admitted;
        let submitted = self.0.store.submit_once(*job, call, record, *unless_since);
        submitted.await.inspect_err(|error| {
            warn!(%job, host = call.host, procedure = call.procedure, %error, "job not recorded");
        })
    }

    /// Finds out about a job that may be on disk or not, as soon as the store can be
    /// written again, and sees to it that it is: were it there without anybody knowing,
    /// it would be stuck until the next start. A stop leaves it to that start.
    async fn find_out(self, admitted: Admitted) {
        let mut pause = Duration::from_millis(100);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                () = self.0.closed.cancelled() => return,
            }
            match self.try_to_record(&admitted).await {
                Ok(Submitted::Now) => return self.recorded(admitted),
                Ok(Submitted::Before(_) | Submitted::KeyTaken)
                | Err(StoreError::Refused { .. }) => return self.forget(admitted.job),
                Err(StoreError::Closed) => return,
                // It may still be on disk, also where that cannot be read.
                Err(_) => {}
            }
        }
    }

    /// Lets a job go its way that is on disk now.
    fn recorded(&self, admitted: Admitted) {
        let Admitted {
            job, call, record, ..
        } = admitted;
        let queue = call.queue.as_ref().map(|queue| queue.name.as_str());
        info!(%job, host = call.host, procedure = call.procedure, queue, "job accepted");
        let mut state = self.state();
        let turns = state.lineup.recorded(job, record.started.is_some());
        if let Some(at) = record.started {
            let call = Box::new(call);
            self.tell(News::Started { job, call, at });
        }
        self.give(turns);
        drop(state);
        if record.started.is_none() && record.start_by.is_some() {
            self.0.new_first_due.notify_one();
        }
    }

    /// Takes a job back that is not recorded.
    fn forget(&self, job: JobId) {
        let mut state = self.state();
        state.start_by.remove(&job);
        let turns = state.lineup.forget(job);
        self.give(turns);
    }
}
