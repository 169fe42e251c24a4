//! The audit log: clients and administrators and what they did.
//!
//! Nothing waits for it. Events go through a bounded buffer ([`Inbox`]) to one task, which
//! looks up what it has to know of a job, and writes. What the buffer cannot take, or the
//! disk does not, is lost: that is logged, and a line says how many lines are missing as soon
//! as one can be written again.

mod line;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::call::NewCall;
use crate::client::Client;
use crate::refusal::Refusal;
use crate::world::World;
pub use line::Line;
use line::name;

/// Events that wait to be written.
const MAX_EVENTS: usize = 10_000;

/// Bytes of events that wait to be written.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Notes what is done and refused. Cheap to clone; the default one notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Sender>>);

struct Sender {
    events: mpsc::Sender<Event>,
    arguments: bool,
    waiting: Arc<Waiting>,
    world: Arc<dyn World>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// What an audit log is written from.
#[derive(Debug)]
pub struct Inbox {
    events: mpsc::Receiver<Event>,
    waiting: Arc<Waiting>,
}

/// Sums of the lines that the buffer holds, and of those that it could not take.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    lost: AtomicU64,
    /// All that were ever lost.
    lost_in_all: AtomicU64,
}

/// What comes out of an [`Inbox`].
#[derive(Debug)]
pub enum Event {
    /// A line.
    Line(Box<Line>),
    /// A line that lacks what is kept of its job.
    AboutJob(JobId, Box<Line>),
    /// The file is to be opened anew, since it was renamed.
    Reopen(oneshot::Sender<std::io::Result<()>>),
    /// Everything before this is to be written, or lost.
    Finish(oneshot::Sender<()>),
}

/// Act of an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// All jobs of a queue cancelled.
    CancelQueue(&'a QueueName),
    /// Held jobs let wait in their queues again.
    Resume,
    /// Ended jobs deleted.
    Prune {
        /// Those submitted longer ago than this.
        age: Duration,
    },
    /// The configuration read again.
    Reload,
    /// The daemon stopped.
    Stop,
    /// The daemon drained.
    Drain,
    /// The registry's script run.
    RefreshHosts,
    /// The log files opened anew.
    ReopenLogs,
    /// All jobs written into a file.
    Export,
}

/// A call as it was asked for, kept until it is known what came of it.
#[derive(Debug)]
pub struct AskedCall(Box<Line>);

impl Audit {
    /// An audit log, and what its lines come out of. `arguments`: whether those of calls are in
    /// the lines.
    #[must_use]
    pub fn open(world: Arc<dyn World>, arguments: bool) -> (Audit, Inbox) {
        let (events, inbox) = mpsc::channel(MAX_EVENTS);
        let waiting = Arc::new(Waiting::default());
        let inbox = Inbox {
            events: inbox,
            waiting: Arc::clone(&waiting),
        };
        let sender = Sender {
            events,
            arguments,
            waiting,
            world,
        };
        (Audit(Some(Arc::new(sender))), inbox)
    }

