//! Cancelling a job, wherever it stands.

use std::sync::Arc;

use harp_values::{JobId, Outcome};
use tokio::sync::watch;

use super::Jobs;
use crate::ledger::{Lost, Unreadable, Whereabouts, Which};
use crate::live::Progress;
use crate::record::EndRecord;
use crate::transport::Proof;

/// What a cancel has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// Whether the job has ended by it: false if it had ended before, or there is none.
    pub cancelled: bool,
    /// What is known of its host; unconfirmed where nothing was cancelled.
    pub host: Proof,
}

/// Why it is not known what became of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// It cannot be written or read at present. What was asked for goes on.
    #[error("{0}")]
    Storage(Arc<str>),
    /// The dispatcher stops: the job is left to the next start.
    #[error("the dispatcher is stopping")]
    Closing,
}

impl From<Unreadable> for NotKnown {
    fn from(error: Unreadable) -> NotKnown {
        match error {
            Unreadable::Closed => NotKnown::Closing,
            Unreadable::Outage(why) | Unreadable::Damaged(why) => NotKnown::Storage(why),
        }
    }
}

impl Jobs {
    /// Cancels a job and waits until its end is durable; with `confirm` also until its host
    /// is done with it, or can have nothing left.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]; the cancel goes on all the same.
    pub async fn cancel(&self, job: JobId, confirm: bool) -> Result<Cancelled, NotKnown> {
        let nothing = Cancelled {
            cancelled: false,
            host: Proof::Unconfirmed,
        };
        let view = self.handles.view(job);
        let mut progress = view.watch();
        // Whoever holds the job sees the wish, also one who comes to.
        view.wish_cancel();
        let mut was_live = false;
        loop {
            // From here on no change is missed.
            progress.borrow_and_update();
            let jobs = Which::Jobs(vec![job]);
            let withdrawn = self.ledger.withdraw(jobs, Outcome::Cancelled);
            let withdrawn = self.unless_in_trouble(withdrawn).await?;
            match withdrawn {
                Ok(withdrawn) if withdrawn.contains(&job) => {
                    // It has never been at a host.
                    return Ok(Cancelled {
                        cancelled: true,
                        host: Proof::Confirmed,
                    });
                }
                Ok(_) => {}
                Err(Lost::Refused(why)) => return Err(NotKnown::Storage(why)),
                Err(_) => return Err(NotKnown::Closing),
            }
            let whereabouts = self.ledger.whereabouts(&[job]);
            let whereabouts = self.unless_in_trouble(whereabouts).await??;
            match whereabouts.first() {
                None | Some(Whereabouts::Nothing) => return Ok(nothing),
                Some(Whereabouts::Ended) if !was_live => return Ok(nothing),
                Some(Whereabouts::Ended) => {
                    let end = self.unless_in_trouble(self.ledger.end(job)).await??;
                    return self.judge(end, confirm, &mut progress).await;
                }
                Some(Whereabouts::Waits | Whereabouts::Here | Whereabouts::There(_)) => {}
            }
            was_live = true;
            // Until it has ended, or waits again and can be withdrawn.
            let changed = self.unless_in_trouble(changed(&mut progress)).await?;
            if let Some(end) = changed {
                return self.judge(Some(end), confirm, &mut progress).await;
            }
        }
    }

    /// Waits for a job's end. `None` if there is no such job.
    ///
    /// # Errors
    ///
    /// [`NotKnown::Closing`]. An outage is waited for.
    pub async fn wait(&self, job: JobId) -> Result<Option<Arc<EndRecord>>, NotKnown> {
        let view = self.handles.view(job);
        let mut progress = view.watch();
        loop {
            if let Some(end) = progress.borrow_and_update().end.clone() {
                return Ok(Some(end));
            }
            match self.ledger.whereabouts(&[job]).await {
                Ok(places) => match places.first() {
                    None | Some(Whereabouts::Nothing) => return Ok(None),
                    Some(Whereabouts::Ended) => match self.ledger.end(job).await {
                        Ok(end) => return Ok(end),
                        Err(error) => self.wait_out(error).await?,
                    },
                    _ => tokio::select! {
                        biased;
                        _ = changed(&mut progress) => {}
                        () = self.over() => return Err(NotKnown::Closing),
                    },
                },
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    /// Waits until it can be read again.
    pub(super) async fn wait_out(&self, error: Unreadable) -> Result<(), NotKnown> {
        if !matches!(error, Unreadable::Outage(_)) {
            return Err(error.into());
        }
        let mut outage = self.ledger.outage();
        tokio::select! {
            biased;
            // A ledger that is gone says so at the next question.
            _ = outage.wait_for(Option::is_none) => Ok(()),
            () = self.over() => Err(NotKnown::Closing),
        }
    }

    async fn judge(
        &self,
        end: Option<Arc<EndRecord>>,
        confirm: bool,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<Cancelled, NotKnown> {
        let cancelled = end.is_some_and(|end| end.outcome == Outcome::Cancelled);
        let mut host = Proof::Unconfirmed;
        if cancelled && confirm {
            let known = progress.wait_for(|progress| progress.host.is_some());
            tokio::select! {
                biased;
                known = known => host = known.ok().and_then(|now| now.host).unwrap_or(host),
                () = self.over() => {}
            }
        }
        Ok(Cancelled { cancelled, host })
    }

    /// Waits for something that needs the ledger, but for no outage and no longer than
    /// anybody waits.
    async fn unless_in_trouble<T>(&self, work: impl Future<Output = T>) -> Result<T, NotKnown> {
        let mut outage = self.ledger.outage();
        let down = async {
            let why = outage.wait_for(Option::is_some).await;
            why.ok().and_then(|why| why.clone())
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            why = down => Err(why.map_or(NotKnown::Closing, NotKnown::Storage)),
            () = self.over() => Err(NotKnown::Closing),
        }
    }
}

/// Waits for news of a job. Some if it has ended.
async fn changed(progress: &mut watch::Receiver<Progress>) -> Option<Arc<EndRecord>> {
    if progress.changed().await.is_err() {
        // The sender is in the handle, which the caller has a view of.
        std::future::pending::<()>().await;
    }
    progress.borrow_and_update().end.clone()
}
