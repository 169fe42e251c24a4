//! Following a job: its packets as they become durable, then its end. What is there already
//! and what comes are one path: packets from the next number on, out of memory or the ledger
//! behind it; then the end; else it is waited for. A slow follower delays nobody.

use std::sync::Arc;
use std::time::Duration;

use harp_values::JobId;
use tokio::sync::watch;

use super::{Ended, Jobs, NotKnown};
use crate::ledger::{Answer, Unreadable, Whereabouts};
use crate::live::{JobView, Progress, TailBatch};
use crate::record::EndRecord;
use crate::segment::Segment;
use crate::world::Moment;

/// A follower that takes what it is given out of the ledger within this time is given more
/// at once: there cannot be many such.
const QUICK: Duration = Duration::from_millis(5);

/// So many times what it has asked for, at most.
const QUICK_TIMES: usize = 4;

/// Somebody who follows a job.
pub struct Follower {
    jobs: Arc<Jobs>,
    view: JobView,
    progress: watch::Receiver<Progress>,
    outages: Outages,
    /// The number of the next packet.
    next: u64,
    /// An end that the ledger has told of.
    end: Option<Arc<EndRecord>>,
    /// Packets that are being read out of the ledger while the follower is busy.
    ahead: Option<Ahead>,
    /// How many times more than it asks for the follower is given.
    times: usize,
    /// When it was given packets out of the ledger last.
    given: Option<Moment>,
}

/// What a follower does when nothing can be read for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outages {
    /// It waits.
    WaitOut,
    /// It says so.
    Tell,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// How many packets it has. `None` if it waits: those of earlier attempts are not
    /// counted then.
    pub packets: Option<u64>,
    /// How it ended, if it has.
    pub end: Option<Arc<EndRecord>>,
}

/// What comes next of a job that is followed.
#[derive(Debug)]
pub enum Followed {
    /// Packets out of memory, up to [`Follower::position`]; the first batch may begin before
    /// the number that is wanted, the last one end behind.
    Recent(Vec<Arc<TailBatch>>),
    /// Packets out of the ledger, likewise.
    Kept(Vec<Segment>),
    /// All packets were told, and this is the end.
    End(Arc<EndRecord>),
    /// There is no such job, or not any more.
    Nothing,
}

struct Ahead {
    from: u64,
    segments: Answer<Vec<Segment>, Unreadable>,
}

impl Jobs {
    /// Follows a job from a packet on.
    #[must_use]
    pub fn follow(self: &Arc<Self>, job: JobId, from: u64, outages: Outages) -> Follower {
        // A handle first: whatever happens from now on is told to it.
        let view = self.handles.view(job);
        Follower {
            jobs: Arc::clone(self),
            progress: view.watch(),
            view,
            outages,
            next: from,
            end: None,
            ahead: None,
            times: 1,
            given: None,
        }
    }
}

impl Follower {
    /// The number of the packet that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes on from another packet.
    pub fn go_to(&mut self, number: u64) {
        self.next = number;
    }

    /// How far the job has come; `None` if there is no such job. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotKnown`] if it cannot be read, or the dispatcher stops.
    pub async fn known(&mut self) -> Result<Option<Known>, NotKnown> {
        loop {
            let Progress { packets, end, .. } = self.progress.borrow_and_update().clone();
            if let Some(end) = end.or_else(|| self.end.clone()) {
                let packets = Some(end.packets);
                let end = Some(end);
                return Ok(Some(Known { packets, end }));
            }
            if packets.is_some() {
                return Ok(Some(Known { packets, end: None }));
            }
            // Nobody here has told of the job: what the ledger knows.
            match self.jobs.ledger_end(self.view.job()).await {
                Ok(Ended::Nothing) => return Ok(None),
                Ok(Ended::Yes(end)) => self.end = Some(end),
                Ok(Ended::NotYet) => {
                    let (packets, end) = (None, None);
                    return Ok(Some(Known { packets, end }));
                }
                Err(error) => self.trouble(error).await?,
            }
        }
    }

