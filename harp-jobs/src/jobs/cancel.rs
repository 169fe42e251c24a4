//! Cancelling a job, wherever it stands.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use harp_values::{JobId, Outcome, QueueName};
use tokio::sync::watch;

use super::{Ended, Jobs};
use crate::ledger::{Lost, Unreadable, Whereabouts, Which};
use crate::live::{JobView, Progress};
use crate::record::EndRecord;
use crate::transport::Proof;
use crate::world::Moment;

/// An outage that is shorter delays a cancel; in a longer one it is told that its effect is not
/// known. As long as a read waits.
const PASSING: Duration = Duration::from_secs(5);

/// How long whoever holds a job elsewhere may take to end it.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// A job that was cancelled.
pub struct Cancelled {
    jobs: Arc<Jobs>,
    progress: watch::Receiver<Progress>,
    /// What is known of the host, if it is.
    host: Option<Proof>,
    /// Keeps the handle.
    _view: JobView,
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
    /// Cancels a job and waits until its end is durable. `None` if it had ended before, or
    /// ended otherwise, or there is no such job.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]; the cancel goes on all the same.
    pub async fn cancel(self: &Arc<Self>, job: JobId) -> Result<Option<Cancelled>, NotKnown> {
        let view = self.handles.view(job);
        let mut progress = view.watch();
        // Known before anybody acts on the wish. One whose end is shown has ended.
        let is_live = if view.is_run() {
            Ok(progress.borrow().end.is_none())
        } else {
            self.is_live(job).await
        };
        if is_live == Ok(false) {
            return Ok(None);
        }
        // Whoever holds the job sees the wish, also one who comes to.
        view.wish_cancel();
        let mut until = None;
        let end = loop {
            // From here on no change is missed.
            let (end, seen) = {
                let progress = progress.borrow_and_update();
                (progress.end.clone(), stands(&progress))
            };
            if end.is_some() {
                break end;
            }
            let jobs = Which::Jobs(vec![job]);
            let withdrawn = self.ledger.withdraw(jobs, Outcome::Cancelled);
            let withdrawn = self.unless_in_trouble(withdrawn).await?;
            match withdrawn {
                // It has never been at a host.
                Ok(withdrawn) if withdrawn.contains(&job) => {
                    let host = Some(Proof::Confirmed);
                    return Ok(Some(self.cancelled(view, progress, host)));
                }
                Ok(_) => {}
                Err(Lost::Refused(why)) => return Err(NotKnown::Storage(why)),
                Err(_) => return Err(NotKnown::Closing),
            }
            if let Err(error) = &is_live {
                return Err(error.clone().into());
            }
            if !view.is_run() {
                let whereabouts = self.ledger.whereabouts(&[job]);
                let whereabouts = self.unless_in_trouble(whereabouts).await??;
                match whereabouts.first() {
                    None | Some(Whereabouts::Nothing) => return Ok(None),
                    Some(Whereabouts::Ended) => {
                        break self.unless_in_trouble(self.ledger.end(job)).await??;
                    }
                    Some(Whereabouts::Waits | Whereabouts::Here) => {}
                    Some(Whereabouts::There(_)) => {
                        until.get_or_insert(self.world.now() + ELSEWHERE);
                        let wish = self.ledger.wish(job);
                        match self.unless_in_trouble(wish).await? {
                            Ok(_) => {}
                            Err(Lost::Refused(why)) => return Err(NotKnown::Storage(why)),
                            Err(_) => return Err(NotKnown::Closing),
                        }
                    }
                }
            }
            // Until it has ended, or waits again and can be withdrawn.
            let until = until.filter(|_| !view.is_run()).unwrap_or(Moment::NEVER);
            let changed = self.unless_in_trouble(changed(&mut progress, seen));
            let end = tokio::select! {
                biased;
                end = changed => end?,
                () = self.world.sleep(until) => {
                    let why = "the dispatcher that runs the job does not answer";
                    return Err(NotKnown::Storage(why.into()));
                }
            };
            if end.is_some() {
                break end;
            }
        };
        let is_cancelled = end.is_some_and(|end| end.outcome == Outcome::Cancelled);
        Ok(is_cancelled.then(|| self.cancelled(view, progress, None)))
    }

    fn cancelled(
        self: &Arc<Self>,
        view: JobView,
        progress: watch::Receiver<Progress>,
        host: Option<Proof>,
    ) -> Cancelled {
        Cancelled {
            jobs: Arc::clone(self),
            progress,
            host,
            _view: view,
        }
    }

