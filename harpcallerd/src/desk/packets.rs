//! A job's packets for one reader (client protocol, section 6), as the segments they are
//! kept in: a face makes its lines of them.
//!
//! A reader owns nothing of the job: it has the number of the next packet it wants and,
//! while the job lives, a watch of how far that has come. Replay and live are one path:
//! what is there from the next number on, from the tail in memory or the store behind
//! it; then the end; else wait. A slow reader delays nobody and costs two batches.

use std::sync::Arc;
use std::time::Duration;

use harp_proto::{JobId, Outcome};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Desk;
use super::permission::Permission;
use crate::access::Operation;
use crate::client::Client;
use crate::jobs::{Progress, TailBatch, Visit};
use crate::record::EndRecord;
use crate::refusal::Refusal;
use crate::segment::Segment;
use crate::store::{Store, StoreError};

/// Bytes of packets that are given out at once, unless one packet is longer.
const BATCH: usize = 64 * 1024;

/// Bytes of packets that are given at once to a reader out of the store that takes each batch
/// within [`QUICK`]: so fast that there cannot be many of them.
const QUICK_BATCH: usize = 256 * 1024;
const QUICK: Duration = Duration::from_millis(5);

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
#[derive(Debug)]
pub struct Packets {
    desk: Arc<Desk>,
    by: Client,
    permission: Permission,
    id: JobId,
    source: Source,
    next: u64,
    /// Where a page ends and with what; `None` follows to the end of the job.
    page: Option<Page>,
    finished: bool,
    /// Packets that are being read.
    ahead: Option<Ahead>,
    /// Bytes of packets to read out of the store at once.
    batch: usize,
    /// When the reader has been given packets out of the store.
    given: Option<Instant>,
}

/// Packets from one on, on their way out of the store: at most one batch.
#[derive(Debug)]
struct Ahead {
    from: u64,
    read: JoinHandle<Result<Vec<Segment>, StoreError>>,
}

/// What comes next of a job's packets.
#[derive(Debug)]
pub enum Next {
    /// Packets.
    Some(Piece),
    /// The end of what was asked for: how the job ended, or `None` if there is more, or will
    /// be.
    End(Option<Arc<Outcome>>),
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
    /// In the memory of a job that lives, for all who follow.
    Held(Vec<Arc<TailBatch>>),
    /// Out of the store, for this reader.
    Read(Vec<Segment>),
}

#[derive(Debug)]
enum Source {
    Live(Visit, watch::Receiver<Progress>),
    /// The job ended before the reader came.
    Ended(Progress),
}

#[derive(Debug)]
struct Page {
    /// The number after its last packet.
    end: u64,
    /// How the job ended, if its end follows.
    outcome: Option<Arc<Outcome>>,
}

impl Desk {
    /// A job's packets. Whoever follows a job to its end also waits for the end of an outage
    /// of the store. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::Storage`].
    pub async fn packets(
        self: &Arc<Self>,
        by: &Client,
        job: JobId,
        span: Span,
    ) -> Result<Packets, Refusal> {
        let permission = self.permit(by, Operation::Read, job).await?;
        let source = self.source(job, span.until).await?;
        let progress = source.progress();
        let next = match span.start {
            Start::At(number) => number,
            Start::Recent(count) => progress.packets.saturating_sub(count),
        };
        let page = match span.until {
            Until::End => None,
            Until::Now { limit } => Some(Page::of(next, limit, progress)),
        };
        Ok(Packets {
            desk: Arc::clone(self),
            by: by.clone(),
            permission,
            id: job,
            source,
            next,
            page,
            finished: false,
            ahead: None,
            batch: BATCH,
            given: None,
        })
    }

    async fn source(&self, job: JobId, until: Until) -> Result<Source, Refusal> {
        // The handle first: if the job ends in between, its watch keeps the end.
        let live = self.dispatcher.jobs().visit(job);
        let watch = live.watch();
        if live.is_owned() || self.dispatcher.ledger().is_live(job) {
            return Ok(Source::Live(live, watch));
        }
        let end = match until {
            Until::End => self.stored_end(job).await,
            Until::Now { .. } => self.dispatcher.store().outcome(job).await,
        };
        let end: Option<EndRecord> = end.map_err(Refusal::storage)?;
        let end = end.ok_or(Refusal::NoSuchJob)?;
        Ok(Source::Ended(Progress {
            packets: end.packets,
            outcome: Some(Arc::new(end.outcome)),
            ..Progress::default()
        }))
    }
}

impl Page {
    fn of(next: u64, limit: Option<u64>, progress: Progress) -> Page {
        match limit.map(|limit| next.saturating_add(limit)) {
            Some(end) if end <= progress.packets => Page { end, outcome: None },
            _ => Page {
                end: progress.packets,
                outcome: progress.outcome,
            },
        }
    }
}

