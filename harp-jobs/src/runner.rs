//! What runs a job from its turn on: it carries out what the job's [`Life`] orders, tells
//! it what happens, and decides nothing.

mod asked;
mod run;
mod work;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use harp_values::{Failure, Json, Outcome};
use tokio::sync::watch;
use tracing::{Instrument, debug, error, info_span, warn};

use self::run::Run;
use crate::failures;
use crate::ledger::{End, Hold, Ledger, Lost, Start, Then, Turn, Unreadable};
use crate::limits::RunLimits;
use crate::live::JobOwner;
use crate::record::{CallRecord, Remarks};
use crate::transport::{Proof, Transport};
use crate::world::World;

/// What runs jobs. Clones are the same.
#[derive(Clone)]
pub struct Runner {
    /// Time.
    pub world: Arc<dyn World>,
    /// What is decided and kept.
    pub ledger: Arc<dyn Ledger>,
    /// How calls are made.
    pub transport: Arc<dyn Transport>,
    /// The limits; a run goes by those of its turn.
    pub limits: watch::Receiver<Arc<RunLimits>>,
    /// How far a stop has come.
    pub stop: watch::Receiver<Stop>,
    /// Changes when others have come to hold all that was held here.
    pub terms: watch::Receiver<u64>,
}

/// How far a stop of the dispatcher has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// There is none.
    #[default]
    No,
    /// Calls that their hosts keep are left to the next start; others may come to an end.
    Leave,
    /// Nothing is waited for any more; what hosts keep is left to the next start all the same.
    Interrupt,
    /// Nothing is left to the next start that runs: its hosts are told to end it.
    EndCalls,
    /// Everything is written: whoever waits for a job waits no longer.
    Over,
}

/// How many faults of this program one run may meet before it is given up.
const MOST_FAULTS: usize = 1;

/// How long until a call is read again that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a job is not run.
enum Unread {
    /// What is kept of it is damaged or gone.
    For(Failure),
    /// It is left to the next start.
    Left,
}

impl Runner {
    /// Runs a job until nothing of it is left to be done here.
    pub async fn run(self, turn: Turn, owner: JobOwner) {
        let span = info_span!(
            parent: None, "job", job = %turn.hold.job,
            host = tracing::field::Empty, procedure = tracing::field::Empty,
            from = tracing::field::Empty, error = tracing::field::Empty
        );
        self.supervise(turn, owner).instrument(span).await;
    }

    async fn supervise(self, turn: Turn, owner: JobOwner) {
        let Turn {
            hold,
            start,
            packets,
            call,
        } = turn;
        let call = match self.read_call(hold, call).await {
            Ok(call) => call,
            Err(Unread::Left) => return debug!("the job is left to the next start"),
            Err(Unread::For(failure)) => {
                warn!(%failure, "the job cannot be run");
                let proof = match start {
                    Start::ToRecord | Start::Recorded { .. } => Proof::Confirmed,
                    Start::Attach { .. } | Start::Settle { .. } => Proof::Unconfirmed,
                };
                return self.close(hold, &owner, failure, packets, proof).await;
            }
        };
        let span = tracing::Span::current();
        span.record("host", call.host.as_str());
        span.record("procedure", call.procedure.as_str());
        let last = match start {
            Start::Attach { .. } => self.last_packet(hold, packets).await,
            Start::ToRecord | Start::Recorded { .. } | Start::Settle { .. } => None,
        };
        let mut run = Run::new(&self, hold, &start, (packets, last), call, &owner);
        for _ in 0..=MOST_FAULTS {
            // A fault of this program in one job must not take others along.
            if AssertUnwindSafe(run.drive()).catch_unwind().await.is_ok() {
                return;
            }
            error!("the job met a fault of this program and is ended; please report it");
            run.after_a_fault();
        }
        let packets = run.packets();
        drop(run);
        let failure = failures::internal();
        let proof = Proof::Unconfirmed;
        self.close(hold, &owner, failure, packets, proof).await;
    }

    /// The call of a job. It is waited for through an outage.
    async fn read_call(
        &self,
        hold: Hold,
        mut call: crate::ledger::Answer<Option<Box<CallRecord>>, Unreadable>,
    ) -> Result<Arc<CallRecord>, Unread> {
        let mut stop = self.stop.clone();
        let storage = |why: &dyn std::fmt::Display| Unread::For(failures::storage(why));
        let gone = || storage(&"the job's record is gone");
        let reading = async {
            let mut answer = (&mut call).await;
            loop {
                match answer {
                    Ok(call) => {
                        let mut call = call.ok_or_else(gone)?;
                        // Nobody asks a job that runs for it, and it can be large.
                        call.info = Json::NULL;
                        return Ok(Arc::from(call));
                    }
                    Err(Unreadable::Damaged(why)) => return Err(storage(&why)),
                    Err(Unreadable::Closed) => return Err(Unread::Left),
                    Err(Unreadable::Outage(_)) => {}
                }
                self.world.sleep(self.world.now() + AGAIN).await;
                let record = self.ledger.job(hold.job).await;
                answer = record.map(|record| record.map(|record| Box::new(record.call)));
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop >= Stop::Interrupt) => Err(Unread::Left),
            call = reading => call,
        }
    }

    /// The last of the packets that a job has; `None` if there is none, or it cannot be read.
    async fn last_packet(&self, hold: Hold, packets: u64) -> Option<Bytes> {
        let last = packets.checked_sub(1)?;
        let mut stop = self.stop.clone();
        let reading = async {
            loop {
                match self.ledger.segments(hold.job, last, 1).await {
                    Ok(segments) => {
                        let packets = segments.iter().flat_map(|segment| segment.iter_from(last));
                        return packets
                            .last()
                            .map(|(_, _, data)| Bytes::copy_from_slice(data));
                    }
                    Err(Unreadable::Outage(_)) => {}
                    Err(Unreadable::Damaged(_) | Unreadable::Closed) => return None,
                }
                self.world.sleep(self.world.now() + AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop >= Stop::Interrupt) => None,
            last = reading => last,
        }
    }

    /// Ends a job without its life: it cannot be run, or has met one fault too many.
    async fn close(
        &self,
        hold: Hold,
        owner: &JobOwner,
        failure: Failure,
        packets: u64,
        proof: Proof,
    ) {
        let end = End {
            then: Then::End(Outcome::Error(failure)),
            packets,
            debt: None,
            remarks: Remarks::default(),
        };
        let closed = match self.ledger.close_job(hold, end).await {
            Ok(closed) => closed.end,
            Err(Lost::Taken(end)) => Some(end),
            Err(lost @ (Lost::Fenced | Lost::Closed)) => {
                return debug!(?lost, "the job is not held here any more");
            }
            Err(lost @ Lost::Refused(_)) => {
                return error!(?lost, "the end of the job cannot be recorded");
            }
        };
        if let Some(end) = closed {
            owner.end(end);
            owner.host(proof);
        }
        if let Err(lost) = self.ledger.settle(hold).await {
            warn!(?lost, "the job's place is kept until the next start");
        }
    }
}