    /// True if anything is written down.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How many lines were lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let sender = self.0.as_ref();
        sender.map_or(0, |sender| {
            sender.waiting.lost_in_all.load(Ordering::Relaxed)
        })
    }

    /// Notes a call before it is made or refused.
    #[must_use]
    pub fn asked(&self, client: &Client, call: &NewCall) -> Option<AskedCall> {
        let sender = self.0.as_ref()?;
        let queue = call.queue.as_ref();
        Some(AskedCall(Box::new(Line {
            operation: Some("call"),
            host: Some(name(&call.host)),
            procedure: Some(name(&call.procedure)),
            queue: queue.and_then(|queue| queue.name.as_str().parse().ok()),
            arguments: sender.arguments.then(|| call.arguments.clone()),
            ..Line::by("", client, sender.world.wall())
        })))
    }

    /// A call became a job, or was found to be one.
    pub fn accepted(&self, asked: Option<AskedCall>, job: JobId) {
        if let (Some(sender), Some(AskedCall(mut line))) = (&self.0, asked) {
            line.event = "accepted";
            line.operation = None;
            line.job = Some(job.to_string());
            sender.send(Event::Line(line));
        }
    }

    /// It is not known whether a call became a job, which would have this id. If it did,
    /// [`Audit::accepted_late`] says so.
    pub fn unknown(&self, asked: Option<AskedCall>, job: JobId) {
        if let (Some(sender), Some(AskedCall(mut line))) = (&self.0, asked) {
            line.event = "unknown";
            line.operation = None;
            line.job = Some(job.to_string());
            sender.send(Event::Line(line));
        }
    }

    /// A call became a job of which that was not known. Whose it is, the store knows.
    pub fn accepted_late(&self, job: JobId) {
        if let Some(sender) = &self.0 {
            let line = Line {
                time: sender.world.wall(),
                event: "accepted",
                job: Some(job.to_string()),
                ..Line::default()
            };
            sender.send(Event::AboutJob(job, Box::new(line)));
        }
    }

    /// A call was refused.
    pub fn call_refused(&self, asked: Option<AskedCall>, error_type: &str) {
        if let (Some(sender), Some(AskedCall(mut line))) = (&self.0, asked) {
            line.event = "refused";
            line.error = Some(error_type.to_owned());
            sender.send(Event::Line(line));
        }
    }

    /// Another request was refused: one about a job, `hello`, or one that was not read.
    pub fn refused(
        &self,
        client: &Client,
        operation: &'static str,
        job: Option<JobId>,
        error_type: &str,
    ) {
        let Some(sender) = &self.0 else {
            return;
        };
        let line = Box::new(Line {
            operation: Some(operation),
            error: Some(error_type.to_owned()),
            job: job.map(|job| job.to_string()),
            ..Line::by("refused", client, sender.world.wall())
        });
        sender.send(match job {
            Some(job) => Event::AboutJob(job, line),
            None => Event::Line(line),
        });
    }

    /// A client has begun or ended a session.
    pub fn noted(&self, client: &Client, event: &'static str) {
        if let Some(sender) = &self.0 {
            let line = Line::by(event, client, sender.world.wall());
            sender.send(Event::Line(Box::new(line)));
        }
    }

    /// A client has done something with a service, or with a job of one.
    pub fn of_service(
        &self,
        client: &Client,
        event: &'static str,
        service: &str,
        job: Option<JobId>,
    ) {
        let Some(sender) = &self.0 else {
            return;
        };
        let line = Box::new(Line {
            procedure: Some(name(service)),
            job: job.map(|job| job.to_string()),
            ..Line::by(event, client, sender.world.wall())
        });
        sender.send(match job {
            Some(job) => Event::AboutJob(job, line),
            None => Event::Line(line),
        });
    }

    /// An administrator has done something beside cancelling a job, or tried to.
    pub fn administered(&self, client: &Client, act: Act<'_>, refusal: Option<&Refusal>) {
        let Some(sender) = &self.0 else {
            return;
        };
        let mut line = Box::new(Line {
            operation: Some(act.name()),
            error: refusal.map(|refusal| refusal.name().to_owned()),
            ..Line::by("administered", client, sender.world.wall())
        });
        match act {
            Act::CancelQueue(queue) => line.queue = queue.as_str().parse().ok(),
            Act::Prune { age } => line.max_age = Some(age.as_secs()),
            _ => {}
        }
        sender.send(Event::Line(line));
    }

    /// A client's cancel, or an administrator's, ended a job.
    pub fn cancelled(&self, client: &Client, job: JobId) {
        if let Some(sender) = &self.0 {
            let line = Line {
                job: Some(job.to_string()),
                ..Line::by("cancelled", client, sender.world.wall())
            };
            sender.send(Event::AboutJob(job, Box::new(line)));
        }
    }

    /// A job ended; an exception with its type. Whose it was, the store knows.
    pub fn ended(&self, job: JobId, outcome: &Outcome) {
        if let Some(sender) = &self.0 {
            let line = Line {
                time: sender.world.wall(),
                event: "ended",
                job: Some(job.to_string()),
                outcome: Some(outcome.name().to_owned()),
                r#type: match outcome {
                    Outcome::Exception(failure) => Some(name(&failure.error_type)),
                    // Of an error the outcome is its type.
                    _ => None,
                },
                ..Line::default()
            };
            sender.send(Event::AboutJob(job, Box::new(line)));
        }
    }

    /// Opens the file anew, after it was renamed: what comes later is in the new one.
    ///
    /// # Errors
    ///
    /// If that fails; the old one stays in use.
    pub async fn reopen(&self) -> std::io::Result<()> {
        let Some(sender) = &self.0 else {
            return Ok(());
        };
        let (reply, answer) = oneshot::channel();
        let stopped = || std::io::Error::other("the audit log has ended");
        let sent = sender.events.send(Event::Reopen(reply)).await;
        sent.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Waits until everything noted so far is written, or known to be lost.
    pub async fn finish(&self) {
        if let Some(sender) = &self.0 {
            let (reply, answer) = oneshot::channel();
            if sender.events.send(Event::Finish(reply)).await.is_ok() {
                let _ = answer.await;
            }
        }
    }
}

impl Act<'_> {
    /// The name in the audit log: that of the command.
    fn name(self) -> &'static str {
        match self {
            Act::CancelQueue(_) => "queue-cancel",
            Act::Resume => "resume",
            Act::Prune { .. } => "prune-jobs",
            Act::Reload => "reload",
            Act::Stop => "stop",
            Act::Drain => "drain",
            Act::RefreshHosts => "hosts-refresh",
            Act::ReopenLogs => "reopen-logs",
            Act::Export => "export",
        }
    }
}

impl Sender {
    fn send(&self, event: Event) {
        let bytes = event.bytes();
        let waiting = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes <= MAX_BYTES && self.events.try_send(event).is_ok() {
            return;
        }
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.lost_in_all.fetch_add(1, Ordering::Relaxed);
        if self.waiting.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            error!("the audit log cannot be written as fast as it grows; lines are lost");
        }
    }
}

impl Inbox {
    /// What is to be written next; `None` when every [`Audit`] is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        self.waiting
            .bytes
            .fetch_sub(event.bytes(), Ordering::Relaxed);
        Some(event)
    }

    /// Whether nothing is to be written at present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many lines have been lost since this was asked last.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.waiting.lost.swap(0, Ordering::Relaxed)
    }

    /// Notes that so many lines could not be written, nor that so many were lost before.
    pub fn lose(&self, told: u64, lines: u64) {
        self.waiting.lost.fetch_add(told + lines, Ordering::Relaxed);
        self.waiting.lost_in_all.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Event {
    /// What it counts against [`MAX_BYTES`].
    fn bytes(&self) -> usize {
        match self {
            Event::Line(line) | Event::AboutJob(_, line) => line.bytes(),
            Event::Reopen(_) | Event::Finish(_) => 0,
        }
    }
}
