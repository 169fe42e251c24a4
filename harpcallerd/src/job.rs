//! One job's life from its start to its end: the only writer of it.
//!
//! The task that runs here reads the host's messages, hands packets to the store and
//! shows them once they are on disk, and ends the job at the first of: the host's last
//! message, a fault, a limit, a cancellation, the dispatcher's stop. What ended it is
//! written before it is shown. Then the host is given time to be done with it.

mod bounds;
mod failures;
mod recording;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harp_client::direct::{Connection, Event, HostCall, HostError, Limits};
use harp_client::tls::Trust;
use harp_proto::{Outcome, host};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock;
use crate::hosts::{Host, Hosts};
use crate::jobs::{Jobs, LiveJob};
use crate::record::{CallRecord, EndRecord};
use crate::store::{Finished, Store, StoreError};
use bounds::Bounds;
use recording::Recording;

pub(crate) use failures::missing_result;

/// The limits of every execution (daemon specification, configuration).
#[derive(Debug, Clone)]
pub struct ExecutionLimits {
    /// Longest silence of a host unless the call says otherwise.
    pub default_timeout: Duration,
    /// Longest execution; also the ceiling of what a call may ask.
    pub max_exec_time: Duration,
    /// For resolving, connecting, TLS and acknowledgement, in all.
    pub connect_timeout: Duration,
    /// How long a queue's place is kept after a job's end for a host that is not done.
    pub slot_grace: Duration,
    /// Greatest JSON text of one packet or result in bytes.
    pub max_packet_size: usize,
}

/// What a job needs to run.
#[derive(Debug)]
pub struct Runner {
    store: Store,
    hosts: Arc<Hosts>,
    trust: Trust,
    limits: ExecutionLimits,
    interrupt: CancellationToken,
}

/// How far a job's record has come when it gets its place.
#[derive(Debug)]
pub enum Start {
    /// The start is on disk with the submission.
    Recorded {
        /// The call.
        call: Box<CallRecord>,
        /// When it started, in milliseconds since 1970.
        started: u64,
    },
    /// The job waited; its start is still to be written.
    ToRecord,
}

/// The end of a job, as it is to be recorded.
#[derive(Debug)]
pub struct End {
    /// When the job started, if it did, in milliseconds since 1970.
    pub started: Option<u64>,
    /// How many packets it has.
    pub packets: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A job under way.
struct Execution<'r> {
    runner: &'r Runner,
    live: &'r LiveJob,
    call: CallRecord,
    /// When the start was recorded, in milliseconds since 1970.
    started: Option<u64>,
    bounds: Bounds<'r>,
    packets: Recording,
}

impl Runner {
    /// A runner. `interrupt` ends every running job with `missing_result`.
    #[must_use]
    pub fn new(
        store: Store,
        hosts: Arc<Hosts>,
        trust: Trust,
        limits: ExecutionLimits,
        interrupt: CancellationToken,
    ) -> Runner {
        Runner {
            store,
            hosts,
            trust,
            limits,
            interrupt,
        }
    }

    /// Runs a job, records its end, takes it out of the live jobs, and returns when its
    /// host is done with it or `slot_grace` is over.
    pub async fn run(&self, live: &LiveJob, start: Start, jobs: &Jobs) {
        // A fault of this program in one job must not take others along.
        let life = AssertUnwindSafe(self.live(live, start, jobs));
        if life.catch_unwind().await.is_err() {
            error!("the job met a fault of this program and is ended; please report it");
            let end = End {
                started: Some(clock::now()),
                packets: live.watch().borrow().packets,
                outcome: Outcome::Error(failures::internal()),
            };
            self.end(live, end, jobs).await;
        }
    }

