//! One call's life: waiting for a slot, running, and its end, when nothing of its session
//! is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harp_proto::host::Message;
use harp_proto::host::kept::CallId;
use harp_proto::{Evidence, Failure, Traceparent, error_type};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::answer::{Answer, Said};
use crate::invocation::{Identity, Invocation, Origin};
use crate::procedure::Procedure;
use crate::program::loading_error;
use crate::reaper::Reaper;
use crate::recipient::{CallerEvent, Recipient};
use crate::slots::{Slot, Slots};

mod pipes;
mod running;
mod tail;

use running::Running;

/// A call that is to end while its process is being started waits this long for it where
/// it need not wait.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// A call that was accepted: acknowledged, but not yet running.
#[derive(Debug)]
pub struct Call {
    /// The procedure that is called.
    pub procedure: Arc<Procedure>,
    /// With which arguments.
    pub invocation: Invocation,
    /// By whom.
    pub user: String,
    /// From where.
    pub peer: SocketAddr,
    /// Its place in a trace, if its caller says one.
    pub traceparent: Option<Traceparent>,
    /// The answer, if harpd itself has it.
    pub told: Option<Answer>,
    /// Set once it has its slots.
    pub has_slots: Arc<AtomicBool>,
    /// Its name on the wire, if it is kept.
    pub id: Option<CallId>,
}

/// What the log tells of a call.
#[derive(Debug)]
pub struct Facts {
    procedure: Arc<Procedure>,
    user: String,
    peer: SocketAddr,
    call: Option<CallId>,
    began: Instant,
}

/// State that all calls share.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// Starts the commands.
    pub reaper: Reaper,
    /// Slots of all procedures together.
    pub slots: Arc<Slots>,
    /// Cancelled when harpd stops.
    pub stopping: CancellationToken,
    /// Between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
}

/// Reason for which a call ends before its command has ended.
#[derive(Debug)]
enum Interruption {
    CallerClosed,
    CallerSpokeOn,
    CallerStalled,
    KeepOver,
    TimedOut(Duration),
    Stopping,
    /// The output is wrong.
    Output(Failure),
}

impl Facts {
    /// Tells the log that the call has ended.
    pub fn tell_end(&self, end: &Said) {
        info!(
            procedure = self.procedure.name,
            user = self.user,
            peer = %self.peer,
            call = self.call.map(tracing::field::display),
            seconds = self.began.elapsed().as_secs_f64(),
            outcome = end.name(),
            r#type = end.error_type(),
            "call ended"
        );
    }
}

impl Call {
    /// What the log tells of the call, which begins now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            procedure: Arc::clone(&self.procedure),
            user: self.user.clone(),
            peer: self.peer,
            call: self.id,
            began: Instant::now(),
        }
    }

    /// Waits for the slots that it needs; the log tells of a wait. The procedure's own slot
    /// comes first: a call that waits for it must not keep one of all.
    async fn slots(&self, workplace: &Workplace) -> (Option<Slot>, Slot) {
        let own = match &self.procedure.slots {
            Some(slots) => Some(self.slot(slots, "the procedure").await),
            None => None,
        };
        (own, self.slot(&workplace.slots, "harpd").await)
    }

    /// Waits for one of these slots, whose number is `max_calls` of `limit`.
    async fn slot(&self, slots: &Arc<Slots>, limit: &'static str) -> Slot {
        if let Some(slot) = slots.take_now() {
            return slot;
        }
        let began = Instant::now();
        let (procedure, user) = (&self.procedure.name, &self.user);
        info!(
            procedure, user, peer = %self.peer, call = self.id.map(tracing::field::display),
            "call waits: as many run as max_calls of {limit} allows"
        );
        let slot = slots.take().await;
        info!(
            procedure, user, peer = %self.peer, call = self.id.map(tracing::field::display),
            seconds = began.elapsed().as_secs_f64(), "call has waited"
        );
        slot
    }

    /// Runs the call to its end, sending packets on the way. Returns the message that
    /// ends it, not yet sent; by then nothing of its session is left and its
    /// slots are free.
    ///
    /// Dropped, it kills what it has started.
    pub async fn run<R: Recipient>(mut self, caller: &mut R, workplace: &Workplace) -> Answer {
        if let Some(answer) = self.told.take() {
            self.has_slots.store(true, Ordering::Relaxed);
            return answer;
        }
        let _slots = tokio::select! {
            biased;
            interruption = interrupted(caller, workplace) => return interruption.unstarted(),
            slots = self.slots(workplace) => slots,
        };
        self.has_slots.store(true, Ordering::Relaxed);
        caller.has_slots();
        let identity = Identity {
            procedure: &self.procedure.name,
            user: &self.user,
            peer: self.peer,
            origin: Origin {
                job: self.id.map(|id| id.job),
                traceparent: self.traceparent,
            },
        };
        let runner = &self.procedure.runner;
        let program = tokio::select! {
            biased;
            interruption = interrupted(caller, workplace) => return interruption.unstarted(),
            found = runner.look() => match found {
                Ok(program) => program,
                Err(why) => return Answer::Short(Message::Error(loading_error(&why))),
            },
        };
        let start = runner.start(program, self.invocation, identity, &workplace.reaper);
        tokio::pin!(start);
        let (started, interruption) = tokio::select! {
            started = &mut start => (started, None),
            interruption = interrupted(caller, workplace) => {
                let started = if runner.can_be_left_starting() {
                    match tokio::time::timeout(START_PATIENCE, start).await {
                        Ok(started) => started,
                        Err(_) => return interruption.unstarted(),
                    }
                } else {
                    start.await
                };
                (started, Some(interruption))
            }
        };
        match (started, interruption) {
            (Ok(process), None) => {
                let running = Running::new(&self.procedure, process);
                running.run(caller, workplace).await
            }
            (Ok(process), Some(interruption)) => {
                let running = Running::new(&self.procedure, process);
                running.give_up(interruption, caller, workplace).await
            }
            (Err(_), Some(interruption)) => interruption.unstarted(),
            (Err(failure), None) => Answer::Short(Message::Error(failure)),
        }
    }
}

