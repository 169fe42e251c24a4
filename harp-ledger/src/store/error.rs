//! Errors of the store.

use std::io;
use std::path::PathBuf;

use harp_values::JobId;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("job store {path}: cannot {action}: {source}")]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error(
        "job store {path} is in use by another process; if that is a harpcallerd, stop it first"
    )]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "job store {path} has layout {found}, this harpcallerd knows layouts up to {known}: start the newer release that wrote it"
    )]
    Newer {
        /// The store's directory.
        path: PathBuf,
        /// The layout of the store.
        found: u32,
        /// The newest layout that this release knows.
        known: u32,
    },
    /// Data is not as it was written.
    #[error(
        "job store {path} is damaged ({why}): \"harpcallerd check-store\" tells which jobs are concerned, \"harpcallerd check-store --salvage NEW-DIRECTORY\" makes a new store of all that is intact, whatever is damaged; else restore a backup, or move the directory aside to start with an empty one"
    )]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// The damage that was found.
        why: String,
    },
    /// The directory belongs to somebody else.
    #[error(
        "{path} holds no job store but other files ({what}): set stream_directory to a directory that is new or empty; the jobs of the original harpcallerd cannot be read, see harpcaller-migration(7)"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The first of the files, and how many more there are.
        what: String,
    },
    /// There is something where a new store is to be made.
    #[error("{path} is not empty: a new store is made in a directory that is new, or empty")]
    NotEmpty {
        /// That directory.
        path: PathBuf,
    },
}

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store takes no writes at present. What was asked for was certainly not done.
    #[error("the job store cannot be written: {0}")]
    Unavailable(String),
    /// The store is closed. What was asked for was certainly not done.
    #[error("the job store is closed")]
    Closed,
    /// Writing failed half-way: what was asked for may be on disk or not.
    #[error("writing to the job store failed: {0}")]
    UnknownOutcome(String),
    /// Reading failed, and the store can be written: what was to be read is damaged.
    #[error("the job store cannot be read: {0}")]
    Unreadable(String),
    /// Reading failed, as far as is known because the store cannot be written.
    #[error("the job store cannot be read at present: {0}")]
    UnreadableNow(String),
    /// A record is there but makes no sense.
    #[error("the job store is damaged: {what} of job {id}: {why}")]
    Corrupt {
        /// The job.
        id: JobId,
        /// Which of its records.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A record that cannot be written: the caller's mistake. Nothing was done.
    #[error("the job store refuses a record of job {id}: {why}")]
    Refused {
        /// The job.
        id: JobId,
        /// What is wrong with it.
        why: String,
    },
    /// The job has ended, or there is no such job: nothing was done.
    #[error("job {0} has ended or does not exist")]
    NotLive(JobId),
}

impl StoreError {
    /// Whether the same can succeed when the store can be written again
    /// ([`Store::writable`](super::Store::writable)).
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            StoreError::Unavailable(_)
                | StoreError::UnknownOutcome(_)
                | StoreError::UnreadableNow(_)
        )
    }
}
