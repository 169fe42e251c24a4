//! All jobs of a store as a file of our own format ([`format`]), and back.
//!
//! No engine holds the data captive, and an export that is imported into a new store is
//! that store without the space that it does not need any more.

pub mod format;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use harp_jobs::ledger::{PaperEdit, PaperId, PaperKind};
use harp_jobs::record::{CallRecord, EndRecord, JobRecord, LiveRecord};
use harp_jobs::segment::{Segment, SegmentBuilder};
use harp_time::clock;
use harp_values::{JobId, Json, Outcome};

use self::format::{Item, Items};
use crate::store::{Adopted, Adopting, Appending, Store, StoreError};

/// Packets that are read at once, in bytes.
const PAGE: usize = 256 * 1024;

/// Jobs that are read at once.
const JOBS: usize = 256;

/// What a transfer has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// So many jobs.
    pub jobs: u64,
    /// Import: jobs that were there already, and stay as they are. Export: jobs that are
    /// damaged and are left out, or of which packets are.
    pub others: u64,
}

/// Why a transfer came to no end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Reading or writing the file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is something else.
    #[error("this is no export of harpcallerd")]
    NoExport,
    /// A newer release wrote it.
    #[error("the export has version {0}, this harpcallerd knows version {known}", known = format::VERSION)]
    Newer(u32),
    /// The end of the export is missing.
    #[error("the export is cut short; what was complete in it has been imported")]
    CutShort,
    /// A line is not what was written.
    #[error("line {line} of the export: {why}; what stands before it has been imported")]
    Wrong {
        /// Its number, from 1 on.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Writes all jobs of a store that nobody else writes to: those that have ended, the
/// oldest first, then the live ones. `problem` is told what is damaged.
///
/// # Errors
///
/// [`TransferError::Io`] and [`TransferError::Store`]. What has been written then is no
/// whole export.
pub async fn export<W: Write>(
    store: &Store,
    out: W,
    problem: &mut dyn FnMut(String),
) -> Result<(W, Moved), TransferError> {
    let mut export = Export {
        store,
        out: GzEncoder::new(out, Compression::default()),
        problem,
        moved: Moved::default(),
    };
    export.all().await?;
    let Export { out, moved, .. } = export;
    Ok((out.finish()?, moved))
}

struct Export<'a, W: Write> {
    store: &'a Store,
    out: GzEncoder<W>,
    problem: &'a mut dyn FnMut(String),
    moved: Moved,
}

