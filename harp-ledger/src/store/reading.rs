//! Reading of jobs: what is durable, and through outages that are short.

use harp_jobs::ledger::{Paper, PaperKind};
use harp_jobs::record::{EndRecord, JobRecord, LiveRecord, Stage};
use harp_jobs::segment::Segment;
use harp_values::JobId;
use tokio::time::timeout;

use super::Store;
use super::error::StoreError;
use super::layout::Table;
use super::papers;
use super::read::{self, Long};
use super::round::Change;
use super::shared::READERS_WAIT;
use super::sled::Engine;

impl Store {
    /// A job without its outcome and packets; `None` if there is no such job.
    ///
    /// # Errors
    ///
    /// As for all reads: [`StoreError::Unreadable`] or [`StoreError::Corrupt`] if what is
    /// there is damaged, [`StoreError::UnreadableNow`] if the store cannot be written and
    /// what it has can therefore not be read. That is told when it has lasted for a few
    /// seconds.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.read(|| self.read_job(id)).await
    }

    /// Where a job stands; `None` if there is no such job.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn stage(&self, id: JobId) -> Result<Option<Stage>, StoreError> {
        self.read(|| async {
            let stage = read::stage(&*self.shared.engine()?, id)?;
            self.settled(id).await?;
            Ok(stage)
        })
        .await
    }

    async fn read_job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        let (stage, call) = {
            let engine = self.shared.engine()?;
            let Some(stage) = read::stage(&*engine, id)? else {
                return Ok(None);
            };
            let call = Long::read(&*engine, Table::Calls, id)?;
            (stage, call)
        };
        let Some(call) = call else {
            // Unless it was pruned since its state was read.
            return self.unless_pruned(id, Err(read::missing_call(id)));
        };
        self.settled(id).await?;
        let job = if call.is_whole() {
            read::job(&*self.shared.engine()?, id, stage, call)
        } else {
            self.blocking(move |engine| read::job(engine, id, stage, call))
                .await
        };
        self.unless_pruned(id, job.map(Some))
    }

    /// How long what is kept of a job's call and of its end is, in bytes; 0 for what is not
    /// there.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn lengths(&self, id: JobId) -> Result<(usize, usize), StoreError> {
        self.read(|| async {
            let engine = self.shared.engine()?;
            let length = |table| {
                Long::read(&*engine, table, id).map(|long| long.map_or(0, |long| long.length()))
            };
            Ok((length(Table::Calls)?, length(Table::Ends)?))
        })
        .await
    }

    /// How a job ended; `None` if it has not, or there is no such job.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn outcome(&self, id: JobId) -> Result<Option<EndRecord>, StoreError> {
        self.read(|| self.read_outcome(id)).await
    }

    async fn read_outcome(&self, id: JobId) -> Result<Option<EndRecord>, StoreError> {
        let Some(end) = Long::read(&*self.shared.engine()?, Table::Ends, id)? else {
            return Ok(None);
        };
        self.settled(id).await?;
        let end = if end.is_whole() {
            read::end(&*self.shared.engine()?, end)
        } else {
            self.blocking(move |engine| read::end(engine, end)).await
        };
        self.unless_pruned(id, end.map(Some))
    }

    /// Packets of a job from this number on, in segments that together have at most
    /// `max_bytes`, but at least one if there is the packet `from`. The first has `from`
    /// in it, perhaps not as its first packet. Empty if there is no such packet on disk.
    /// They are not to be kept for long: they can hold more memory than they are long.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn segments(
        &self,
        id: JobId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        self.read(|| self.read_segments(id, from, max_bytes)).await
    }

    async fn read_segments(
        &self,
        id: JobId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        let segments = self
            .blocking(move |engine| read::segments(engine, id, from, max_bytes))
            .await;
        let mut segments = self.unless_pruned(id, segments)?;
        let limit = self.shared.unsynced.packets_limit(id);
        segments.retain(|segment| segment.first() < limit);
        if let Some(last) = segments.last_mut() {
            *last = last.between(0, limit);
        }
        segments.retain(|segment| segment.end() > from);
        Ok(segments)
    }

    /// How many packets of the job are on disk.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn packet_count(&self, id: JobId) -> Result<u64, StoreError> {
        self.read(|| async {
            let count = read::packet_count(&*self.shared.engine()?, id)?;
            Ok(count.min(self.shared.unsynced.packets_limit(id)))
        })
        .await
    }

    /// All live jobs, in the order of their sequence numbers: what recovery needs when
    /// the store has been opened. How long it takes depends on their number alone. One
    /// whose record is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn live(&self) -> Result<Vec<(JobId, LiveRecord)>, StoreError> {
        Ok(self.live_rows(Table::Live).await?.jobs)
    }

    /// The live jobs whose records are damaged, so that it is not known where they stand.
    /// They can be finished.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn damaged_live(&self) -> Result<Vec<JobId>, StoreError> {
        Ok(self.live_rows(Table::Live).await?.damaged)
    }

    /// Live jobs that wait and are held: they came here with a copy of another store or an
    /// import, and the dispatcher of that store may have run them. They are to wait until
    /// the operator says that they are to be run here.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn held(&self) -> Result<Vec<JobId>, StoreError> {
        self.blocking(|engine| read::held(engine)).await
    }

    /// All papers of a kind, by their names; those that are being written may be among them.
    /// One that is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn papers(&self, kind: PaperKind) -> Result<Vec<Paper>, StoreError> {
        self.blocking(move |engine| papers::all(engine, kind)).await
    }

    /// How many packets of the job can be read, from the first on: all of them, unless
    /// some are damaged.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn readable_packets(&self, id: JobId) -> Result<u64, StoreError> {
        self.blocking(move |engine| read::readable_packets(engine, id))
            .await
    }

    /// Ended jobs whose places in their queues are kept, as they stood.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn kept_places(&self) -> Result<Vec<(JobId, LiveRecord)>, StoreError> {
        Ok(self.live_rows(Table::Places).await?.jobs)
    }

    /// Ended jobs in the order of their ids, at most `limit` of them, from the one after
    /// `after`. A page can be shorter than `limit` so that it fits into memory; only an
    /// empty one is the end. A job whose record is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn ended_page(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|| async {
            let page = self
                .blocking(move |engine| read::ended_page(engine, after, limit))
                .await?;
            for job in &page {
                self.settled(job.id).await?;
            }
            Ok(page)
        })
        .await
    }

    /// Reads through outages, however long they are. Cancel safe if `read` is.
    ///
    /// # Errors
    ///
    /// Those of `read` that do not pass, and [`StoreError::Closed`].
    pub async fn patiently<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match read().await {
                Err(error) if error.is_passing() => self.writable().await?,
                known => return known,
            }
        }
    }

    async fn live_rows(&self, table: Table) -> Result<read::LiveRows, StoreError> {
        self.blocking(move |engine| read::live_rows(engine, table))
            .await
    }

    /// Reads, and reads again if the engine was opened anew meanwhile: what was read
    /// before may not be there any more. A read that fails because nothing can be written
    /// is made again when that is over, unless it takes too long.
    pub(super) async fn read<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            let opening = self.shared.opening().await;
            let result = read().await;
            let Err(StoreError::Unreadable(why)) = result else {
                if self.shared.is_present(opening) {
                    return result;
                }
                continue;
            };
            if self.shared.is_closed() {
                return Err(StoreError::Closed);
            }
            if self.can_be_written().await && self.shared.is_present(opening) {
                return Err(StoreError::Unreadable(why));
            }
            if !self.shared.reopened(opening).await {
                return Err(StoreError::UnreadableNow(why));
            }
        }
    }

    /// Whether the store can be written, found out by writing. A reader may be the first
    /// to meet an engine that has failed, and only a write makes that known.
    async fn can_be_written(&self) -> bool {
        let written = self.write(JobId::NONE, 0, Change::Mark);
        matches!(timeout(READERS_WAIT, written).await, Ok(Ok(_)))
    }

    /// Waits until the job's state that has just been read is on disk.
    pub(super) async fn settled(&self, id: JobId) -> Result<(), StoreError> {
        let settled = self.shared.unsynced.state_settled(id).await;
        settled.map_err(|_| {
            let why = "the job's last change may not be on disk, because writing failed";
            StoreError::Unreadable(why.into())
        })
    }

    /// Passes on what has been read of a job; nothing if pieces of it were missing because
    /// the job was pruned meanwhile.
    fn unless_pruned<T: Default>(
        &self,
        id: JobId,
        read: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match read {
            Err(StoreError::Corrupt { .. })
                if read::stage(&*self.shared.engine()?, id) == Ok(None) =>
            {
                Ok(T::default())
            }
            read => read,
        }
    }

    /// Reads on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || read(&*shared.engine()?))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unreadable(error.to_string())))
    }
}
