//! What can be done with jobs, whoever asks: the verbs behind the front door, over the
//! ledger, the runs and the handles.
//!
//! A future of these verbs may be dropped at any point: what it has begun goes on.

mod cancel;
mod elsewhere;
mod follow;
mod look;
mod news;

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use self::cancel::{Cancelled, NotKnown};
pub use self::follow::{Followed, Follower, Known, Outages};
pub use self::look::Ended;
use crate::ledger::{Accepted, Change, Ledger, NewJob, NotAccepted, Room};
use crate::limits::RunLimits;
use crate::live::Handles;
use crate::record::CallRecord;
use crate::runner::{Runner, Stop};
use crate::transport::Transport;
use crate::world::{Phase, World};
use harp_values::{JobId, QueueName};
use news::Hearing;
use tracing::{info, warn};

/// How many changes a subscriber may be behind before it loses some.
const CHANGES: usize = 1024;

/// All jobs, as far as they concern this process.
pub struct Jobs {
    world: Arc<dyn World>,
    ledger: Arc<dyn Ledger>,
    transport: Arc<dyn Transport>,
    handles: Handles,
    changes: broadcast::Sender<Change>,
    /// To the loop that hands news on: those that wait until it has none left.
    marks: mpsc::UnboundedSender<oneshot::Sender<()>>,
    stop: watch::Sender<Stop>,
    /// Counts how often all that was held here has come to be held by others.
    terms: watch::Sender<u64>,
}

/// A call as it is handed in.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The call. When it was submitted is filled in.
    pub call: CallRecord,
    /// Seconds: its key stands for a job that is not older, or has not failed.
    pub unless_since: Option<u64>,
    /// Seconds after the submission by which it must have started.
    pub start_by: Option<u64>,
}

/// What the log says of a submission.
struct Told {
    job: JobId,
    host: String,
    procedure: String,
    queue: Option<QueueName>,
    trace: Option<String>,
}

impl Told {
    fn tell(self, accepted: &Result<Accepted, NotAccepted>) {
        let Told {
            job,
            host,
            procedure,
            queue,
            trace,
        } = self;
        match accepted {
            Ok(Accepted::New(job)) => {
                let queue = queue.as_ref().map(QueueName::as_str);
                info!(%job, host, procedure, queue, trace, "job accepted");
            }
            Ok(Accepted::Before(job)) => info!(%job, "submitted again under its key"),
            Err(error @ NotAccepted::Storage { .. }) => {
                warn!(%job, host, procedure, %error, "job not recorded");
            }
            Err(_) => {}
        }
    }
}

impl Jobs {
    /// Takes up what the ledger has, and runs what has its turn from now on. `listener` is
    /// told each change when it is durable, and must wait for nothing.
    #[must_use]
    pub fn open(
        world: Arc<dyn World>,
        ledger: Arc<dyn Ledger>,
        transport: Arc<dyn Transport>,
        limits: watch::Receiver<Arc<RunLimits>>,
        listener: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Arc<Jobs> {
        let stop = watch::Sender::new(Stop::No);
        let terms = watch::Sender::new(0);
        let runner = Runner {
            world: Arc::clone(&world),
            ledger: Arc::clone(&ledger),
            transport: Arc::clone(&transport),
            limits,
            stop: stop.subscribe(),
            terms: terms.subscribe(),
        };
        let (marks, marked) = mpsc::unbounded_channel();
        let jobs = Arc::new(Jobs {
            world: Arc::clone(&world),
            ledger,
            transport,
            handles: Handles::default(),
            changes: broadcast::Sender::new(CHANGES),
            marks,
            stop,
            terms,
        });
        if let Some(news) = jobs.ledger.news() {
            let hearing = Hearing {
                news,
                marked,
                listener: Box::new(listener),
                runner,
            };
            let serving = Arc::clone(&jobs).hand_on(hearing);
            world.spawn("news", Phase::News, Box::pin(serving));
        }
        if jobs.ledger.elsewhere(&[]).is_some() {
            let watching = Arc::clone(&jobs).watch_elsewhere();
            world.spawn("jobs elsewhere", Phase::News, Box::pin(watching));
        }
        jobs
    }

    /// Accepts a call; the job is durable when this returns.
    ///
    /// # Errors
    ///
    /// Why there is no job, or may be none.
    pub async fn submit(&self, new: Submission, room: Room) -> Result<Accepted, NotAccepted> {
        self.submit_named(new, room).await.1
    }

    /// Accepts a call as [`Jobs::submit`] does, and says which id the job has, or would have had.
    pub async fn submit_named(
        &self,
        new: Submission,
        room: Room,
    ) -> (JobId, Result<Accepted, NotAccepted>) {
        let submitted = self.world.wall();
        let call = CallRecord {
            submitted,
            ..new.call
        };
        let told = Told {
            job: JobId::at(submitted, self.world.chance()),
            host: call.host.clone(),
            procedure: call.procedure.clone(),
            queue: call.queue.as_ref().map(|queue| queue.name.clone()),
            trace: call.trace.clone(),
        };
        let job = NewJob {
            id: told.job,
            minted: self.transport.mint(&call),
            call,
            unless_since: new.unless_since,
            start_by: new.start_by,
            room,
        };
        let accepted = self.ledger.accept(vec![job]).await;
        // One job was handed in, so there is one answer.
        let accepted = accepted.and_then(|all| all.into_iter().next().ok_or(NotAccepted::Closed));
        let job = told.job;
        told.tell(&accepted);
        (job, accepted)
    }

    /// What the ledger knows.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// How many handles there are.
    #[must_use]
    pub fn handles(&self) -> usize {
        self.handles.count()
    }

    /// What changes from now on, in the order in which it becomes durable for each job.
    /// Whoever falls behind loses changes, and is told.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Completes when all that the ledger has told by now is handed on: the runs that come of
    /// it have begun. At once if nothing is handed on any more. Cancel safe.
    pub async fn caught_up(&self) {
        let (mark, passed) = oneshot::channel();
        // An error says that the loop is over.
        let _ = self.marks.send(mark);
        let _ = passed.await;
    }

    /// A stop has come so far.
    pub fn stop(&self, stop: Stop) {
        self.stop.send_modify(|now| *now = stop.max(*now));
    }

    /// Completes when whoever waits for a job is to wait no longer. Cancel safe.
    async fn over(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is in `self`, which outlives this.
        let _ = stop.wait_for(|stop| *stop == Stop::Over).await;
    }
}
