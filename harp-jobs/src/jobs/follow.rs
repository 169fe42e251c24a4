//! Following a job: its packets as they become durable, then its end.

use std::sync::Arc;

use harp_values::JobId;
use tokio::sync::watch;

use super::{Jobs, NotKnown};
use crate::ledger::Whereabouts;
use crate::live::{JobView, Progress, TailBatch};
use crate::record::EndRecord;
use crate::segment::Segment;

/// Somebody who follows a job.
pub struct Follower {
    jobs: Arc<Jobs>,
    view: JobView,
    progress: watch::Receiver<Progress>,
    /// The number of the next packet.
    next: u64,
    /// An end that the ledger has told of.
    end: Option<Arc<EndRecord>>,
}

/// What comes next of a job that is followed.
#[derive(Debug)]
pub enum Followed {
    /// Packets out of memory; the first batch may begin before the number that is wanted.
    Recent(Vec<Arc<TailBatch>>),
    /// Packets out of the ledger.
    Kept(Vec<Segment>),
    /// All packets were told, and this is the end.
    End(Arc<EndRecord>),
    /// There is no such job.
    Nothing,
}

impl Jobs {
    /// Follows a job from a packet on.
    #[must_use]
    pub fn follow(self: &Arc<Self>, job: JobId, from: u64) -> Follower {
        let view = self.handles.view(job);
        Follower {
            jobs: Arc::clone(self),
            progress: view.watch(),
            view,
            next: from,
            end: None,
        }
    }
}

impl Follower {
    /// The number of the packet that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// What comes next, about `most` bytes of packets at once but at least one. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotKnown`] if the job is damaged or the dispatcher stops. An outage is waited for.
    pub async fn next(&mut self, most: usize) -> Result<Followed, NotKnown> {
        loop {
            let Progress { packets, end, .. } = self.progress.borrow_and_update().clone();
            let end = end.or_else(|| self.end.clone());
            let known = end.as_ref().map(|end| end.packets).or(packets);
            match (known, end) {
                (Some(packets), _) if packets > self.next => {
                    if let Some(followed) = self.packets(most).await? {
                        return Ok(followed);
                    }
                    // They are gone: pruned.
                    return Ok(Followed::Nothing);
                }
                (_, Some(end)) => return Ok(Followed::End(end)),
                (Some(_), None) => self.changed().await?,
                (None, None) => {
                    if let Some(followed) = self.ask(most).await? {
                        return Ok(followed);
                    }
                }
            }
        }
    }

    /// Nobody here has told of the job: what the ledger knows.
    async fn ask(&mut self, most: usize) -> Result<Option<Followed>, NotKnown> {
        let job = self.view.job();
        let place = match self.jobs.ledger.whereabouts(&[job]).await {
            Ok(places) => places.first().copied().unwrap_or(Whereabouts::Nothing),
            Err(error) => return self.jobs.wait_out(error).await.map(|()| None),
        };
        match place {
            Whereabouts::Nothing => return Ok(Some(Followed::Nothing)),
            Whereabouts::Ended => match self.jobs.ledger.end(job).await {
                Ok(Some(end)) => {
                    self.end = Some(end);
                    return Ok(None);
                }
                Ok(None) => return Ok(Some(Followed::Nothing)),
                Err(error) => return self.jobs.wait_out(error).await.map(|()| None),
            },
            Whereabouts::Waits | Whereabouts::Here | Whereabouts::There(_) => {}
        }
        // Those of earlier attempts.
        if let Some(followed) = self.packets(most).await? {
            return Ok(Some(followed));
        }
        self.changed().await?;
        Ok(None)
    }

    async fn packets(&mut self, most: usize) -> Result<Option<Followed>, NotKnown> {
        if let Some(batches) = self.view.recent(self.next, most)
            && let Some(last) = batches.last()
        {
            self.next = last.end();
            return Ok(Some(Followed::Recent(batches)));
        }
        loop {
            let job = self.view.job();
            let segments = self.jobs.ledger.segments(job, self.next, most).await;
            match segments {
                Ok(segments) => {
                    let Some(last) = segments.last() else {
                        return Ok(None);
                    };
                    self.next = last.end();
                    return Ok(Some(Followed::Kept(segments)));
                }
                Err(error) => self.jobs.wait_out(error).await?,
            }
        }
    }

    async fn changed(&mut self) -> Result<(), NotKnown> {
        tokio::select! {
            biased;
            // The sender is in the handle, of which this has a view.
            _ = self.progress.changed() => Ok(()),
            () = self.jobs.over() => Err(NotKnown::Closing),
        }
    }
}
