//! Going through all jobs by their ids, live and ended ones, either way.

use std::ops::ControlFlow;

use bytes::Bytes;
use harp_jobs::record::JobRecord;
use harp_values::JobId;

use super::Store;
use super::error::StoreError;
use super::layout::{self, Key, Table};
use super::read::{self, Long};
use super::sled::{Engine, Value};

/// How much text of calls a page holds at most, in bytes, unless one call alone has more.
const PAGE_SIZE: usize = 1024 * 1024;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// From the oldest on.
    Newer,
    /// From the newest on.
    Older,
}

impl Store {
    /// Jobs in the order of their ids, at most `limit` of them, from the one behind `after`
    /// on. A page can be shorter than `limit` so that it fits into memory; only an empty one
    /// is the end. A job whose record is damaged is logged and left out.
    ///
    /// # Errors
    ///
    /// As for [`Store::job`].
    pub async fn page(
        &self,
        after: Option<JobId>,
        towards: Towards,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|| async {
            let page = self
                .blocking(move |engine| page(engine, after, towards, limit))
                .await?;
            for job in &page {
                self.settled(job.id).await?;
            }
            Ok(page)
        })
        .await
    }
}

fn page(
    engine: &Engine,
    after: Option<JobId>,
    towards: Towards,
    limit: usize,
) -> Result<Vec<JobRecord>, StoreError> {
    let mut page = Page {
        engine,
        limit,
        jobs: Vec::new(),
        size: 0,
        failure: None,
    };
    let (from, to) = bounds(after, towards);
    let visit = |key: &[u8], entry: &Value| {
        let id = layout::job_of(key).filter(|id| Some(*id) != after);
        match id {
            Some(id) => page.take(id, key, entry),
            None => ControlFlow::Continue(()),
        }
    };
    match towards {
        Towards::Newer => engine.scan(&from, &to, visit)?,
        Towards::Older => engine.scan_back(&from, &to, visit)?,
    }
    page.failure.map_or(Ok(page.jobs), Err)
}

fn bounds(after: Option<JobId>, towards: Towards) -> (Key, Key) {
    let (from, to) = Table::Calls.bounds();
    match (after, towards) {
        (None, _) => (from, to),
        (Some(after), Towards::Newer) => (Table::Calls.key(after), to),
        (Some(after), Towards::Older) => (from, Table::Calls.key(after)),
    }
}

/// A page that is being filled.
struct Page<'a> {
    engine: &'a Engine,
    limit: usize,
    jobs: Vec<JobRecord>,
    size: usize,
    failure: Option<StoreError>,
}

impl Page<'_> {
    fn take(&mut self, id: JobId, key: &[u8], entry: &Value) -> ControlFlow<()> {
        if self.jobs.len() >= self.limit || self.size >= PAGE_SIZE {
            return ControlFlow::Break(());
        }
        match self.read(id, key, entry) {
            Ok(Some(job)) => {
                self.size += job.call.arguments.as_bytes().len() + job.call.info.as_bytes().len();
                self.jobs.push(job);
                ControlFlow::Continue(())
            }
            // Pruned since the entry was read.
            Ok(None) => ControlFlow::Continue(()),
            // One bad record does not take the others away.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(job = %id, "{error}");
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn read(&self, id: JobId, key: &[u8], entry: &Value) -> Result<Option<JobRecord>, StoreError> {
        let Some(stage) = read::stage(self.engine, id)? else {
            return Ok(None);
        };
        read::intact(key, entry)?;
        let call = Long::of_call(id, Bytes::copy_from_slice(entry))?;
        match read::job(self.engine, id, stage, call) {
            Err(StoreError::Corrupt { .. }) if read::stage(self.engine, id) == Ok(None) => Ok(None),
            job => job.map(Some),
        }
    }
}
