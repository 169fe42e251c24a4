//! A job's packets for one reader (client protocol, section 6), as the segments they are
//! kept in: a face makes its lines of them.
//!
//! A reader owns nothing of the job. What comes next is the core's to say
//! ([`harp_jobs::jobs::Follower`]); here is which packets are wanted, and whether the client
//! still may have them.

use std::pin::pin;
use std::sync::Arc;

use harp_jobs::access::Operation;
use harp_jobs::client::Client;
use harp_jobs::jobs::{Followed, Follower, Known, NotKnown, Outages};
use harp_jobs::live::TailBatch;
use harp_jobs::record::EndRecord;
use harp_jobs::refusal::Refusal;
use harp_jobs::segment::Segment;
use harp_values::JobId;

use super::Desk;
use super::permission::Permission;
use crate::meters::Present;

/// Bytes of packets that are given out at once, unless one packet is longer.
const BATCH: usize = 64 * 1024;

/// Which packets of a job are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first of them.
    pub start: Start,
    /// The last of them.
    pub until: Until,
}

/// The first packet that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The packet of this number.
    At(u64),
    /// This many before the end of the packets collected so far.
    Recent(u64),
}

/// The last packet that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The job's last one, however long it takes.
    End,
    /// The last one collected so far, or the last of so many.
    Now {
        /// At most so many.
        limit: Option<u64>,
    },
}

/// What one reader still has to get.
pub struct Packets {
    desk: Arc<Desk>,
    by: Client,
    permission: Permission,
    follower: Follower,
    /// Where a page ends and with what; `None` follows to the end of the job.
    page: Option<Page>,
    finished: bool,
    /// How many the job had at the beginning.
    collected: u64,
    /// Counts it as long as it follows.
    _follows: Option<Present>,
}

/// What comes next of a job's packets.
#[derive(Debug)]
pub enum Next {
    /// Packets.
    Some(Piece),
    /// The end of what was asked for: how the job ended, or `None` if there is more, or will
    /// be.
    End(Option<Arc<EndRecord>>),
    /// Nothing: the end has been given out.
    Finished,
    /// Nothing: it would have to be waited for, and nobody may any more.
    Closing,
}

/// Some packets: all those from number `first` up to, not including, number `end`. There may
/// be others around them.
#[derive(Debug)]
pub struct Piece {
    /// Number of the first.
    pub first: u64,
    /// Number after that of the last.
    pub end: u64,
    /// Where they are.
    pub batches: Batches,
}

/// Where packets are, in order.
#[derive(Debug)]
pub enum Batches {
    /// In the memory of a job that lives, for all of its followers.
    Held(Vec<Arc<TailBatch>>),
    /// Out of the store, for this reader.
    Read(Vec<Segment>),
}

#[derive(Debug)]
struct Page {
    /// The number after its last packet.
    end: u64,
    /// How the job ended, if its end follows.
    how: Option<Arc<EndRecord>>,
}

impl Desk {
    /// A job's packets. Whoever follows a job to its end also waits for the end of an outage
    /// of the store. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`]; [`Refusal::Closing`] if that would have
    /// to be waited for and nobody may any more.
    pub async fn packets(
        self: &Arc<Self>,
        by: &Client,
        job: JobId,
        span: Span,
    ) -> Result<Packets, Refusal> {
        let permission = self.permit(by, Operation::Read, job).await?;
        let outages = match span.until {
            Until::End => Outages::WaitOut,
            Until::Now { .. } => Outages::Tell,
        };
        let mut follower = self.dispatcher.jobs().follow(job, 0, outages);
        let known = follower.known().await?.ok_or(Refusal::NoSuchJob)?;
        let packets = known.packets.unwrap_or_default();
        let first = match span.start {
            Start::At(number) => number,
            Start::Recent(count) => packets.saturating_sub(count),
        };
        follower.go_to(first);
        Ok(Packets {
            desk: Arc::clone(self),
            by: by.clone(),
            permission,
            follower,
            page: match span.until {
                Until::End => None,
                Until::Now { limit } => Some(Page::of(first, limit, known)),
            },
            finished: false,
            collected: packets,
            _follows: match span.until {
                Until::End => Some(self.meters.follows()),
                Until::Now { .. } => None,
            },
        })
    }
}

impl Page {
    fn of(first: u64, limit: Option<u64>, known: Known) -> Page {
        let packets = known.packets.unwrap_or_default();
        match limit.map(|limit| first.saturating_add(limit)) {
            Some(end) if end <= packets => Page { end, how: None },
            _ => Page {
                end: packets,
                how: known.end,
            },
        }
    }
}

impl Packets {
    /// The number of the next packet.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.follower.position()
    }

    /// How many packets the job has, as far as has been seen.
    #[must_use]
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// What comes next. Waits while there is nothing to tell, unless nobody may wait any
    /// more. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`]; [`Refusal::NoSuchJob`] if the job is pruned while it is read;
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`] and [`Refusal::Forbidden`] within 10 s if
    /// the client may not read it any more.
    pub async fn next(&mut self) -> Result<Next, Refusal> {
        if self.finished {
            return Ok(Next::Finished);
        }
        if self.permission.is_due(&self.by) {
            let renewed = self.desk.renew(&mut self.permission, &self.by);
            Box::pin(renewed).await?;
        }
        let first = self.follower.position();
        if let Some(page) = &self.page
            && first >= page.end
        {
            self.finished = true;
            return Ok(Next::End(page.how.clone()));
        }
        let followed = {
            let followed = pin!(self.follower.next(BATCH));
            let desk = &self.desk;
            desk.while_permitted(&mut self.permission, &self.by, followed)
                .await?
        };
        let batches = match followed {
            Ok(Followed::Recent(batches)) => Batches::Held(batches),
            Ok(Followed::Kept(segments)) => Batches::Read(segments),
            Ok(Followed::End(end)) => {
                self.finished = true;
                return Ok(Next::End(Some(end)));
            }
            Ok(Followed::Nothing) => return Err(Refusal::NoSuchJob),
            Err(NotKnown::Closing) => return Ok(Next::Closing),
            Err(error) => return Err(error.into()),
        };
        let known = self.follower.position();
        self.collected = self.collected.max(known);
        let end = self.page.as_ref().map_or(known, |page| page.end.min(known));
        Ok(Next::Some(Piece {
            first,
            end,
            batches,
        }))
    }
}
