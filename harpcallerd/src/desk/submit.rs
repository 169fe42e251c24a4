//! Submitting a call.

use harp_proto::Json;
use tracing::info;

use super::{Desk, permission};
use crate::call::NewCall;
use crate::client::Client;
use crate::ledger::Accepted;
use crate::refusal::Refusal;

impl Desk {
    /// Accepts a call; its job is on disk when this returns. Cancel safe in this sense: once
    /// begun, the submission goes on when the future is dropped; the job then exists although
    /// nobody was told its id.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::TooLarge`], [`Refusal::KeyTaken`], [`Refusal::Full`],
    /// [`Refusal::Closing`], [`Refusal::CallNotRecorded`].
    pub async fn submit(&self, by: &Client, call: NewCall) -> Result<Accepted, Refusal> {
        let asked = self.audit.asked(by, &call);
        if let Err(refusal) = self.may_submit(by, &call) {
            self.audit.call_refused(asked, refusal.name());
            return Err(refusal);
        }
        let audit = self.audit.clone();
        self.dispatcher
            .submit(
                call,
                by.identity.as_ref(),
                move |submitted| match submitted {
                    Ok(accepted) => audit.accepted(asked, accepted.job),
                    Err(refusal) => audit.call_refused(asked, refusal.name()),
                },
            )
            .await
    }

    fn may_submit(&self, by: &Client, call: &NewCall) -> Result<(), Refusal> {
        let permitted = permission::identified(by).and_then(|()| {
            let is_allowed = by.is_administrator() || self.access.borrow().allow_call(by, call);
            is_allowed.then_some(()).ok_or(Refusal::Forbidden)
        });
        if let Err(refusal) = permitted {
            let queue = call.queue.as_ref().map(|queue| queue.name.as_str());
            info!(
                peer = %by.peer, client = by.name(), operation = "call", host = call.host,
                procedure = call.procedure, queue, refusal = refusal.name(), "request refused"
            );
            return Err(refusal);
        }
        let info = match call.info == Json::NULL {
            true => 0,
            false => call.info.as_bytes().len(),
        };
        let names = call.host.len() + call.procedure.len();
        let limit = self.limits.borrow().max_request_size;
        match call.arguments.as_bytes().len() + info + names > limit {
            true => Err(Refusal::TooLarge { limit }),
            false => Ok(()),
        }
    }
}
