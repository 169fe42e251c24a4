//! The job store: the one place that knows how jobs are kept.
//!
//! Writes are durable when they return: they survive `kill -9` and a power cut. One
//! thread makes them, many at a time, and syncs once for all of them. Reads show only
//! what is durable. All writes are idempotent by job id or packet number, so a write
//! whose outcome is unknown can be made again.
//!
//! The dispatcher's ledger hands its decisions over as deeds (`round/deeds`), and imports the
//! jobs of other stores as they stand there. Nobody else writes: the verbs of benchmarks and
//! tests, which have no ledger (`bare`), are only there with the feature of that name.
//!
//! What is behind it: `changes` and `reading` are the verbs, `walk` goes through all jobs,
//! `writer` is the thread that writes and `reply` who it tells, `round` what a change does
//! (`round/keys` sees to it that a key has one job, `round/prune` removes what is too old or
//! too much, `round/deeds` writes what the ledger has decided), `read` what is read, `unsynced`
//! keeps reads from showing too much, `layout` and `codec` say what the bytes mean, `sled` is
//! the engine with its guards, `directory` the directory and its lock.

mod aside;
#[cfg(any(test, feature = "bare"))]
mod bare;
mod changes;
mod check;
pub mod codec;
mod contents;
mod copies;
mod derived;
mod directory;
mod doubt;
mod ends;
mod engine_log;
mod entries;
mod error;
mod foreign;
pub mod frame;
mod home;
mod image;
mod key;
mod keyed;
pub mod layout;
mod live_sum;
mod open;
mod opened;
mod outage;
mod papers;
mod passed_over;
mod presence;
mod pulse;
mod read;
mod reading;
mod reply;
mod round;
mod salvage;
mod shared;
mod sled;
mod survey;
#[cfg(test)]
mod tests;
mod undo;
mod unsynced;
mod walk;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};

use harp_values::JobId;
use tokio::sync::{Semaphore, oneshot, watch};

#[cfg(any(test, feature = "bare"))]
pub use self::bare::Submitted;
pub use self::changes::{Adopting, Appending, Finished};
pub use self::check::{Checked, Problem};
pub use self::contents::Contents;
pub use self::ends::Ahead;
pub use self::error::{OpenError, StoreError};
pub use self::keyed::Keyed;
pub use self::live_sum::LiveSum;
pub use self::pulse::StoreCounts;
pub(crate) use self::reply::Reply;
pub use self::round::{Adopted, PlaceAfter};
pub(crate) use self::round::{Candidates, Change, Claim, Deed, Done, Entry, How, Made, Verdict};
use self::shared::Shared;
pub use self::walk::Towards;
use self::writer::WriterRequest;
pub use harp_jobs::ledger::{Keep, Pruned};
pub use harp_jobs::varint;

/// How many bytes of writes wait in memory at most. A writer beyond that waits before
/// its write is taken in.
const WRITE_BUDGET: usize = 64 * 1024 * 1024;

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Memory of the engine's cache, in bytes.
    pub cache_size: u64,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            cache_size: 64 * 1024 * 1024,
        }
    }
}

/// A job store. Clones are the same store.
///
/// Dropping the last clone lets the store close by itself a moment later;
/// [`Store::close`] waits for it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    requests: mpsc::Sender<WriterRequest>,
    budget: Arc<Semaphore>,
}

impl Store {
    /// Opens the store in a directory, or makes one. Blocks, for a fraction of a second
    /// as a rule.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what to do. A store that is damaged is never taken for an
    /// empty one.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Store, OpenError> {
        open::open(directory, options)
    }

    /// Reads all of a store that nobody has open, tells `report` what is wrong with it,
    /// and repairs what can be repaired if `repair` says so. Blocks, for as long as
    /// reading everything takes.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot even be opened.
    pub fn check(
        directory: &Path,
        options: StoreOptions,
        repair: bool,
        report: &mut dyn FnMut(Problem),
    ) -> Result<Checked, OpenError> {
        check::check(directory, options, repair, report)
    }

    /// Makes a new store of what can still be read of one that nobody has open, whatever
    /// its engine says, and tells `report` what is gone. The damaged one stays as it is.
    /// Blocks, for as long as reading everything takes.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if its file cannot be read, or the new store not be written; one that
    /// was begun is no store then.
    pub fn salvage(
        directory: &Path,
        target: &Path,
        options: StoreOptions,
        report: &mut dyn FnMut(Problem),
    ) -> Result<Checked, OpenError> {
        salvage::salvage(directory, target, options, report)
    }

    /// The jobs that may have to go.
    pub(crate) async fn candidates(&self, keep: Keep) -> Result<Candidates, StoreError> {
        self.read(|| {
            let (contents, shared) = (self.contents(), self.shared.clone());
            self.blocking(move |engine| round::candidates(engine, &shared, &keep, contents))
        })
        .await
    }

    /// How far the wall clock seems to have been set forward since the store was open
    /// before.
    #[must_use]
    pub fn clock_ahead(&self) -> Ahead {
        self.shared.ends.ahead()
    }

    /// How long ago a moment of an earlier life of the dispatcher was, in milliseconds since
    /// 1970 by the wall clock of then. A clock that has been set forward since does not
    /// count, unless the machine has been started since.
    #[must_use]
    pub fn elapsed_since(&self, wall: u64) -> std::time::Duration {
        self.shared.ends.elapsed_since(wall)
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn pulse(&self) -> StoreCounts {
        self.shared.pulse.counts()
    }

    /// How much there is on disk. Costs nothing.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.shared.contents()
    }

    /// Why the store cannot be written at present, `None` if it can. It is tried again
    /// all the time; the log tells when it failed, and when it could be written again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure().map(|reason| reason.to_string())
    }

    /// Waits until the store can be written; at once if it can. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`].
    pub async fn writable(&self) -> Result<(), StoreError> {
        if self.shared.writable().await {
            Ok(())
        } else {
            Err(StoreError::Closed)
        }
    }

    /// Brings everything to the disk and closes the store, for all its clones: what they
    /// ask of it afterwards is refused.
    ///
    /// Dropping the future does not keep the store from closing.
    pub async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        self.close_then(Box::new(move || {
            // Nobody may be waiting any more.
            let _ = closed.send(());
        }));
        // An error says that the writer has closed it already.
        let _ = closing.await;
    }

    /// Closes the store, and does this then. False if it is closed.
    pub(crate) fn close_then(&self, closed: Box<dyn FnOnce() + Send>) -> bool {
        self.requests.send(WriterRequest::Close(closed)).is_ok()
    }

    /// From now on no change waits for the end of an outage.
    pub(crate) fn give_up(&self) {
        // A writer that is gone has nothing that waits.
        let _ = self.requests.send(WriterRequest::GiveUp);
    }

    /// Notes that a dispatcher is started on the store, and the number of that start.
    pub(crate) async fn note_start(&self) -> Result<u32, StoreError> {
        let owner = match self.write(JobId::NONE, 0, Change::Started).await? {
            Done::Starts(number) => number,
            // Not the answer to this.
            _ => 1,
        };
        self.shared.set_owner(owner);
        Ok(owner)
    }

    /// The version of its layout.
    #[cfg(test)]
    pub(crate) fn layout(&self) -> u32 {
        self.shared.layout()
    }

    /// As if a write had failed.
    #[cfg(test)]
    pub(crate) fn fail(&self, reason: &str) {
        self.shared.fail(reason);
    }

    /// Why nothing can be written at present, as it changes.
    pub(crate) fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.outage()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