impl<W: Write> Export<'_, W> {
    async fn all(&mut self) -> Result<(), TransferError> {
        self.write(Item::Export {
            version: format::VERSION,
            created: clock::now(),
        })?;
        for paper in self.store.papers(PaperKind::Service).await? {
            let id = format!("{:032x}", paper.id.name);
            match Json::parse(&paper.text) {
                Ok(definition) => self.write(Item::Service { id, definition })?,
                Err(error) => (self.problem)(format!("service {id} is left out: {error}")),
            }
        }
        let mut places = self.store.kept_places().await?;
        places.sort_by_key(|(id, _)| *id);
        let ended = self.store.contents().ended;
        let mut after = None;
        loop {
            let page = self.store.ended_page(after, JOBS).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.id);
            for job in page {
                let place = places.binary_search_by_key(&job.id, |(id, _)| *id);
                let place = place.ok().map(|index| places[index].1.clone());
                self.ended(job.id, job.call, place).await?;
            }
        }
        let unreadable = ended.saturating_sub(self.moved.jobs + self.moved.others);
        if unreadable > 0 {
            self.moved.others += unreadable;
            (self.problem)(format!(
                "{unreadable} ended jobs cannot be read and are left out"
            ));
        }
        for (id, state) in self.store.live().await? {
            self.live(id, state).await?;
        }
        for id in self.store.damaged_live().await? {
            self.left_out(id, &"where it stands cannot be read");
        }
        let jobs = self.moved.jobs;
        self.write(Item::Complete { jobs })
    }

    async fn ended(
        &mut self,
        job: JobId,
        call: CallRecord,
        place: Option<LiveRecord>,
    ) -> Result<(), TransferError> {
        let end = self.store.outcome(job).await;
        let Some(end) = self.readable(job, end)? else {
            return Ok(());
        };
        self.write(Item::Call { job, call })?;
        let packets = self.packets(job, end.packets).await?;
        if packets < end.packets {
            (self.problem)(format!(
                "job {job}: {} of its {} packets cannot be read and are left out",
                end.packets - packets,
                end.packets
            ));
            self.moved.others += 1;
        }
        self.moved.jobs += 1;
        self.write(Item::End {
            job,
            started: end.started,
            ended: end.ended,
            packets,
            outcome: end.outcome.to_json(),
            place,
        })
    }

    async fn live(&mut self, job: JobId, state: LiveRecord) -> Result<(), TransferError> {
        let record = self.store.job(job).await;
        let Some(JobRecord { call, .. }) = self.readable(job, record)? else {
            return Ok(());
        };
        self.write(Item::Call { job, call })?;
        self.packets(job, u64::MAX).await?;
        self.moved.jobs += 1;
        self.write(Item::Live { job, state })
    }

    /// What was read of a job, if it is there. A job of which it cannot be read is left out,
    /// and that is said.
    fn readable<T>(
        &mut self,
        job: JobId,
        read: Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, TransferError> {
        match read {
            Err(error @ StoreError::Corrupt { .. }) => {
                self.left_out(job, &error);
                Ok(None)
            }
            read => Ok(read?),
        }
    }

    /// Writes packets up to number `end`, or the first that cannot be read: its number.
    async fn packets(&mut self, job: JobId, end: u64) -> Result<u64, TransferError> {
        let mut next = 0;
        while next < end {
            let segments = match self.store.segments(job, next, PAGE).await {
                Err(StoreError::Corrupt { .. }) => break,
                segments => segments?,
            };
            let before = next;
            for segment in segments {
                if segment.first() > next {
                    return Ok(next);
                }
                let segment = segment.between(next, end);
                let packets = segment.iter_from(next);
                let packets = packets
                    .map(|(_, time, data)| (time, Json::from_trusted(data.to_vec().into())))
                    .collect();
                let first = next;
                next = segment.end();
                self.write(Item::Packets {
                    job,
                    first,
                    packets,
                })?;
            }
            if next == before {
                break;
            }
        }
        Ok(next)
    }

    fn left_out(&mut self, job: JobId, why: &dyn std::fmt::Display) {
        self.moved.others += 1;
        (self.problem)(format!("job {job} is left out: {why}"));
    }

    fn write(&mut self, record: Item) -> Result<(), TransferError> {
        format::write(&mut self.out, &record)
    }
}

/// Takes all jobs of an export into a store, new or not. A job that is there already
/// stays as it is, so an import can be made again. Live jobs come behind those of the
/// store, in their order.
///
/// # Errors
///
/// [`TransferError`]. What was complete by then is in the store.
pub async fn import(store: &Store, input: impl Read) -> Result<Moved, TransferError> {
    let mut import = Import {
        store,
        records: Items::new(BufReader::new(MultiGzDecoder::new(input))),
        next_sequence: 1,
        under_way: VecDeque::new(),
        packets: Vec::new(),
        moved: Moved::default(),
    };
    for (_, live) in store.live().await? {
        import.next_sequence = import.next_sequence.max(live.sequence + 1);
    }
    let all = import.all().await;
    let settled = import.settle(0).await;
    all.and(settled)?;
    Ok(import.moved)
}

struct Import<'a, R> {
    store: &'a Store,
    records: Items<R>,
    /// The sequence number of the next live job.
    next_sequence: u64,
    /// Jobs on their way to the disk, with their packets.
    under_way: VecDeque<(Vec<Appending>, Adopting)>,
    /// Packets on their way of the job whose end is not read yet.
    packets: Vec<Appending>,
    moved: Moved,
}