    /// What comes next, about `most` bytes of packets at once but at least one; more to a
    /// follower that takes them quickly. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotKnown`] if the job is damaged or cannot be read, or the dispatcher stops.
    pub async fn next(&mut self, most: usize) -> Result<Followed, NotKnown> {
        loop {
            let Some(Known { packets, end }) = self.known().await? else {
                return Ok(Followed::Nothing);
            };
            match packets {
                Some(packets) if packets > self.next => {
                    return match self.packets(most, packets).await? {
                        Some(followed) => Ok(followed),
                        None => self.missing().await,
                    };
                }
                // Those of earlier attempts.
                None => {
                    if let Some(followed) = self.packets(most, 0).await? {
                        return Ok(followed);
                    }
                }
                Some(_) => {}
            }
            match end {
                Some(end) => return Ok(Followed::End(end)),
                None => self.changed().await?,
            }
        }
    }

    /// Some packets from the next one on, of a job that has so many.
    async fn packets(&mut self, most: usize, all: u64) -> Result<Option<Followed>, NotKnown> {
        if let Some(batches) = self.view.recent(self.next, most) {
            let segments = batches.iter().flat_map(|batch| batch.segments());
            let end = contiguous(self.next, segments);
            if end > self.next {
                self.next = end;
                return Ok(Some(Followed::Recent(batches)));
            }
        }
        let now = self.jobs.world.now();
        self.times = match self.given {
            Some(given) if now.since(given) < QUICK => (self.times * 2).min(QUICK_TIMES),
            _ => 1,
        };
        let most = most.saturating_mul(self.times);
        loop {
            let from = self.next;
            let ahead = match self.ahead.take() {
                Some(ahead) if ahead.from == from => self.ahead.insert(ahead),
                _ => self.ahead.insert(self.read(from, most)),
            };
            let segments = (&mut ahead.segments).await;
            self.ahead = None;
            match segments {
                Ok(segments) => {
                    let end = contiguous(from, &segments);
                    if end == from {
                        return Ok(None);
                    }
                    (self.next, self.given) = (end, Some(self.jobs.world.now()));
                    if end < all {
                        self.ahead = Some(self.read(end, most));
                    }
                    return Ok(Some(Followed::Kept(segments)));
                }
                Err(error) => self.trouble(error).await?,
            }
        }
    }

    fn read(&self, from: u64, most: usize) -> Ahead {
        let job = self.view.job();
        let segments = self.jobs.ledger.segments(job, from, most);
        Ahead { from, segments }
    }

    /// What it means that the next packet is not there: the job has been pruned meanwhile, or
    /// is damaged.
    async fn missing(&mut self) -> Result<Followed, NotKnown> {
        let (number, job) = (self.next, self.view.job());
        let places = self.jobs.ledger.whereabouts(&[job]).await?;
        if places.first() == Some(&Whereabouts::Nothing) {
            return Ok(Followed::Nothing);
        }
        let why = format!(
            "packet {number} of job {job} is not there; see the dispatcher's log and check the store"
        );
        Err(NotKnown::Storage(why.into()))
    }

    /// Waits until it can be read again, or says that it cannot.
    async fn trouble(&mut self, error: Unreadable) -> Result<(), NotKnown> {
        match self.outages {
            Outages::WaitOut => self.jobs.wait_out(error).await,
            Outages::Tell => Err(error.into()),
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

/// The number after the last packet that can be reached from number `first` on without a gap.
fn contiguous<'s>(first: u64, segments: impl IntoIterator<Item = &'s Segment>) -> u64 {
    let mut next = first;
    for segment in segments {
        if segment.first() > next {
            break;
        }
        next = next.max(segment.end());
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBuilder;

    #[test]
    fn packets_end_before_one_that_is_missing() {
        let segment = |first: &u64| {
            let mut builder = SegmentBuilder::new(*first);
            builder.push(1, b"0");
            builder.push(2, b"0");
            builder.finish()
        };
        let end = |first, segments: &[u64]| {
            let segments: Vec<Segment> = segments.iter().map(segment).collect();
            contiguous(first, &segments)
        };
        assert_eq!(end(1, &[0, 2, 6]), 4);
        assert_eq!(end(1, &[0, 2, 4]), 6);
        // None at all where the next one is missing.
        assert_eq!(end(1, &[2]), 1);
        assert_eq!(end(1, &[]), 1);
    }
}