    async fn live(&self, live: &LiveJob, start: Start, jobs: &Jobs) {
        let begun = Instant::now();
        let (call, started) = match start {
            Start::Recorded { call, started } => (*call, Some(started)),
            Start::ToRecord => match self.store.job(live.id).await {
                Ok(Some(job)) => (job.call, None),
                missing => {
                    let why = missing.err().map_or_else(
                        || "the job's record is gone".to_owned(),
                        |error| error.to_string(),
                    );
                    let outcome = Outcome::Error(failures::storage(why));
                    return self
                        .end(
                            live,
                            End {
                                started: None,
                                packets: 0,
                                outcome,
                            },
                            jobs,
                        )
                        .await;
                }
            },
        };
        let mut execution = Execution {
            runner: self,
            live,
            bounds: Bounds::new(live, &self.interrupt, begun, &call, &self.limits),
            packets: Recording::new(self.store.clone(), live.id),
            call,
            started,
        };
        let mut connection = None;
        let outcome = execution.execute(begun, &mut connection).await;
        info!(
            host = execution.call.host,
            procedure = execution.call.procedure,
            outcome = outcome.name(),
            seconds = begun.elapsed().as_secs_f32(),
            "job ended"
        );
        let end = End {
            started: execution.started,
            packets: execution.packets.next_number(),
            outcome,
        };
        // The host is told at once; its place in the queue is free only when it is done.
        let told = async {
            if let Some(call) = connection {
                // Without an answer in time there is nothing more to wait for.
                let _ = timeout(self.limits.slot_grace, call.cancel()).await;
            }
        };
        let recorded = async {
            // The store writes in order: once the end is on disk, so are the packets.
            let (outcome, ()) =
                tokio::join!(self.record(live, end), execution.packets.finish(live));
            show(live, outcome, jobs);
        };
        tokio::join!(told, recorded);
    }

    /// Records how a job ended, shows it, and takes the job out of the live ones.
    pub async fn end(&self, live: &LiveJob, end: End, jobs: &Jobs) {
        let outcome = self.record(live, end).await;
        show(live, outcome, jobs);
    }

    /// Records how a job ended. Goes on trying while the store cannot be written, until
    /// the dispatcher stops; then there is nothing to show, the job stays live in the
    /// store, and the next start decides about it.
    async fn record(&self, live: &LiveJob, end: End) -> Option<Outcome> {
        let record = EndRecord {
            started: end.started,
            ended: clock::now().max(end.started.unwrap_or_default()),
            packets: end.packets,
            outcome: end.outcome,
        };
        let mut pause = Duration::from_millis(100);
        loop {
            let error = match self.store.finish(live.id, record.clone()).await {
                Ok(Finished::Now) => return Some(record.outcome),
                // An attempt of unknown outcome had succeeded.
                Ok(Finished::Before(stored)) => return Some(stored.outcome),
                Err(error) => error,
            };
            live.announce_unrecorded();
            error!(job = %live.id, %error, "the end of the job cannot be recorded, trying again");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                () = self.interrupt.cancelled() => return None,
            }
        }
    }
}

/// Shows an end that is on disk.
fn show(live: &LiveJob, outcome: Option<Outcome>, jobs: &Jobs) {
    if let Some(outcome) = outcome {
        live.announce_end(Arc::new(outcome));
        jobs.remove(live.id);
    }
}

