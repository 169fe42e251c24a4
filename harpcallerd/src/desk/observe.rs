//! Requests that are about no call: whether a client may make them.

use harp_jobs::access::{Operation, Verdict};
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use tracing::info;

use super::{Desk, permission};

impl Desk {
    /// Lets nobody through who may not do this, which is about no call.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`].
    pub async fn permit_without_job(
        &self,
        by: &Client,
        operation: Operation,
    ) -> Result<(), Refusal> {
        let permitted = permission::identified(by).await.and_then(|()| {
            let rules = self.access.borrow();
            let is_allowed = by.is_administrator() || rules.allow_without_job(by, operation);
            is_allowed.then_some(()).ok_or(Refusal::Forbidden)
        });
        if let Err(refusal) = &permitted {
            info!(
                peer = %by.peer, client = by.name(), operation = operation.name(),
                refusal = refusal.name(), "request refused"
            );
            self.note_refused(by, operation.name(), None, refusal);
        }
        permitted
    }

    /// True if a client may read whatever job there is.
    #[must_use]
    pub fn may_read_all(&self, by: &Client) -> bool {
        let rules = self.access.borrow();
        by.is_administrator() || rules.judge(by, Operation::Read) == Verdict::Allowed
    }

    /// What a client may do at all, with some job or other.
    #[must_use]
    pub fn operations(&self, by: &Client) -> Vec<&'static str> {
        let rules = self.access.borrow();
        let all = Operation::ALL.into_iter();
        all.filter(|operation| rules.allow_some(by, *operation))
            .map(Operation::name)
            .collect()
    }
}
