//! One job's life from its start to its end: the only writer of it.
//!
//! The task that runs here reads the host's messages, hands packets to the store and
//! shows them once they are on disk, and ends the job at the first of: the host's last
//! message, a fault, a limit, a cancellation, the dispatcher's stop. What ended it is
//! written before it is shown. Then the host is given time to be done with it.

mod bounds;
mod last_words;
mod place;
mod recording;
mod unstarted;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harp_budget::Share;
use harp_host::limit::within;
use harp_host::{Cancel, Connection, Event, HostCall, HostError, HostErrorKind, Limits, Parting};
use harp_jobs::failures;
use harp_jobs::output::Output;
use harp_proto::{Failure, Json, Outcome, host};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, error, info, warn};

use crate::audit::Audit;
use crate::clock;
use crate::host_attempts::{Attempts, HostAttempts, Turn};
use crate::hosts::{Host, Hosts};
use crate::jobs::{Jobs, LiveJob};
use crate::record::{CallRecord, EndRecord};
use crate::rules::Rules;
use crate::store::{Finished, Place, Store, StoreError};
use bounds::Bounds;
use recording::Recording;

pub(crate) use failures::{missing_result, storage as storage_failure};
pub(crate) use place::release as release_place;
use unstarted::Unstarted;
pub(crate) use unstarted::overdue;

/// What a job needs to run.
#[derive(Debug)]
pub struct Runner {
    store: Store,
    hosts: Arc<Hosts>,
    attempts: HostAttempts,
    rules: watch::Receiver<Arc<Rules>>,
    audit: Audit,
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
    rules: Arc<Rules>,
    live: &'r LiveJob,
    call: CallRecord,
    /// When the job left its queue, in milliseconds since 1970.
    started: u64,
    /// Whether that is on disk.
    is_recorded: bool,
    bounds: Bounds<'r>,
    packets: Recording,
    /// Whether the host may have got the request, or a part of it.
    is_sent: bool,
    /// What a large result holds until it is recorded.
    result: Option<Share>,
}

impl Runner {
    /// A runner. `interrupt` ends every running job with `missing_result`.
    #[must_use]
    pub fn new(
        store: Store,
        hosts: Arc<Hosts>,
        rules: watch::Receiver<Arc<Rules>>,
        audit: Audit,
        interrupt: CancellationToken,
    ) -> Runner {
        Runner {
            store,
            hosts,
            attempts: HostAttempts::default(),
            rules,
            audit,
            interrupt,
        }
    }

    /// Runs a job, records its end, takes it out of the live jobs, and returns when its
    /// host is done with it or `slot_grace` is over; then with the moment until which the
    /// job's place is to be kept for a host that may not know of the end.
    pub async fn run(&self, live: &LiveJob, start: Start, jobs: &Jobs) -> Option<Instant> {
        // A fault of this program in one job must not take others along.
        let life = AssertUnwindSafe(self.live(live, start, jobs));
        let kept = life.catch_unwind().await;
        if kept.is_err() {
            error!("the job met a fault of this program and is ended; please report it");
            let end = End {
                started: Some(clock::now()),
                packets: live.watch().borrow().packets,
                outcome: Outcome::Error(failures::internal()),
            };
            self.end(live, end, jobs).await;
        }
        // Where nobody could say anything about the host, nothing is known of it.
        live.announce_host(Cancel::Unconfirmed);
        kept.unwrap_or_default()
    }

    async fn live(&self, live: &LiveJob, start: Start, jobs: &Jobs) -> Option<Instant> {
        let (call, recorded) = match start {
            Start::Recorded { call, started } => (*call, Some(started)),
            Start::ToRecord => match self.waiting_call(live).await {
                Ok(call) => (call, None),
                Err(unstarted) => {
                    self.not_started(live, unstarted, jobs).await;
                    return None;
                }
            },
        };
        let begun = Instant::now();
        let execution = self.begin(live, call, recorded, begun);
        self.complete(execution, begun, jobs).await
    }