impl<R: BufRead> Import<'_, R> {
    async fn all(&mut self) -> Result<(), TransferError> {
        match self.records.next()? {
            Some(Item::Export { version, .. }) if version > format::VERSION => {
                return Err(TransferError::Newer(version));
            }
            Some(Item::Export { .. }) => {}
            _ => return Err(TransferError::NoExport),
        }
        let mut jobs = 0;
        loop {
            match self.records.next()? {
                Some(Item::Service { id, definition }) if jobs == 0 => {
                    self.service(&id, definition).await?;
                }
                Some(Item::Call { job, call }) => {
                    self.job(job, call).await?;
                    jobs += 1;
                }
                Some(Item::Complete { jobs: expected }) if expected == jobs => break,
                Some(Item::Complete { .. }) => {
                    return Err(self.records.wrong("jobs are missing"));
                }
                Some(_) => return Err(self.records.wrong("no job has begun")),
                None => return Err(TransferError::CutShort),
            }
        }
        match self.records.next()? {
            None => Ok(()),
            Some(_) => Err(self.records.wrong("it comes after the end")),
        }
    }

    /// Has a service recorded; one that is there already stays as it is.
    async fn service(&mut self, id: &str, definition: Json) -> Result<(), TransferError> {
        let name = u128::from_str_radix(id, 16);
        let name = name.map_err(|_| self.records.wrong("this is no service's id"))?;
        let kind = PaperKind::Service;
        let edit = PaperEdit {
            id: PaperId { kind, name },
            over: 0,
            text: Some(definition.into_bytes()),
        };
        Ok(self.store.edit_paper(edit).await?)
    }

    /// Reads the rest of a job and has it recorded.
    async fn job(&mut self, id: JobId, call: CallRecord) -> Result<(), TransferError> {
        let mut next = 0;
        let state = loop {
            let Some(record) = self.records.next()? else {
                return Err(TransferError::CutShort);
            };
            match record {
                Item::Packets {
                    job,
                    first,
                    packets,
                } if job == id && first == next => {
                    let mut segment = SegmentBuilder::new(first);
                    for (time, data) in &packets {
                        segment.push(*time, data.as_bytes());
                    }
                    let segment = segment.finish();
                    next = segment.end();
                    self.append(id, segment).await?;
                }
                Item::Live { job, state } if job == id => {
                    let sequence = self.next_sequence;
                    self.next_sequence += 1;
                    break Adopted::Live(LiveRecord { sequence, ..state });
                }
                Item::End {
                    job,
                    started,
                    ended,
                    packets,
                    outcome,
                    place,
                } if job == id && packets == next => {
                    let outcome = Outcome::from_json(&outcome);
                    let outcome =
                        outcome.ok_or_else(|| self.records.wrong("this is no end result"))?;
                    let end = EndRecord {
                        started,
                        ended,
                        outcome,
                        packets,
                    };
                    break Adopted::Ended { end, place };
                }
                _ => {
                    let why = format!("this is not what follows in job {id}");
                    return Err(self.records.wrong(why));
                }
            }
        };
        let adopting = self.store.adopt(id, &call, &state).await?;
        let packets = std::mem::take(&mut self.packets);
        self.under_way.push_back((packets, adopting));
        self.settle(JOBS).await
    }

    async fn append(&mut self, id: JobId, segment: Segment) -> Result<(), TransferError> {
        let appending = self.store.adopt_packets(id, vec![segment]).await?;
        self.packets.push(appending);
        if self.packets.len() >= JOBS {
            for appending in std::mem::take(&mut self.packets) {
                appending.await?;
            }
        }
        Ok(())
    }

    /// Waits until at most so many jobs are on their way.
    async fn settle(&mut self, most: usize) -> Result<(), TransferError> {
        while self.under_way.len() > most
            && let Some((packets, adopting)) = self.under_way.pop_front()
        {
            for appending in packets {
                appending.await?;
            }
            if adopting.await? {
                self.moved.jobs += 1
            } else {
                self.moved.others += 1
            }
        }
        Ok(())
    }
}
