//! All jobs of a store as a file of our own format ([`format`]), and back.
//!
//! No engine holds the data captive, and an export that is imported into a new store is
//! that store without the space that it does not need any more.

mod export;
pub mod format;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use harp_jobs::ledger::{PaperEdit, PaperId, PaperKind};
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord};
use harp_jobs::segment::{Segment, SegmentBuilder};
use harp_values::{JobId, Json, Outcome};

pub use self::export::{Packing, export, export_lines};
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
                    remarks,
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
                        remarks,
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
