//! A job's packets for one reader (client protocol, section 6).
//!
//! A reader owns nothing of the job: it has the number of the next packet it wants and,
//! while the job lives, a watch of how far that has come. Replay and live are one path:
//! what is there from the next number on, from the tail in memory or the store behind
//! it; then the end; else wait. A slow reader delays nobody and costs two batches.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_proto::client::{PacketLines, Reply, StreamReply, StreamStart};
use harp_proto::{Fault, JobId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::jobs::{LiveJob, Progress, TailBatch};
use crate::packet_lines;
use crate::record::EndRecord;
use crate::segment::Segment;
use crate::store::{Store, StoreError};

/// Bytes of packets whose lines are written at once, unless one packet is longer.
const BATCH: usize = 64 * 1024;

/// The same for a reader out of the store that takes each batch within [`QUICK`]: so fast
/// that there cannot be many of them.
const QUICK_BATCH: usize = 256 * 1024;
const QUICK: Duration = Duration::from_millis(5);

/// Lines of this length, which are there for all followers, are not worth being copied
/// behind others.
const LONG: usize = 16 * 1024;

/// What one reader still has to get.
#[derive(Debug)]
pub struct PacketStream {
    store: Store,
    id: JobId,
    source: Source,
    next: u64,
    timestamps: bool,
    /// Where a page ends and with which line; `None` follows to the end of the job.
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

/// What comes next of a stream.
#[derive(Debug)]
pub enum Lines {
    /// Lines, ready to be written.
    Some(Bytes),
    /// Nothing: the last line has been given out.
    Finished,
    /// Nothing: the stream would have to wait, and nobody may any more.
    Closing,
}

#[derive(Debug)]
enum Source {
    Live(Arc<LiveJob>, watch::Receiver<Progress>),
    /// The job ended before the reader came.
    Ended(Progress),
}

#[derive(Debug)]
struct Page {
    /// The number after its last packet.
    end: u64,
    last_line: StreamReply,
}

impl PacketStream {
    /// Everything from `start` to the end of the job, and how it ended. Whoever follows a
    /// job waits for the end of an outage of the store, too. Cancel safe.
    ///
    /// # Errors
    ///
    /// `invalid_jobid`, `storage_error`.
    pub async fn follow(
        dispatcher: &Dispatcher,
        id: JobId,
        start: StreamStart,
        timestamps: bool,
        closing: &CancellationToken,
    ) -> Result<PacketStream, Fault> {
        PacketStream::begin(dispatcher, id, start, timestamps, || {
            super::query::stored_end(dispatcher.store(), id, closing)
        })
        .await
    }

    async fn begin<F>(
        dispatcher: &Dispatcher,
        id: JobId,
        start: StreamStart,
        timestamps: bool,
        stored_end: impl FnOnce() -> F,
    ) -> Result<PacketStream, Fault>
    where
        F: Future<Output = Result<Option<EndRecord>, StoreError>>,
    {
        // The live handle first: if the job ends in between, its watch keeps the end.
        let source = match dispatcher.jobs().get(id) {
            Some(live) => {
                let watch = live.watch();
                Source::Live(live, watch)
            }
            None => {
                let end = stored_end().await.map_err(Fault::unreadable)?;
                let end = end.ok_or_else(Fault::invalid_job_id)?;
                Source::Ended(Progress {
                    packets: end.packets,
                    outcome: Some(Arc::new(end.outcome)),
                    ..Progress::default()
                })
            }
        };
        let next = match start {
            StreamStart::Since(number) => number,
            StreamStart::Recent(count) => source.progress().packets.saturating_sub(count),
        };
        Ok(PacketStream {
            store: dispatcher.store().clone(),
            id,
            source,
            next,
            timestamps,
            page: None,
            finished: false,
            ahead: None,
            batch: BATCH,
            given: None,
        })
    }

    /// What has been collected from `start` on, at most `limit` packets.
    ///
    /// # Errors
    ///
    /// `invalid_jobid`, `storage_error`.
    pub async fn read(
        dispatcher: &Dispatcher,
        id: JobId,
        start: StreamStart,
        timestamps: bool,
        limit: Option<u64>,
    ) -> Result<PacketStream, Fault> {
        let stored_end = || dispatcher.store().outcome(id);
        let mut stream = PacketStream::begin(dispatcher, id, start, timestamps, stored_end).await?;
        let progress = stream.source.progress();
        let limited = limit.map(|limit| stream.next.saturating_add(limit));
        stream.page = Some(match (limited, progress.outcome) {
            (Some(end), _) if end <= progress.packets => Page {
                end,
                last_line: StreamReply::Continue,
            },
            (_, Some(outcome)) => Page {
                end: progress.packets,
                last_line: StreamReply::Ended((*outcome).clone()),
            },
            (_, None) => Page {
                end: progress.packets,
                last_line: StreamReply::Continue,
            },
        });
        Ok(stream)
    }

    /// The next lines of the stream. Waits while there is nothing to tell, unless
    /// `closing` says that nobody may wait any more. Cancel safe.
    ///
    /// # Errors
    ///
    /// `storage_error`; `invalid_jobid` if the job is pruned while it is read.
    pub async fn next_lines(&mut self, closing: &CancellationToken) -> Result<Lines, Fault> {
        loop {
            if self.finished {
                return Ok(Lines::Finished);
            }
            let progress = self.source.progress();
            let end = self.page.as_ref().map_or(progress.packets, |page| page.end);
            if self.next < end {
                return self.packets(end).await.map(Lines::Some);
            }
            let last_line = match (&self.page, progress.outcome) {
                (Some(page), _) => page.last_line.clone(),
                (None, Some(outcome)) => StreamReply::Ended((*outcome).clone()),
                (None, None) => {
                    tokio::select! {
                        biased;
                        () = self.source.changed() => continue,
                        () = closing.cancelled() => return Ok(Lines::Closing),
                    }
                }
            };
            self.finished = true;
            let mut line = BytesMut::new();
            last_line.encode(&mut line);
            return Ok(Lines::Some(line.freeze()));
        }
    }

    /// Some packets from the next one on, all of numbers below `end`. Cancel safe.
    async fn packets(&mut self, end: u64) -> Result<Bytes, Fault> {
        let (lines, next) = match self.in_tail(end) {
            Some(found) => found,
            None => self.in_store(end).await?,
        };
        if next == self.next {
            return Err(self.missing().await);
        }
        self.next = next;
        Ok(lines)
    }

    /// Why the next packet is not there: the job has been pruned meanwhile, or the store
    /// is damaged.
    async fn missing(&self) -> Fault {
        match self.store.outcome(self.id).await {
            Ok(None) if self.has_ended() => Fault::invalid_job_id(),
            Err(error) => Fault::unreadable(error),
            Ok(_) => Fault::unreadable(format_args!(
                "packet {} of job {} is not there; see the dispatcher's log and check the store",
                self.next, self.id
            )),
        }
    }

    fn has_ended(&self) -> bool {
        self.source.progress().outcome.is_some()
    }

    /// Lines from the newest packets in memory, if the next one is among them, and the
    /// number after the last.
    fn in_tail(&self, end: u64) -> Option<(Bytes, u64)> {
        let mut lines = PacketLines::new(self.next);
        for held in self.source.tail(self.next)? {
            let is_whole = held.first() == lines.next() && held.end() <= end;
            if !is_whole || self.timestamps {
                for segment in held.segments() {
                    packet_lines::add(&mut lines, segment, end, self.timestamps);
                }
            } else if held.lines().len() < LONG {
                lines.append(held.lines(), held.end());
            } else if lines.next() == self.next {
                return Some((held.lines().clone(), held.end()));
            } else {
                break;
            }
        }
        let next = lines.next();
        Some((lines.into_bytes(), next))
    }

    /// The same from the store. While the reader takes them, the next packets are read.
    async fn in_store(&mut self, end: u64) -> Result<(Bytes, u64), Fault> {
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
        let segments = read
            .map_err(Fault::unreadable)?
            .map_err(Fault::unreadable)?;
        let next = segments.last().map_or(self.next, Segment::end);
        if self.next < next && next < end {
            self.ahead = Some(self.read_ahead(next));
        }
        let lines = packet_lines::of(self.next, &segments, end, self.timestamps);
        let next = lines.next();
        self.given = Some(Instant::now());
        Ok((lines.into_bytes(), next))
    }

    fn read_ahead(&self, from: u64) -> Ahead {
        let (store, id, batch) = (self.store.clone(), self.id, self.batch);
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