impl Interruption {
    /// The message that ends a call of which nothing has run.
    fn unstarted(self) -> Answer {
        Answer::Short(self.message(&Evidence::default()))
    }

    /// The message that ends the call, with what it had said.
    fn message(self, said: &Evidence) -> Message {
        match self {
            Interruption::CallerClosed => Message::Error(said.within(cancelled(
                "the call was cancelled and no process of it is left",
            ))),
            Interruption::CallerSpokeOn => Message::Error(spoke_on()),
            Interruption::CallerStalled => Message::Error(said.within(cancelled(
                "the caller took nothing of the output for too long; \
                 the call was cancelled and no process of it is left",
            ))),
            // It may wait for long, and nobody asks for it as a rule.
            Interruption::KeepOver => Message::Error(keep_over()),
            Interruption::TimedOut(limit) => {
                let failure = Failure::new(
                    error_type::TIMEOUT,
                    format!(
                        "the procedure ran longer than its timeout of {} s",
                        limit.as_secs_f64()
                    ),
                );
                let data = serde_json::json!({
                    "limit": "timeout", "seconds": limit.as_secs(), "set_by": "procedure",
                });
                Message::Error(said.within(failure.with_data(&data)))
            }
            Interruption::Stopping => Message::Error(said.within(Failure::new(
                error_type::SHUTDOWN,
                "harpd is stopping and has ended the call",
            ))),
            // Of the output it shows what was wrong.
            Interruption::Output(failure) => Message::Exception(said.of_stderr().within(failure)),
        }
    }
}

fn cancelled(message: &str) -> Failure {
    let failure = Failure::new(error_type::CANCELLED, message);
    failure.with_data(&serde_json::json!({ "processes": 0 }))
}

/// Nobody has taken the call up in time, and nothing of it is left.
#[must_use]
pub fn keep_over() -> Failure {
    let failure = Failure::new(
        error_type::KEEP_OVER,
        "nobody has taken up the call within its keep; it was ended and no process of it is left",
    );
    failure.with_data(&serde_json::json!({ "processes": 0 }))
}

/// Something came after the request's line.
#[must_use]
pub fn spoke_on() -> Failure {
    Failure::new(
        error_type::INVALID_REQUEST,
        "nothing may follow the request's line",
    )
}

/// Waits until a call that is not running yet must end.
async fn interrupted<R: Recipient>(caller: &mut R, workplace: &Workplace) -> Interruption {
    loop {
        tokio::select! {
            event = caller.event() => match event {
                CallerEvent::Sent => {}
                CallerEvent::Closed => return Interruption::CallerClosed,
                CallerEvent::SpokeOn => return Interruption::CallerSpokeOn,
                CallerEvent::Stalled => return Interruption::CallerStalled,
                CallerEvent::KeepOver => return Interruption::KeepOver,
            },
            () = workplace.stopping.cancelled() => return Interruption::Stopping,
        }
    }
}