    /// Cancels all jobs of a queue and waits until their ends are durable. Those that wait are
    /// taken out in one step, so none of them starts in between; one whose submission has not
    /// been answered counts as one that comes after. Returns how many have been cancelled.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]; the cancel goes on all the same.
    pub async fn cancel_queue(self: &Arc<Self>, name: &QueueName) -> Result<usize, NotKnown> {
        let all = Which::Queue(name.clone());
        let withdrawn = self.ledger.withdraw(all, Outcome::Cancelled);
        let members = self.ledger.queue_jobs(name).await?;
        let running = join_all(members.running.iter().map(|job| self.cancel(*job)));
        let waiting = self.unless_in_trouble(withdrawn);
        let (waiting, running) = tokio::join!(waiting, running);
        // One that had its turn and had not started may be among both.
        let mut all: HashSet<JobId> = match waiting? {
            Ok(jobs) => jobs.into_iter().collect(),
            Err(Lost::Refused(why)) => return Err(NotKnown::Storage(why)),
            Err(_) => return Err(NotKnown::Closing),
        };
        for (job, cancelled) in members.running.into_iter().zip(running) {
            if cancelled?.is_some() {
                all.insert(job);
            }
        }
        Ok(all.len())
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
            let Progress { packets, end, .. } = progress.borrow_and_update().clone();
            if let Some(end) = end {
                return Ok(Some(end));
            }
            if packets.is_some() {
                // Whoever runs it will tell.
                self.changed_or_over(&mut progress).await?;
                continue;
            }
            match self.ledger_end(job).await {
                Ok(Ended::Yes(end)) => return Ok(Some(end)),
                Ok(Ended::Nothing) => return Ok(None),
                Ok(Ended::NotYet) => self.changed_or_over(&mut progress).await?,
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    async fn is_live(&self, job: JobId) -> Result<bool, Unreadable> {
        let places = self.ledger.whereabouts(&[job]).await?;
        Ok(!matches!(
            places.first(),
            None | Some(Whereabouts::Nothing | Whereabouts::Ended)
        ))
    }

    async fn changed_or_over(
        &self,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<(), NotKnown> {
        tokio::select! {
            biased;
            () = told(progress) => Ok(()),
            () = self.over() => Err(NotKnown::Closing),
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

    /// Waits for something that needs the ledger, but for no outage that lasts and no longer
    /// than anybody waits.
    async fn unless_in_trouble<T>(&self, work: impl Future<Output = T>) -> Result<T, NotKnown> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            trouble = self.lasting_outage() => Err(trouble),
            () = self.over() => Err(NotKnown::Closing),
        }
    }

    /// Completes when an outage has lasted for [`PASSING`] while this is waited for, or there
    /// is no ledger any more. A store that can be written for moments, as one that has room for
    /// a little at a time, is in the same outage until it could be for as long.
    async fn lasting_outage(&self) -> NotKnown {
        let mut outage = self.ledger.outage();
        // When it began, and when the store could last be written again.
        let (mut began, mut ended): (Option<Moment>, Option<Moment>) = (None, None);
        loop {
            let why = match outage.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(why)) => Arc::clone(why),
                Ok(None) | Err(_) => return NotKnown::Closing,
            };
            let now = self.world.now();
            if ended.is_none_or(|ended| now >= ended + PASSING) {
                began = Some(now);
            }
            let lasts = self.world.sleep(began.unwrap_or(now) + PASSING);
            tokio::select! {
                biased;
                over = outage.wait_for(Option::is_none) => {
                    if over.is_err() {
                        return NotKnown::Closing;
                    }
                    ended = Some(self.world.now());
                }
                () = lasts => return NotKnown::Storage(why),
            }
        }
    }
}

impl Cancelled {
    /// Waits until the job's host is done with it, or nothing more can be found out about
    /// that: what is known of it then. A host that could not be reached when the job ended is
    /// not waited for. Cancel safe.
    pub async fn host(mut self) -> Proof {
        if let Some(host) = self.host {
            return host;
        }
        let known = self
            .progress
            .wait_for(|progress| progress.host.is_some() || progress.unreachable_since.is_some());
        tokio::select! {
            biased;
            known = known => {
                let host = known.ok().and_then(|progress| progress.host);
                host.unwrap_or(Proof::Unconfirmed)
            }
            () = self.jobs.over() => Proof::Unconfirmed,
        }
    }
}

/// What a change of makes it worth asking where a job stands.
fn stands(progress: &Progress) -> (bool, u32) {
    (progress.packets.is_some(), progress.attempts)
}

/// Waits until a job has ended, or stands otherwise than it was seen to. Some if it has ended.
async fn changed(
    progress: &mut watch::Receiver<Progress>,
    seen: (bool, u32),
) -> Option<Arc<EndRecord>> {
    loop {
        told(progress).await;
        let now = progress.borrow_and_update();
        if now.end.is_some() || stands(&now) != seen {
            return now.end.clone();
        }
    }
}

/// Waits for news of a job.
async fn told(progress: &mut watch::Receiver<Progress>) {
    if progress.changed().await.is_err() {
        // The sender is in the handle, which the caller has a view of.
        std::future::pending::<()>().await;
    }
}