impl Execution<'_> {
    /// The call to the host, up to what ends the job. A host that may still be busy with
    /// it afterwards is left in `connection`.
    async fn execute(&mut self, begun: Instant, connection: &mut Option<HostCall>) -> Outcome {
        let Some(host) = self.runner.hosts.get(&self.call.host) else {
            return Outcome::Error(failures::unknown_host(&self.call.host));
        };
        let mut call = match self.send(begun, &host).await {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let outcome = match self.acknowledged(begun, &mut call).await {
            Ok(()) => self.receive(&mut call).await,
            Err(outcome) => Err(outcome),
        };
        match outcome {
            // The host has said its last word and is done.
            Ok(outcome) => outcome,
            Err(outcome) => {
                *connection = Some(call);
                outcome
            }
        }
    }

    /// Connects while the start is being recorded, then sends the request.
    async fn send(&mut self, begun: Instant, host: &Host) -> Result<HostCall, Outcome> {
        let started = match self.started {
            Some(_) => None,
            None => Some(clock::now().max(self.call.submitted)),
        };
        let limits = Limits {
            max_packet_size: self.runner.limits.max_packet_size,
        };
        let by = begun + self.runner.limits.connect_timeout;
        let record = async {
            match started {
                Some(started) => self.runner.store.start(self.live.id, started).await,
                None => Ok(()),
            }
        };
        let connect = Connection::open(&host.endpoint, &self.runner.trust, limits, by);
        let opened = tokio::select! {
            biased;
            outcome = self.bounds.cut_short(Some(begun)) => return Err(outcome),
            opened = async { tokio::join!(record, connect) } => opened,
        };
        let (recorded, connected) = opened;
        recorded
            .map_err(|error: StoreError| Outcome::Error(failures::storage(error.to_string())))?;
        self.started = self.started.or(started);
        let connection = connected.map_err(host_fault)?;
        let request = host::Request {
            procedure: self.call.procedure.clone(),
            arguments: self.call.arguments.clone(),
            user: host.user.clone(),
            password: host.password.clone(),
        };
        // Not given up half-way for a cancellation: from the line's last byte on the host
        // may be at work, and must then be told.
        let by = by.min(self.bounds.first_limit(Some(begun)));
        match connection.send(&request, by).await {
            Ok(call) => Ok(call),
            Err(error) => match self.bounds.cut_short(Some(begun)).now_or_never() {
                Some(outcome) => Err(outcome),
                None => Err(host_fault(error)),
            },
        }
    }

    async fn acknowledged(&self, begun: Instant, call: &mut HostCall) -> Result<(), Outcome> {
        let by = begun + self.runner.limits.connect_timeout;
        tokio::select! {
            biased;
            outcome = self.bounds.cut_short(Some(begun)) => Err(outcome),
            acknowledged = call.acknowledged(by) => acknowledged.map_err(host_fault),
        }
    }

    /// Takes packets until the end: `Ok` if the host ended the call, `Err` if we did.
    async fn receive(&mut self, call: &mut HostCall) -> Result<Outcome, Outcome> {
        enum Step {
            CutShort(Outcome),
            Stored(Result<(), StoreError>),
            Message(Result<Event, HostError>),
        }
        let live = self.live;
        let mut heard = Instant::now();
        loop {
            // A host that is not read, because the disk is behind, is not silent.
            let reading = self.packets.has_room();
            let step = tokio::select! {
                biased;
                outcome = self.bounds.cut_short(reading.then_some(heard)) => Step::CutShort(outcome),
                stored = self.packets.stored(live), if self.packets.is_pending() => Step::Stored(stored),
                message = call.next(), if reading => Step::Message(message),
            };
            let message = match step {
                Step::CutShort(outcome) => {
                    // What had arrived when the job was cut short is kept.
                    self.packets.take_arrived(call).await;
                    return Err(outcome);
                }
                Step::Stored(stored) => {
                    if !reading {
                        heard = Instant::now();
                    }
                    stored.map_err(|error| Outcome::Error(failures::storage(error.to_string())))?;
                    continue;
                }
                Step::Message(message) => message,
            };
            heard = Instant::now();
            match self.packets.take(message, call).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(recording::Fault::Host(error)) => return Err(host_fault(error)),
                Err(recording::Fault::Store(error)) => {
                    return Err(Outcome::Error(failures::storage(error.to_string())));
                }
            }
        }
    }
}

fn host_fault(error: HostError) -> Outcome {
    // Network faults are everyday; what they are is in the job's outcome too.
    warn!(%error, "call to the host failed");
    Outcome::Error(error.to_failure())
}
