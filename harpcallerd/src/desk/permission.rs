//! Whether a client may do what it asks for, and whether it still may while it waits.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::access::{AccessRules, Operation, Verdict};
use harp_jobs::client::{Client, Identity};
use harp_jobs::ledger::Ledger;
use harp_jobs::refusal::Refusal;
use harp_time::within;
use harp_values::{JobId, Password};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::Desk;
use crate::identity::tokens::{TokenProof, TokensFile};

/// How often it is looked whether a client that waits or follows is still who it was. It is
/// promised within 10 s.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A permission to do something with a job, which has to be renewed as long as it is used.
#[derive(Debug)]
pub(super) struct Permission {
    operation: Operation,
    job: JobId,
    rules: watch::Receiver<Arc<AccessRules>>,
    /// When it was last looked who the client is.
    looked: Instant,
    /// The rules have changed since they were asked.
    is_stale: bool,
}

/// How long it may take to find out whether a client still is who it was, which is as long as
/// the file system takes that the proof is on.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Finds out whether a client may ask anything at all. Cancel safe.
///
/// # Errors
///
/// [`Refusal::Stranger`], [`Refusal::Lapsed`]; [`Refusal::Unproved`] where that cannot be
/// found out.
pub(super) async fn identified(by: &Client) -> Result<(), Refusal> {
    if by.is_stranger() {
        return Err(Refusal::Stranger);
    }
    if by.proof.is_none() {
        return Ok(());
    }
    if in_time(by.has_lapsed()).await? {
        Err(Refusal::Lapsed)
    } else {
        Ok(())
    }
}

/// Looks at what an identity rests on, for at most [`LOOK_TIME`]. Cancel safe if `look` is.
///
/// # Errors
///
/// [`Refusal::Unproved`] where that takes longer.
pub(crate) async fn in_time<T>(look: impl Future<Output = T>) -> Result<T, Refusal> {
    let found = within(Instant::now() + LOOK_TIME, look).await;
    found.ok_or(Refusal::Unproved)
}

/// Whose token this is, if anybody's, and the proof of it. Cancel safe.
///
/// # Errors
///
/// [`Refusal::Unproved`] where that cannot be found out.
pub(super) async fn proof_of(
    token: &Password,
    tokens: &watch::Receiver<Option<Arc<TokensFile>>>,
) -> Result<Option<(Identity, TokenProof)>, Refusal> {
    in_time(TokenProof::of(token, tokens)).await
}

impl Desk {
    /// Lets nobody through who may not do this with the job. Cancel safe.
    ///
    /// # Errors
    ///
    /// As for [`identified`]; [`Refusal::Forbidden`]; [`Refusal::Storage`] if that depends
    /// on a job that cannot be read.
    pub(super) async fn permit(
        &self,
        by: &Client,
        operation: Operation,
        job: JobId,
    ) -> Result<Permission, Refusal> {
        let mut permission = Permission {
            operation,
            job,
            rules: self.access.clone(),
            looked: Instant::now(),
            is_stale: true,
        };
        self.renew(&mut permission, by).await?;
        Ok(permission)
    }

    /// Asks for a permission again. Cancel safe.
    ///
    /// # Errors
    ///
    /// As for [`Desk::permit`].
    pub(super) async fn renew(
        &self,
        permission: &mut Permission,
        by: &Client,
    ) -> Result<(), Refusal> {
        let (operation, job) = (permission.operation, permission.job);
        let rules = Arc::clone(&permission.rules.borrow_and_update());
        permission.is_stale = true;
        if let Err(refusal) = self.judge(by, operation, job, &rules).await {
            info!(
                peer = %by.peer, client = by.name(), operation = operation.name(), %job,
                refusal = refusal.name(), "request refused"
            );
            self.note_refused(by, operation.name(), Some(job), &refusal);
            return Err(refusal);
        }
        permission.is_stale = false;
        permission.looked = Instant::now();
        Ok(())
    }

    /// Waits for something as long as the client has a permission. Cancel safe if `awaited`
    /// is.
    ///
    /// # Errors
    ///
    /// As for [`Desk::permit`].
    pub(super) async fn while_permitted<T>(
        &self,
        permission: &mut Permission,
        by: &Client,
        mut awaited: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Refusal> {
        loop {
            tokio::select! {
                biased;
                awaited = &mut awaited => return Ok(awaited),
                () = permission.due(by) => {}
            }
            // Seldom, and so not to be a part of what everybody who waits has.
            Box::pin(self.renew(permission, by)).await?;
        }
    }

    /// A job that does not exist may be asked for by whoever may ask for any: that there is
    /// none is no secret, since ids cannot be guessed.
    async fn judge(
        &self,
        by: &Client,
        operation: Operation,
        job: JobId,
        rules: &AccessRules,
    ) -> Result<(), Refusal> {
        identified(by).await?;
        if by.is_administrator() {
            return Ok(());
        }
        match rules.judge(by, operation) {
            Verdict::Allowed => return Ok(()),
            Verdict::Forbidden => return Err(Refusal::Forbidden),
            Verdict::DependsOnJob => {}
        }
        let record = self.dispatcher.ledger().job(job).await;
        match record? {
            Some(record) if !rules.allow_job(by, operation, &record.call) => {
                Err(Refusal::Forbidden)
            }
            _ => Ok(()),
        }
    }
}

impl Permission {
    /// True if it has to be renewed before it is used again.
    pub(super) fn is_due(&self, by: &Client) -> bool {
        self.is_stale
            // An error says that nothing can change any more.
            || self.rules.has_changed().unwrap_or(false)
            || by.proof.is_some() && self.looked.elapsed() >= LOOK_EVERY
    }

    /// Completes when it has to be renewed. Cancel safe.
    async fn due(&mut self, by: &Client) {
        if self.is_stale {
            return;
        }
        let changed = self.rules.changed();
        match by.proof {
            // In a box: most clients need no timer, and there can be many that wait.
            Some(_) => {
                let look = Box::pin(sleep_until(self.looked + LOOK_EVERY));
                tokio::select! {
                    Ok(()) = changed => {}
                    () = look => {}
                }
            }
            None => {
                if changed.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
        self.is_stale = true;
    }
}