impl Packets {
    /// What comes next. Waits while there is nothing to tell, unless nobody may wait any
    /// more. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`]; [`Refusal::NoSuchJob`] if the job is pruned while it is read;
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`] and [`Refusal::Forbidden`] within 10 s if
    /// the client may not read it any more.
    pub async fn next(&mut self) -> Result<Next, Refusal> {
        loop {
            if self.finished {
                return Ok(Next::Finished);
            }
            if self.permission.is_due(&self.by) {
                self.desk.renew(&mut self.permission, &self.by).await?;
            }
            let progress = self.source.progress();
            let end = self.page.as_ref().map_or(progress.packets, |page| page.end);
            if self.next < end {
                return self.piece(end).await.map(Next::Some);
            }
            let outcome = match (&self.page, progress.outcome) {
                (Some(page), _) => page.outcome.clone(),
                (None, Some(outcome)) => Some(outcome),
                (None, None) => match self.changed().await? {
                    true => continue,
                    false => return Ok(Next::Closing),
                },
            };
            self.finished = true;
            return Ok(Next::End(outcome));
        }
    }

    /// Waits for news of a job that lives; false if nobody may wait any more. Cancel safe.
    async fn changed(&mut self) -> Result<bool, Refusal> {
        let (source, desk) = (&mut self.source, &self.desk);
        let changed = async {
            tokio::select! {
                biased;
                () = source.changed() => true,
                () = desk.closing.cancelled() => false,
            }
        };
        desk.while_permitted(&mut self.permission, &self.by, changed)
            .await
    }

    /// Some packets from the next one on, all of numbers below `end`. Cancel safe.
    async fn piece(&mut self, end: u64) -> Result<Piece, Refusal> {
        let piece = match self.source.tail(self.next) {
            Some(held) => Piece::held(self.next, end, held),
            None => self.in_store(end).await?,
        };
        if piece.end == self.next {
            return Err(self.missing().await);
        }
        self.next = piece.end;
        Ok(piece)
    }

    /// Why the next packet is not there: the job has been pruned meanwhile, or the store
    /// is damaged.
    async fn missing(&self) -> Refusal {
        let has_ended = self.source.progress().outcome.is_some();
        match self.desk.dispatcher.store().outcome(self.id).await {
            Ok(None) if has_ended => Refusal::NoSuchJob,
            Err(error) => Refusal::storage(error),
            Ok(_) => Refusal::storage(format_args!(
                "packet {} of job {} is not there; see the dispatcher's log and check the store",
                self.next, self.id
            )),
        }
    }

    /// Packets out of the store. While the reader takes them, the next ones are read.
    async fn in_store(&mut self, end: u64) -> Result<Piece, Refusal> {
        self.batch = match self.given {
            Some(given) if given.elapsed() < QUICK => (self.batch * 2).min(QUICK_BATCH),
            _ => BATCH,
        };
        let read = match self.ahead.take() {
            Some(ahead) if ahead.from == self.next => self.ahead.insert(ahead),
            _ => self.ahead.insert(self.read_ahead(self.next)),
        };
        let read = (&mut read.read).await;
        self.ahead = None;
        let segments = read.map_err(Refusal::storage)?.map_err(Refusal::storage)?;
        let next = segments.last().map_or(self.next, Segment::end);
        if self.next < next && next < end {
            self.ahead = Some(self.read_ahead(next));
        }
        self.given = Some(Instant::now());
        Ok(Piece::read(self.next, end, segments))
    }

    fn read_ahead(&self, from: u64) -> Ahead {
        let store: Store = self.desk.dispatcher.store().clone();
        let (id, batch) = (self.id, self.batch);
        let is_followed = self.page.is_none();
        let read = tokio::spawn(async move {
            let read = || store.segments(id, from, batch);
            match is_followed {
                true => store.patiently(read).await,
                false => read().await,
            }
        });
        Ahead { from, read }
    }
}

impl Piece {
    fn held(first: u64, end: u64, batches: Vec<Arc<TailBatch>>) -> Piece {
        let segments = batches.iter().flat_map(|batch| batch.segments());
        Piece {
            first,
            end: contiguous(first, segments).min(end).max(first),
            batches: Batches::Held(batches),
        }
    }

    fn read(first: u64, end: u64, segments: Vec<Segment>) -> Piece {
        Piece {
            first,
            end: contiguous(first, &segments).min(end).max(first),
            batches: Batches::Read(segments),
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

impl Source {
    fn progress(&self) -> Progress {
        match self {
            Source::Live(_, watch) => watch.borrow().clone(),
            Source::Ended(progress) => progress.clone(),
        }
    }

    fn tail(&self, from: u64) -> Option<Vec<Arc<TailBatch>>> {
        match self {
            Source::Live(live, _) => live.recent_packets(from, BATCH),
            Source::Ended(_) => None,
        }
    }

    /// Waits for news since the last call. Cancel safe.
    async fn changed(&mut self) {
        match self {
            // The sender is in the handle beside it.
            Source::Live(_, watch) => drop(watch.changed().await),
            Source::Ended(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBuilder;

    fn segment(first: u64) -> Segment {
        let mut builder = SegmentBuilder::new(first);
        builder.push(1, b"0");
        builder.push(2, b"0");
        builder.finish()
    }

    #[test]
    fn a_piece_ends_before_a_packet_that_is_missing() {
        let end = |first, segments: &[u64], end| {
            let segments = segments.iter().map(|first| segment(*first)).collect();
            Piece::read(first, end, segments).end
        };
        assert_eq!(end(1, &[0, 2, 6], 8), 4);
        assert_eq!(end(1, &[0, 2, 4], 3), 3);
        // None at all where the next one is missing.
        assert_eq!(end(1, &[2], 8), 1);
        assert_eq!(end(1, &[], 8), 1);
    }
}
