//! All jobs of a store as the lines of an export, while others may write to it.

use std::collections::HashSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use harp_jobs::ledger::PaperKind;
use harp_jobs::record::{CallRecord, JobRecord, LiveRecord};
use harp_time::clock;
use harp_values::{JobId, Json};
use tokio::sync::mpsc;

use super::format::{self, Item};
use super::{JOBS, Moved, PAGE, TransferError};
use crate::store::{Store, StoreError};

/// Writes all jobs of a store: those that have ended, the oldest first, then the live ones.
/// `problem` is told what is damaged.
///
/// If others write to the store meanwhile, each job that there was at the beginning is in the
/// export once, as it stood at some moment of it, unless it was pruned; jobs that came later may
/// be.
///
/// # Errors
///
/// [`TransferError::Io`] and [`TransferError::Store`]. What has been written then is no
/// whole export.
pub async fn export<W: Write + Send>(
    store: &Store,
    out: W,
    problem: &mut (dyn FnMut(String) + Send),
) -> Result<(W, Moved), TransferError> {
    let packing = Packing::new(out);
    let (packing, moved) = Export::run(store, packing, problem).await?;
    Ok((packing.finish()?, moved))
}

/// Hands the lines of an export on, without compression and whole ones in each piece, to
/// whoever packs them ([`Packing`]). Does otherwise what [`export`] does.
///
/// # Errors
///
/// Those of [`export`]; [`TransferError::Io`] if nobody takes them any more.
pub async fn export_lines(
    store: &Store,
    out: mpsc::Sender<Vec<u8>>,
    problem: &mut (dyn FnMut(String) + Send),
) -> Result<Moved, TransferError> {
    let passing = Passing {
        lines: Vec::new(),
        out,
    };
    let (mut passing, moved) = Export::run(store, passing, problem).await?;
    passing.pass_on().await?;
    Ok(moved)
}

/// Lines of an export on their way into a file.
#[derive(Debug)]
pub struct Packing<W: Write>(GzEncoder<W>);

impl<W: Write> Packing<W> {
    /// Into this.
    pub fn new(out: W) -> Packing<W> {
        Packing(GzEncoder::new(out, Compression::default()))
    }

    /// Adds a line, with its end.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn line(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.0.write_all(line)
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// If that cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        self.0.finish()
    }
}

/// Lines on their way to another task.
struct Passing {
    lines: Vec<u8>,
    out: mpsc::Sender<Vec<u8>>,
}

impl Passing {
    async fn pass_on(&mut self) -> Result<(), TransferError> {
        let lines = std::mem::take(&mut self.lines);
        let passed = self.out.send(lines).await;
        passed.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
    }
}

/// Where an export goes.
trait Sink: Send {
    /// Writes a record's line.
    fn add(&mut self, item: &Item) -> impl Future<Output = Result<(), TransferError>> + Send;
}

impl<W: Write + Send> Sink for Packing<W> {
    async fn add(&mut self, item: &Item) -> Result<(), TransferError> {
        format::write(&mut self.0, item)
    }
}

impl Sink for Passing {
    async fn add(&mut self, item: &Item) -> Result<(), TransferError> {
        format::write(&mut self.lines, item)?;
        if self.lines.len() >= PAGE {
            self.pass_on().await?;
        }
        Ok(())
    }
}

struct Export<'a, S: Sink> {
    store: &'a Store,
    out: S,
    problem: &'a mut (dyn FnMut(String) + Send),
    /// Jobs that lived at the beginning, and were not met among the ended.
    lived: HashSet<JobId>,
    moved: Moved,
}

impl<S: Sink> Export<'_, S> {
    async fn run(
        store: &Store,
        out: S,
        problem: &mut (dyn FnMut(String) + Send),
    ) -> Result<(S, Moved), TransferError> {
        let mut export = Export {
            store,
            out,
            problem,
            lived: HashSet::new(),
            moved: Moved::default(),
        };
        export.all().await?;
        Ok((export.out, export.moved))
    }

    async fn all(&mut self) -> Result<(), TransferError> {
        self.write(Item::Export {
            version: format::VERSION,
            created: clock::now(),
        })
        .await?;
        for paper in self.store.papers(PaperKind::Service).await? {
            let id = format!("{:032x}", paper.id.name);
            match Json::parse(&paper.text) {
                Ok(definition) => self.write(Item::Service { id, definition }).await?,
                Err(error) => (self.problem)(format!("service {id} is left out: {error}")),
            }
        }
        let lived = self.store.live().await?;
        self.lived = lived.into_iter().map(|(id, _)| id).collect();
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
                self.lived.remove(&job.id);
                self.ended(job.id, job.call, place(&places, job.id)).await?;
            }
        }
        let is_still = self.store.contents().ended == ended;
        let unreadable = ended.saturating_sub(self.moved.jobs + self.moved.others);
        if unreadable > 0 && is_still {
            self.moved.others += unreadable;
            (self.problem)(format!(
                "{unreadable} ended jobs cannot be read and are left out"
            ));
        }
        let live = self.store.live().await?;
        for (id, _) in &live {
            self.lived.remove(id);
        }
        self.ended_meanwhile().await?;
        for (id, state) in live {
            self.live(id, state).await?;
        }
        for id in self.store.damaged_live().await? {
            self.left_out(id, &"where it stands cannot be read");
        }
        let jobs = self.moved.jobs;
        self.write(Item::Complete { jobs }).await
    }

    /// Writes jobs that have ended since the beginning, behind the walk over the ended ones.
    async fn ended_meanwhile(&mut self) -> Result<(), TransferError> {
        let mut ids: Vec<JobId> = self.lived.drain().collect();
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        let mut places = self.store.kept_places().await?;
        places.sort_by_key(|(id, _)| *id);
        for id in ids {
            let record = self.store.job(id).await;
            // One that is gone has been pruned.
            if let Some(record) = self.readable(id, record)? {
                self.ended(id, record.call, place(&places, id)).await?;
            }
        }
        Ok(())
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
        self.write(Item::Call { job, call }).await?;
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
            remarks: end.remarks.clone(),
            place,
        })
        .await
    }

    async fn live(&mut self, job: JobId, state: LiveRecord) -> Result<(), TransferError> {
        let record = self.store.job(job).await;
        let Some(JobRecord { call, .. }) = self.readable(job, record)? else {
            return Ok(());
        };
        self.write(Item::Call { job, call }).await?;
        self.packets(job, u64::MAX).await?;
        self.moved.jobs += 1;
        self.write(Item::Live { job, state }).await
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
                })
                .await?;
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

    async fn write(&mut self, record: Item) -> Result<(), TransferError> {
        self.out.add(&record).await
    }
}

/// Where an ended job stood that keeps its place, of all that do, sorted by their ids.
fn place(places: &[(JobId, LiveRecord)], job: JobId) -> Option<LiveRecord> {
    let index = places.binary_search_by_key(&job, |(id, _)| *id).ok()?;
    Some(places[index].1.clone())
}