    /// The call of a job that waited, once its start can be recorded and the call be
    /// read: until then the job goes on waiting, as long as it may.
    async fn waiting_call(&self, live: &LiveJob) -> Result<CallRecord, Unstarted> {
        self.start_recordable(live).await?;
        let call = self.store.patiently(|| self.store.job(live.id));
        match unstarted::wait(live, &self.interrupt, call).await? {
            Some(job) => Ok(job.call),
            None => Err(unstarted::ended(&"the job's record is gone")),
        }
    }

    /// Waits until the start of a job can be recorded, as long as the job may wait.
    async fn start_recordable(&self, live: &LiveJob) -> Result<(), Unstarted> {
        unstarted::wait(live, &self.interrupt, self.store.writable()).await
    }

    async fn not_started(&self, live: &LiveJob, unstarted: Unstarted, jobs: &Jobs) {
        let Unstarted::Ended(outcome) = unstarted else {
            return debug!("the job waits for the next start");
        };
        info!(outcome = outcome.name(), "job ended before its start");
        let end = End {
            started: None,
            packets: 0,
            outcome,
        };
        self.end_waiting(live, end, jobs).await;
    }

    /// The execution of a call. `recorded` is when it started, if that is on disk.
    fn begin<'r>(
        &'r self,
        live: &'r LiveJob,
        mut call: CallRecord,
        recorded: Option<u64>,
        begun: Instant,
    ) -> Execution<'r> {
        // It has left its queue, whatever comes of it.
        let started = recorded.unwrap_or_else(|| clock::now().max(live.id.submitted()));
        let span = Span::current();
        span.record("host", call.host.as_str());
        span.record("procedure", call.procedure.as_str());
        // Nobody asks a running job for it, and it can be large.
        call.info = Json::NULL;
        let rules = Arc::clone(&self.rules.borrow());
        Execution {
            runner: self,
            live,
            bounds: Bounds::new(live, &self.interrupt, begun, &call, &rules.limits),
            packets: Recording::new(
                self.store.clone(),
                live.id,
                Output::new(rules.limits.output, 0),
            ),
            rules,
            call,
            started,
            is_recorded: recorded.is_some(),
            is_sent: false,
            result: None,
        }
    }

    /// Carries the call out and ends the job, whatever became of it. Returns what
    /// [`Runner::run`] does.
    async fn complete(
        &self,
        mut execution: Execution<'_>,
        begun: Instant,
        jobs: &Jobs,
    ) -> Option<Instant> {
        let live = execution.live;
        let (outcome, mut left) = match execution.execute(begun).await {
            Ok(ended) => ended,
            Err(unstarted) => {
                self.not_started(live, unstarted, jobs).await;
                return None;
            }
        };
        info!(
            outcome = outcome.name(),
            seconds = begun.elapsed().as_secs_f32(),
            "job ended"
        );
        if let Left::Call(call) = &mut left
            && last_words::are_wanted(&outcome, call)
        {
            let packets = &mut execution.packets;
            let limits = &execution.rules.limits;
            let time = limits.last_words.min(limits.slot_grace);
            if last_words::take(packets, call, live, time, &self.interrupt).await {
                live.announce_host(Cancel::Confirmed);
                left = Left::Nothing;
            }
        }
        let end = End {
            started: Some(execution.started),
            packets: execution.packets.count(),
            outcome,
        };
        let limits = &execution.rules.limits;
        let (slot_grace, break_grace) = (limits.slot_grace, limits.break_grace);
        let place = match left {
            Left::Nothing => Place::Free,
            Left::Unknown if break_grace.is_zero() => Place::Free,
            Left::Unknown | Left::Call(_) => Place::Kept,
        };
        // The host is told at once. What it goes on sending is read only when the end is
        // recorded, so that a flood does not delay that.
        let ended = Instant::now();
        let done_by = ended + slot_grace;
        let told = async {
            if let Left::Call(call) = &mut left {
                let _ = within(done_by, call.tell_cancel()).await;
            }
        };
        let recorded = async {
            let packets = &mut execution.packets;
            let outcome = self.record(live, end, place, packets).await;
            self.show(live, outcome, jobs);
        };
        tokio::join!(told, recorded);
        let is_sent = execution.is_sent;
        let (host, knows) = left.wait_until(done_by, is_sent).await;
        live.announce_host(host);
        if execution.call.queue.is_none() || matches!(place, Place::Free) {
            return None;
        }
        if knows || break_grace.is_zero() {
            release_place(&self.store, live.id).await;
            return None;
        }
        info!(
            seconds = break_grace.as_secs(),
            "the host may not know of the end; the job's place in its queue is kept"
        );
        Some(ended + break_grace)
    }

    /// Records how a job ended, shows it, and takes the job out of the live ones.
    pub async fn end(&self, live: &LiveJob, end: End, jobs: &Jobs) {
        let mut packets = self.recording(live);
        let outcome = self.record(live, end, Place::Free, &mut packets).await;
        self.show(live, outcome, jobs);
    }

    /// The same for a job that its host was never asked for: nothing can be left there.
    pub async fn end_waiting(&self, live: &LiveJob, end: End, jobs: &Jobs) {
        self.end(live, end, jobs).await;
        live.announce_host(Cancel::Confirmed);
    }

    /// Records how a job ended, behind the packets that are on their way. Goes on trying
    /// while the store cannot be written, until the dispatcher stops; then there is
    /// nothing to show, the job stays live in the store, and the next start decides about
    /// it.
    async fn record(
        &self,
        live: &LiveJob,
        end: End,
        place: Place,
        packets: &mut Recording,
    ) -> Option<Outcome> {
        let mut record = EndRecord {
            started: end.started,
            ended: clock::now().max(end.started.unwrap_or(live.id.submitted())),
            packets: end.packets,
            outcome: end.outcome,
        };
        let mut pause = Duration::from_millis(100);
        // Those that the store had no room for come before the end that counts them.
        // Where they cannot be stored, the end says so below.
        let _ = packets.hand_over().await;
        loop {
            let error = match self.store.finish(live.id, &record, place).await {
                // The store takes no end before the packets that it counts.
                Ok(finished) => {
                    packets.all_stored(live);
                    return Some(match finished {
                        Finished::Now => record.outcome,
                        // An attempt of unknown outcome had succeeded.
                        Finished::Before(stored) => stored.outcome,
                    });
                }
                // An attempt of unknown outcome had succeeded, and the job is pruned.
                Err(StoreError::NotLive(_)) => {
                    packets.all_stored(live);
                    return Some(record.outcome);
                }
                Err(error) => error,
            };
            live.announce_unrecorded();
            warn!(job = %live.id, %error, "the end of the job cannot be recorded, trying again");
            let again = async {
                tokio::time::sleep(pause).await;
                // A closed store says so at the next attempt.
                let _ = self.store.writable().await;
                packets.finish(live).await
            };
            let stored = tokio::select! {
                stored = again => stored,
                () = self.interrupt.cancelled() => return None,
            };
            match stored {
                // Had the end come to the disk before, so have the packets.
                Ok(()) | Err(StoreError::NotLive(_)) => {}
                Err(error) => {
                    error!(job = %live.id, %error, "packets of the job are lost");
                    record.packets = packets.count();
                }
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// The packets of a job that has none yet.
    fn recording(&self, live: &LiveJob) -> Recording {
        Recording::new(
            self.store.clone(),
            live.id,
            Output::new(self.rules.borrow().limits.output, 0),
        )
    }

    /// Shows an end that is on disk.
    fn show(&self, live: &LiveJob, outcome: Option<Outcome>, jobs: &Jobs) {
        if let Some(outcome) = outcome {
            self.audit.ended(live.id, outcome.name());
            live.announce_end(Arc::new(outcome));
            jobs.remove(live.id);
        }
    }
}

impl Execution<'_> {
    /// The call to the host, up to what ends the job, and what is left of it at the host
    /// then. An error if the job has not started.
    async fn execute(&mut self, begun: Instant) -> Result<(Outcome, Left), Unstarted> {
        let mut begun = begun;
        let end = loop {
            let patience = self.rules.limits.connect_patience;
            let mut attempts = self.runner.attempts.of_call(&self.call.host, patience);
            match self.acknowledged(begun, &mut attempts).await {
                Ok(mut call) => {
                    let end = self.receive(&mut call, &attempts).await;
                    self.result = call.take_share();
                    break end.map_err(|end| (end, call));
                }
                Err(Unsent::For(outcome)) => return Ok((outcome, Left::Nothing)),
                Err(Unsent::Unacknowledged(end, call)) => break Err((end, *call)),
                Err(Unsent::Unrecorded) => {}
            }
            // The job has not started, so it may wait, and its limits do not count yet.
            self.runner.start_recordable(self.live).await?;
            begun = Instant::now();
            self.bounds.begin_again(begun);
            self.started = clock::now().max(self.live.id.submitted());
        };
        Ok(match end {
            Ok(outcome) | Err((Ending::ByHost(outcome), _)) => (outcome, Left::Nothing),
            Err((Ending::Broken(outcome), _)) => (outcome, Left::Unknown),
            Err((Ending::ByUs(outcome), call)) => (outcome, Left::Call(Box::new(call))),
        })
    }

    /// Connects while the start is being recorded, sends the request, and waits for its
    /// acknowledgement; again and again while the host is worth waiting for and has
    /// certainly not run the call.
    async fn acknowledged(
        &mut self,
        begun: Instant,
        attempts: &mut Attempts,
    ) -> Result<HostCall, Unsent> {
        loop {
            let reached = self.reach(begun, attempts).await?;
            let (mut call, turn, by) = match self.send(begun, reached).await? {
                Ok(sent) => sent,
                Err((error, turn)) => {
                    // A host that has not got all of the request does nothing.
                    self.is_sent = false;
                    give_up(attempts.failed(turn, &error), &error)?;
                    continue;
                }
            };
            let acknowledged = tokio::select! {
                biased;
                outcome = self.bounds.cut_short(Some(begun)) => {
                    return Err(Unsent::Unacknowledged(Ending::ByUs(outcome), Box::new(call)));
                }
                acknowledged = call.acknowledged(by) => acknowledged,
            };
            let Err(error) = acknowledged else {
                attempts.acknowledged(turn);
                // Not needed here any more, and they can be large.
                self.call.arguments = Json::NULL;
                return Ok(call);
            };
            if attempts.failed(turn, &error).is_some() {
                return Err(Unsent::Unacknowledged(
                    Ending::of_fault(error),
                    Box::new(call),
                ));
            }
            // The host has refused it.
            self.is_sent = false;
        }
    }

    /// Connects as soon as the call may try its host, and sees to it that the start is on
    /// disk by then.
    async fn reach(&mut self, begun: Instant, attempts: &mut Attempts) -> Result<Reached, Unsent> {
        let record = async {
            if self.is_recorded {
                return Ok(());
            }
            self.runner.store.start(self.live.id, self.started).await
        };
        let connect = self.connect(attempts);
        let (recorded, connected) = tokio::select! {
            biased;
            outcome = self.bounds.cut_short(Some(begun)) => return Err(Unsent::For(outcome)),
            opened = async { tokio::join!(record, connect) } => opened,
        };
        if let Err(error) = recorded {
            warn!(%error, "the start of the job cannot be recorded");
            return Err(match error.is_passing() {
                true => Unsent::Unrecorded,
                false => Unsent::For(Outcome::Error(failures::storage(&error))),
            });
        }
        self.is_recorded = true;
        connected
    }

    /// Connects to the host, which is looked up in the registry anew for each attempt.
    async fn connect(&self, attempts: &mut Attempts) -> Result<Reached, Unsent> {
        let limits = Limits {
            max_packet_size: self.rules.limits.max_packet_size,
        };
        loop {
            let turn = attempts.turn().await;
            let turn = turn.map_err(|failure| Unsent::For(Outcome::Error(failure)))?;
            let Some(host) = self.runner.hosts.get(&self.call.host) else {
                let failure = failures::unknown_host(&self.call.host);
                return Err(Unsent::For(Outcome::Error(failure)));
            };
            let by = Instant::now() + self.rules.limits.connect_timeout;
            let until = turn.bound(by);
            match Connection::open(&host.endpoint, &self.rules.trust, limits, until).await {
                Ok(mut connection) => {
                    connection.set_share(self.rules.memory.share(&self.call.host));
                    return Ok(Reached {
                        connection,
                        host,
                        turn,
                        by,
                    });
                }
                Err(error) => give_up(attempts.failed(turn, &error), &error)?,
            }
        }
    }

    /// Sends the request. The inner error is the host's, and the call was not run then.
    async fn send(
        &mut self,
        begun: Instant,
        reached: Reached,
    ) -> Result<Result<(HostCall, Turn, Instant), (HostError, Turn)>, Unsent> {
        let Reached {
            connection,
            host,
            turn,
            by,
        } = reached;
        let request = host::Request {
            procedure: self.call.procedure.clone(),
            arguments: self.call.arguments.clone(),
            user: host.user.clone(),
            password: host.password.clone(),
        };
        // Not given up half-way for a cancellation: from the line's last byte on the host
        // may be at work, and must then be told.
        let send_by = by.min(self.bounds.first_limit(Some(begun)));
        self.is_sent = true;
        match connection.send(&request, send_by).await {
            Ok(call) => Ok(Ok((call, turn, by))),
            Err(error) => match self.bounds.cut_short(Some(begun)).now_or_never() {
                Some(outcome) => Err(Unsent::For(outcome)),
                None => Ok(Err((error, turn))),
            },
        }
    }

    /// Takes packets until the host ends the call, or something else does.
    async fn receive(
        &mut self,
        call: &mut HostCall,
        attempts: &Attempts,
    ) -> Result<Outcome, Ending> {
        enum Step {
            CutShort(Outcome),
            Stored(Result<(), StoreError>),
            Message(Result<Event, HostError>),
        }
        let live = self.live;
        let mut heard = Instant::now();
        self.bounds.acknowledged(heard);
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
                // A limit is judged after what has arrived: an end comes before it, and any
                // byte is a sign of life.
                Step::CutShort(outcome) if bounds::is_limit(&outcome) => {
                    if let Some(end) = self.take_arrived(call, attempts)? {
                        return Ok(end);
                    }
                    if !reading || !self.bounds.allows(call.heard()) {
                        return Err(Ending::ByUs(outcome));
                    }
                    heard = call.heard();
                    continue;
                }
                Step::CutShort(outcome) => {
                    // What had arrived when the job was cut short is kept.
                    self.packets.take_arrived(call);
                    return Err(Ending::ByUs(outcome));
                }
                Step::Stored(stored) => {
                    if !reading {
                        heard = Instant::now();
                    }
                    stored.map_err(|error| Ending::of_store(&error))?;
                    continue;
                }
                Step::Message(message) => message,
            };
            heard = Instant::now();
            if let Some(outcome) = self.take(message, call, attempts)? {
                return Ok(outcome);
            }
        }
    }

    /// Takes what had arrived when a limit was reached, 1 MiB of it at most: a host that
    /// sends without end does not put off its own. `Some` if the call has ended.
    fn take_arrived(
        &mut self,
        call: &mut HostCall,
        attempts: &Attempts,
    ) -> Result<Option<Outcome>, Ending> {
        const MOST: u64 = 1024 * 1024;
        let enough = self.packets.bytes().saturating_add(MOST);
        while self.packets.bytes() < enough
            && let Some(message) = call.next_buffered()
        {
            if let Some(outcome) = self.take(message, call, attempts)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Takes a message and all that arrived with it. `Some` if the call has ended.
    fn take(
        &mut self,
        message: Result<Event, HostError>,
        call: &mut HostCall,
        attempts: &Attempts,
    ) -> Result<Option<Outcome>, Ending> {
        if message.is_ok() {
            attempts.heard(Instant::now());
        }
        self.packets
            .take(message, call)
            .map_err(|fault| match fault {
                recording::Fault::Host(error) => Ending::of_fault(error),
                recording::Fault::Store(error) => Ending::of_store(&error),
                recording::Fault::TooMuch(failure) => {
                    warn!(error = %failure, "the host is told to stop");
                    Ending::ByUs(Outcome::Error(failure))
                }
            })
    }
}

/// A host that can be sent the request.
struct Reached {
    connection: Connection,
    host: Arc<Host>,
    turn: Turn,
    /// When the acknowledgement must have come.
    by: Instant,
}

/// Why no call was acknowledged.
enum Unsent {
    /// The job ends with this; the host does not know of it, or has refused it.
    For(Outcome),
    /// The job ends with this, and the host may be at work.
    Unacknowledged(Ending, Box<HostCall>),
    /// The job's start is not on disk, and can be recorded later.
    Unrecorded,
}

/// What is left of a call at its host when the job has ended.
enum Left {
    /// Nothing, or it was never there.
    Nothing,
    /// Nobody knows: the connection broke.
    Unknown,
    /// The host may still be busy.
    Call(Box<HostCall>),
}

impl Left {
    /// Waits for a host that may be busy. What is proved then, and whether the host can know
    /// that its call is over.
    async fn wait_until(self, done_by: Instant, is_sent: bool) -> (Cancel, bool) {
        let mut call = match self {
            // A host that was not asked has nothing to be done with.
            Left::Nothing if !is_sent => return (Cancel::Confirmed, true),
            Left::Nothing => return (Cancel::Unconfirmed, true),
            Left::Unknown => return (Cancel::Unconfirmed, false),
            Left::Call(call) => call,
        };
        match within(done_by, call.part()).await {
            Some(Parting::Proved) => (Cancel::Confirmed, true),
            Some(Parting::Closed) => (Cancel::Unconfirmed, true),
            Some(Parting::Lost) => (Cancel::Unconfirmed, false),
            // Without an answer in time there is nothing more to wait for.
            None => (Cancel::Unconfirmed, call.is_told().await),
        }
    }
}

/// Who ended a call that was sent to a host.
enum Ending {
    /// The host has said its last word, or has closed the connection in order.
    ByHost(Outcome),
    /// The connection broke.
    Broken(Outcome),
    /// We gave it up: the host has to be told, and may still be busy.
    ByUs(Outcome),
}

impl Ending {
    fn of_fault(error: HostError) -> Ending {
        let outcome = host_fault(&error);
        if error.is_break() {
            Ending::Broken(outcome)
        } else if error.leaves_host_busy() {
            Ending::ByUs(outcome)
        } else {
            Ending::ByHost(outcome)
        }
    }

    fn of_store(error: &StoreError) -> Ending {
        Ending::ByUs(Outcome::Error(failures::storage(error)))
    }
}

/// Ends the call with this failure, if there is one.
fn give_up(failure: Option<Failure>, error: &HostError) -> Result<(), Unsent> {
    match failure {
        None => Ok(()),
        Some(failure) => {
            told_of(error);
            Err(Unsent::For(Outcome::Error(failure)))
        }
    }
}

fn host_fault(error: &HostError) -> Outcome {
    told_of(error);
    Outcome::Error(error.to_failure())
}

fn told_of(error: &HostError) {
    // Network faults are everyday: they are told in the line about the job's end. What a
    // host says is not, it can have parts of arguments in it.
    if !matches!(error.kind(), HostErrorKind::Remote(_)) {
        Span::current().record("error", tracing::field::display(&error));
    }
    debug!(%error, "call to the host failed");
}
