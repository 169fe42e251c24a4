//! One job that a worker has claimed, and one that none can.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::ledger::Token;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment};
use harp_proto::{Failure, Outcome, error_type};
use harp_time::Limit;
use serde::Serialize;

use super::claim::{Claim, Word};
use super::claims::Claims;
use harp_time::clock;

/// A job that a worker has.
pub(super) struct WorkerAttempt {
    claims: Claims,
    claim: Arc<Claim>,
    lease: Limit,
    /// The claim was there before this process: that it goes on is to be said first.
    is_attached: bool,
    /// It has a place in a queue.
    has_place: bool,
    token: Token,
    /// Packets that were said and did not fit into a batch.
    left_over: std::vec::IntoIter<harp_proto::Json>,
}

impl WorkerAttempt {
    pub(super) fn new(
        claims: Claims,
        claim: Arc<Claim>,
        how: How,
        has_place: bool,
        token: Token,
    ) -> WorkerAttempt {
        WorkerAttempt {
            claims,
            lease: Limit::after(Duration::from_secs(claim.note.lease)),
            claim,
            is_attached: matches!(how, How::Attach { .. }),
            has_place,
            token,
            left_over: Vec::new().into_iter(),
        }
    }

    async fn heard_next(&mut self, into: &mut Batch) -> Heard {
        if std::mem::take(&mut self.is_attached) {
            return Heard::Back;
        }
        if self.left_over.len() == 0 {
            match self.claim.next(&mut self.lease).await {
                Some(Word::Sign) => return Heard::Sign,
                Some(Word::End(outcome)) => return end(outcome),
                Some(Word::Packets(packets)) => self.left_over = packets.into_iter(),
                None => {
                    let note = &self.claim.note;
                    return end(Outcome::Error(lease_over(
                        note.lease,
                        note.worker.as_deref(),
                    )));
                }
            }
        }
        let now = clock::now();
        while !into.is_full()
            && let Some(packet) = self.left_over.next()
        {
            into.push(now, packet.as_bytes());
        }
        Heard::Packets
    }
}

fn end(outcome: Outcome) -> Heard {
    let left = false;
    Heard::End { outcome, left }
}

/// The worker has not been heard of for as long as its lease.
fn lease_over(seconds: u64, worker: Option<&str>) -> Failure {
    #[derive(Serialize)]
    struct Over<'a> {
        limit: &'static str,
        seconds: u64,
        worker: Option<&'a str>,
    }
    let message = "the worker has not been heard of for as long as its lease";
    Failure::new(error_type::TIMEOUT, message).with_data(&Over {
        limit: "lease",
        seconds,
        worker,
    })
}

impl Attempt for WorkerAttempt {
    fn ready(&mut self, _: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn commit(&mut self, _: Moment) -> BoxFuture<'_, Commit> {
        // The worker has it.
        Box::pin(async { Commit::Done })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(self.heard_next(into))
    }

    fn talks(&self) -> bool {
        // There are no last words: a cancelled job has ended for its worker, too.
        false
    }

    fn heard(&self) -> Option<Moment> {
        None
    }

    fn stored(&mut self, what: Stored) {
        match what {
            Stored::Packets(number) => self.claim.is_durable(number),
            Stored::End => self.claim.is_over(),
            Stored::Note => {}
        }
    }

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        self.claim.is_over();
        Box::pin(async {})
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async {
            self.claim.answered(&mut self.lease).await;
            // That it has answered does not say that it does nothing any more.
            Proved::free(Proof::Unconfirmed)
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn debt(&self) -> Option<Token> {
        self.has_place.then(|| self.token.clone())
    }

    fn detach(self: Box<Self>) {}
}

impl Drop for WorkerAttempt {
    fn drop(&mut self) {
        self.claim.is_over();
        self.claims.forget(&self.claim);
    }
}

/// Why a call to a service that there is not fails before anything runs.
pub(super) fn no_such_service(procedure: &str) -> Failure {
    #[derive(Serialize)]
    struct NoSuch<'a> {
        procedure: &'a str,
    }
    let message = format!("there is no service {procedure:?}, or several have this name");
    Failure::new(error_type::NO_SUCH_PROCEDURE, message).with_data(&NoSuch { procedure })
}
