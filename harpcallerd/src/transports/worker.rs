//! Calls that workers fetch: a job of a service stands in a pool until a worker claims it.
//! The claim is the commit; it is on record, with who has it, before the worker is told.
//!
//! What a worker says under its claim comes by the desk into the [`claim::Claim`], from
//! which the attempt takes it. A worker is heard of as long as its lease goes on: each
//! request under the claim renews that. A claim outlives the dispatcher; its lease then
//! starts anew.

mod attempt;
pub mod claim;
mod claim_id;
mod claims;
mod drafts;
mod kept;
mod note;

use std::sync::Arc;

use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::{CallRecord, Remarks};
use harp_jobs::transport::{Attempt, How, Minted, Transport, Unreached};
use harp_proto::Outcome;

pub use self::claim_id::ClaimId;
pub use self::claims::{Begun, Claims};
pub use self::note::Note;
use crate::services::Services;
use attempt::{WorkerAttempt, no_such_service};

/// What calls to services go by.
#[derive(Debug)]
pub struct Worker {
    services: Arc<Services>,
    claims: Claims,
}

impl Worker {
    /// Calls these services; what workers claim is among `claims`.
    #[must_use]
    pub fn new(services: Arc<Services>, claims: Claims) -> Worker {
        Worker { services, claims }
    }

    /// Whether a job with this token on record may go on: a worker has claimed it.
    #[must_use]
    pub fn may_go_on(token: &Token) -> bool {
        Note::read(token).is_some()
    }

    /// Whether calls to this host are for services.
    #[must_use]
    pub fn calls(&self, host: &str) -> bool {
        self.services.is_host(host)
    }
}

impl Transport for Worker {
    fn mint(&self, call: &CallRecord) -> Minted {
        let service = self.services.named(&call.procedure);
        Minted {
            token: Token::default(),
            pool: service.map(|service| service.id.pool()),
        }
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let Some(note) = Note::read(&token) else {
            return Box::new(Unreached::new(no_such_service(&call.procedure)));
        };
        let claim = match how {
            How::New => self.claims.held(hold.job, note, 0),
            How::Attach { since } => self.claims.held(hold.job, note, since),
            How::Settle => self.claims.ended(hold.job, note),
        };
        let claims = self.claims.clone();
        Box::new(WorkerAttempt::new(
            claims,
            claim,
            how,
            call.queue.is_some(),
            token,
        ))
    }

    fn remarks(&self, _: &CallRecord, token: &Token, _: &Outcome) -> Remarks {
        Remarks {
            worker: Note::read(token).and_then(|note| note.worker),
            ..Remarks::default()
        }
    }
}
